package journal

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"
)

// TestHeaderCodec encodes headers, reads them again, and takes no header with any bit flipped.
func TestHeaderCodec(t *testing.T) {
	for _, h := range []header{
		{generation: 1, fileBytes: fileBytesMin, atLeast: 1},
		{slot: 7, generation: 9, salt: 11, fileBytes: FileBytesDefault, atLeast: 100, released: 99},
		{
			slot: math.MaxUint32, generation: math.MaxUint64, salt: math.MaxUint64,
			fileBytes: fileBytesMax, atLeast: math.MaxUint64, released: math.MaxUint64 - 1,
		},
	} {
		block := bytes.Repeat([]byte{0xff}, blockBytes)
		h.encode(block)
		got, ok, err := decodeHeader(block)
		if err != nil || !ok || got != h {
			t.Errorf("%+v became %+v, %t, %v", h, got, ok, err)
		}
		if !slices.Equal(block[headerBytes:], make([]byte, blockBytes-headerBytes)) {
			t.Error("the rest of the block is not zeros")
		}
		for bit := range headerBytes * 8 {
			block[bit/8] ^= 1 << (bit % 8)
			if _, ok, err := decodeHeader(block); ok || err != nil {
				t.Errorf("with bit %d flipped: %t, %v", bit, ok, err)
			}
			block[bit/8] ^= 1 << (bit % 8)
		}
		if _, ok, _ := decodeHeader(block[:headerBytes-1]); ok {
			t.Error("a header that is cut short was taken")
		}
	}
	for name, h := range map[string]header{
		"no generation":   {fileBytes: fileBytesMin, atLeast: 1},
		"tiny file":       {generation: 1, fileBytes: blockBytes, atLeast: 1},
		"huge file":       {generation: 1, fileBytes: fileBytesMax + blockBytes, atLeast: 1},
		"uneven file":     {generation: 1, fileBytes: fileBytesMin + 1, atLeast: 1},
		"negative file":   {generation: 1, fileBytes: -fileBytesMin, atLeast: 1},
		"released it all": {generation: 1, fileBytes: fileBytesMin, atLeast: 5, released: 5},
	} {
		block := make([]byte, blockBytes)
		h.encode(block)
		if _, ok, err := decodeHeader(block); ok || !errors.Is(err, errHeader) {
			t.Errorf("%s: %t, %v", name, ok, err)
		}
	}
}

// TestRecordCodec encodes a record and takes it for no other one: not of another generation, salt,
// position, file size, and with no bit flipped.
func TestRecordCodec(t *testing.T) {
	f := header{generation: 5, salt: 77, fileBytes: fileBytesMin}
	e := entry("some-log", 7, 50)
	h := recordHeader{
		generation: 5, sequence: 12, position: firstRecord, bodyBytes: e.encodedBytes(), entries: 1,
		unreleased: 11,
	}
	p := e.appendTo(make([]byte, recordHeaderBytes, 200))
	putRecordHeader(p, h, f.salt)
	intact := func(f header, pos int64) bool {
		got, ok := decodeRecordHeader(p, f, pos)
		return ok && got.crc == recordCRC(p, f.salt)
	}
	if got, ok := decodeRecordHeader(p, f, firstRecord); !ok || !intact(f, firstRecord) {
		t.Fatalf("%+v became %+v, %t", h, got, ok)
	} else if got.crc = 0; got != h {
		t.Fatalf("%+v became %+v", h, got)
	}
	for bit := range len(p) * 8 {
		p[bit/8] ^= 1 << (bit % 8)
		// A length that is too large is refused before the checksum is computed over it.
		if got, ok := decodeRecordHeader(p, f, firstRecord); ok && got.bodyBytes == h.bodyBytes &&
			got.crc == recordCRC(p, f.salt) {
			t.Errorf("taken with bit %d flipped", bit)
		}
		p[bit/8] ^= 1 << (bit % 8)
	}
	other := f
	other.salt++
	older := f
	older.generation--
	if intact(f, firstRecord+blockBytes) || intact(other, firstRecord) || intact(older, firstRecord) {
		t.Error("taken at another position, with another salt, or of another generation")
	}
	for name, change := range map[string]func(*recordHeader){
		"sequence 0":         func(h *recordHeader) { h.sequence, h.unreleased = 0, 0 },
		"no entries":         func(h *recordHeader) { h.entries = 0 },
		"too many entries":   func(h *recordHeader) { h.entries = 3 },
		"behind the file":    func(h *recordHeader) { h.bodyBytes = fileBytesMin },
		"larger than any":    func(h *recordHeader) { h.bodyBytes = RecordBytesMax + 1 },
		"unreleased is more": func(h *recordHeader) { h.unreleased = uint32(h.sequence) },
	} {
		bad := h
		change(&bad)
		q := make([]byte, recordHeaderBytes+max(bad.bodyBytes, 1))
		putRecordHeader(q, bad, f.salt)
		if _, ok := decodeRecordHeader(q, f, firstRecord); ok {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestEntryCodec encodes entries, reads them again, and refuses those that are cut short.
func TestEntryCodec(t *testing.T) {
	long := string(bytes.Repeat([]byte{'n'}, LogNameBytesMax))
	for _, e := range []Entry{
		entry("a", 1, 1), entry("a", 1, 0), entry(long, math.MaxInt64/8, 9999),
		{
			Kind: Ref, Log: "r", Segment: 1, Position: 2, First: 3, End: 4, Length: math.MaxUint32,
			Digest: math.MaxUint32,
		},
		{Kind: Ref, Log: "\x00/\xff", Segment: -1, Position: -2, First: math.MinInt64, End: -4},
	} {
		p := e.appendTo(nil)
		if len(p) != e.encodedBytes() || entrySpan(p) != len(p) {
			t.Errorf("%d bytes, said were %d, and in the header %d", len(p), e.encodedBytes(), entrySpan(p))
		}
		got, rest, err := decodeEntry(append(slices.Clone(p), 1, 2, 3))
		if err != nil || got.text() != stored(e) || len(rest) != 3 {
			t.Errorf("%.200s became %.200s, %d bytes left, %v", stored(e), got.text(), len(rest), err)
		}
		for n := range len(p) {
			if _, _, err := decodeEntry(p[:n]); !errors.Is(err, errEntry) {
				t.Fatalf("the first %d of %d bytes: %v", n, len(p), err)
			}
		}
		for _, kind := range []byte{0, 3, 255} {
			p[0] = kind
			if _, _, err := decodeEntry(p); !errors.Is(err, errEntry) {
				t.Errorf("kind %d: %v", kind, err)
			}
		}
	}
}

// TestFileNames takes no name for a file's that is not.
func TestFileNames(t *testing.T) {
	for _, slot := range []uint32{0, 7, filesMax - 1, 9999} {
		if got, ok := parseFileName(fileName(slot)); !ok || got != slot {
			t.Errorf("slot %d: %d, %t", slot, got, ok)
		}
	}
	for _, name := range []string{
		"", "clean", "1.journal", "00001.journal", "-001.journal", "0001.journal.tmp", "0001.journalx",
		" 001.journal", "x0001.journal", "10000.journal",
	} {
		if slot, ok := parseFileName(name); ok {
			t.Errorf("%q is slot %d", name, slot)
		}
	}
}
