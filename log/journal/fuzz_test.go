package journal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path"
	"testing"
)

// FuzzOpen opens, replays and inspects any bytes as two files and a mark. Nothing panics, hangs, or
// takes memory by what the bytes claim; what opens can be used, and opens again.
func FuzzOpen(f *testing.F) {
	for _, h := range []*history{
		newHistory(f, 0, 100, 200), newHistory(f, 1, 9000, 100), newHistory(f, 0, 9000, 9000),
	} {
		files := h.files(f)
		f.Add(files["0000.journal"], files["0001.journal"], []byte{}, true)
		f.Add(files["0000.journal"], []byte{}, mark{next: 3, generation: 1}.encode(), false)
	}
	f.Add([]byte{}, make([]byte, 3*blockBytes), []byte("chronos journal 1, next sequence 0"), true)
	f.Fuzz(func(t *testing.T, first, second, clean []byte, seal bool) {
		if len(first) > 64<<10 || len(second) > 64<<10 {
			return
		}
		fs := newFS(t, 1)
		must(t, fs.MkdirAll(testDir, dirPerm))
		for name, p := range map[string][]byte{
			"0000.journal": first, "0001.journal": second, markName: clean,
		} {
			if len(p) == 0 {
				continue
			}
			if seal && name != markName {
				p = sealed(p)
			}
			must(t, fs.WriteFileAtomic(path.Join(testDir, name), p))
		}
		_ = Inspect(fs, testDir, func(r Record) error {
			if r.Bytes > 64<<10 || len(r.Entries) > 64<<10/entryHeaderBytes {
				t.Errorf("a record of %d bytes with %d entries", r.Bytes, len(r.Entries))
			}
			return nil
		})
		o := testOptions(fs)
		j, err := Open(o)
		if err != nil {
			return
		}
		before := replayAll(t, j, 0)
		must(t, j.Close())
		j, err = Open(o)
		must(t, err)
		after := replayAll(t, j, 0)
		for name, all := range before {
			if len(all) != len(after[name]) {
				t.Errorf("log %q: %d entries, then %d", name, len(all), len(after[name]))
			}
		}
		if j.Next() >= 1<<62 || j.mu.generation >= 1<<62 {
			return // No journal gets there.
		}
		must(t, j.Recovered())
		_, err = j.Commit([]Entry{entry("a", 1, 100)})
		must(t, err)
		if next := j.Next(); next == 0 {
			t.Error("the next sequence is 0")
		}
		must(t, j.Close())
		j, err = Open(o)
		var corrupt *CorruptError
		if errors.As(err, &corrupt) {
			t.Fatalf("what was used cannot be opened: %v", err)
		}
		must(t, err)
		must(t, j.Close())
	})
}

// sealed puts right checksums into whatever looks like a header or a record, so that the fuzzer
// gets behind them.
func sealed(p []byte) []byte {
	q := append([]byte(nil), p...)
	var h header
	for i := 0; i+headerBytes <= len(q) && i < firstRecord; i += blockBytes {
		binary.BigEndian.PutUint32(q[i+headerBytes-4:],
			crc32.Checksum(q[i:i+headerBytes-4], castagnoli))
		if got, ok, err := decodeHeader(q[i:]); ok && err == nil {
			h = got
		}
	}
	for pos := firstRecord; pos+recordHeaderBytes <= len(q); pos += blockBytes {
		r, ok := decodeRecordHeader(q[pos:], h, int64(pos))
		if end := pos + recordHeaderBytes + r.bodyBytes; ok && end <= len(q) {
			binary.BigEndian.PutUint32(q[pos+4:], recordCRC(q[pos:end], h.salt))
		}
	}
	return q
}
