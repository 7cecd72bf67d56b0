package batch

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The corpora lie in testdata/fuzz, one folder for each target.

// FuzzCheck feeds whole batches to the checks of the header. What passes must read the
// same in kmsg, and what a client may send, a log may hold.
func FuzzCheck(f *testing.F) {
	f.Fuzz(func(t *testing.T, p []byte, seal bool) {
		if seal && len(p) >= HeaderBytes { // Else the fuzzer rarely gets past the CRC.
			Batch(p).putLength(len(p))
			Batch(p).SealCRC()
		}
		if b, rest, err := Next(p); err == nil && len(b)+len(rest) != len(p) {
			t.Errorf("Next splits %d bytes into %d and %d", len(p), len(b), len(rest))
		}
		err := CheckFromClient(p, 1<<20)
		if err != nil {
			checkKind(t, err, ErrCorrupt, ErrMagic, ErrTooLarge, ErrInvalid, ErrTimestampType,
				ErrTransactional)
			return
		}
		if err := CheckStored(p); err != nil {
			t.Errorf("a client may send it, but a log may not hold it: %v", err)
		}
		b := Batch(p)
		var rb kmsg.RecordBatch
		if err := rb.ReadFrom(p); err != nil {
			t.Fatalf("kmsg does not read it: %v", err)
		}
		if int(rb.NumRecords) != b.Count() || rb.Attributes != b.Attributes() ||
			!bytes.Equal(rb.Records, b.Records()) || rb.FirstSequence != int32(b.BaseSequence()) {
			t.Errorf("kmsg reads %+v", rb)
		}
	})
}

// checkKind fails unless err is one of the documented kinds.
func checkKind(t *testing.T, err error, kinds ...error) {
	t.Helper()
	for _, k := range kinds {
		if errors.Is(err, k) {
			return
		}
	}
	t.Errorf("an error of no documented kind: %v", err)
}

// FuzzWalk feeds record sections to the walk and the Reader, which must agree.
func FuzzWalk(f *testing.F) {
	f.Fuzz(func(t *testing.T, records []byte, count uint16, codec byte) {
		b := makeKafka(nil, func(rb *kmsg.RecordBatch) {
			rb.Records, rb.NumRecords, rb.LastOffsetDelta = records, int32(count)+1, int32(count)
			rb.Attributes = int16(codec % 5)
		})
		if !agree(t, b) {
			return
		}
		recs, err := readAll(b, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range recs {
			_, present, err := ParseControl(r, ControlNames{})
			if ce := (*ControlError)(nil); err != nil && (!present || !errors.As(err, &ce)) {
				t.Errorf("ParseControl of a sound record: %v", err)
			}
		}
		s := b.Spans()
		for n := 0; ; n++ {
			if _, ok := s.Next(); !ok {
				if n != len(recs) && b.Codec() == None {
					t.Errorf("%d spans of %d records: %v", n, len(recs), s.Err())
				}
				return
			}
		}
	})
}

// fuzzCodec feeds bytes to one codec. What we take, the reference must take as well,
// and read the same: consumers have to.
func fuzzCodec(f *testing.F, c Codec, reference func([]byte) ([]byte, error)) {
	const limit = 1 << 16
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := Decompress(nil, c, src, limit)
		if err != nil {
			checkKind(t, err, ErrBomb, ErrBadCompression)
			return
		}
		if len(got) > limit {
			t.Fatalf("%d bytes with limit %d", len(got), limit)
		}
		want, err := reference(src)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("reference: %v; %d bytes, ours %d", err, len(want), len(got))
		}
		packed, err := Compress(nil, c, got)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return
		}
		back, err := Decompress(nil, c, packed, limit)
		if err != nil || !bytes.Equal(back, got) {
			t.Errorf("round trip: %v", err)
		}
	})
}

func FuzzGzip(f *testing.F) {
	fuzzCodec(f, Gzip, func(src []byte) ([]byte, error) {
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	})
}

func FuzzSnappy(f *testing.F) {
	d := kgo.DefaultDecompressor()
	fuzzCodec(f, Snappy, func(src []byte) ([]byte, error) {
		if len(src) == len(xerialHeader) && bytes.HasPrefix(src, []byte(xerialMagic)) {
			return nil, nil // Framing without blocks: franz-go takes it for a raw block.
		}
		return d.Decompress(src, kgo.CodecSnappy)
	})
}

func FuzzLz4(f *testing.F) {
	fuzzCodec(f, Lz4, func(src []byte) ([]byte, error) {
		return io.ReadAll(lz4.NewReader(bytes.NewReader(src)))
	})
}

func FuzzZstd(f *testing.F) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxWindow(zstdMaxWindowBytes))
	if err != nil {
		f.Fatal(err)
	}
	fuzzCodec(f, Zstd, func(src []byte) ([]byte, error) { return d.DecodeAll(src, nil) })
}

// FuzzControl feeds names and values to the parser of control headers. A refusal must
// be one printable, bounded sentence that says what to write; what is accepted must lie
// within the documented bounds.
func FuzzControl(f *testing.F) {
	f.Fuzz(func(t *testing.T, name string, value []byte) {
		if len(name) > 1<<10 || len(value) > 1<<14 {
			return
		}
		for _, name := range append([]string{name}, controlHeaders[:]...) {
			c, present, err := controlOf(t, ControlNames{}, Header{name, value})
			if present != IsControlHeader([]byte(name)) {
				t.Errorf("%q: present is %v", name, present)
			}
			if err != nil {
				checkSentence(t, err)
				continue
			}
			if present == reflect.DeepEqual(c, Control{}) {
				t.Errorf("%q %q: present is %v for %+v", name, value, present, c)
			}
			checkBounds(t, c)
		}
	})
}

// checkBounds fails unless every field of a Control lies within its documented bounds.
func checkBounds(t *testing.T, c Control) {
	t.Helper()
	for _, at := range []struct {
		has bool
		ms  UnixMs
	}{{c.HasTs, c.Due}, {c.HasExpire, c.Expire}, {c.HasUntil, c.Until}} {
		if at.has && (at.ms < minPlausibleMs || at.ms >= maxPlausibleMs) {
			t.Errorf("a time of %d: %+v", at.ms, c)
		}
	}
	if c.Delay < 0 || c.Delay%time.Millisecond != 0 {
		t.Errorf("delay %v", c.Delay)
	}
	if c.Every != 0 && (c.Every < MinEvery || c.Every%time.Millisecond != 0) {
		t.Errorf("every %v", c.Every)
	}
	if c.HasCount && c.Count < 1 {
		t.Errorf("count %d", c.Count)
	}
	for _, id := range [][]byte{c.ID, c.Cancel, c.MessageID} {
		if id != nil && len(id) == 0 || len(id) > maxIDBytes {
			t.Errorf("an id of %d bytes", len(id))
		}
	}
}

func checkSentence(t *testing.T, err error) {
	t.Helper()
	ce := (*ControlError)(nil)
	if !errors.As(err, &ce) || ce.Reason == "" {
		t.Errorf("not a control error: %v", err)
		return
	}
	if !strings.Contains(ce.Reason, "; write ") && !strings.Contains(ce.Reason, "; leave it out") {
		t.Errorf("%q does not say what to write", err)
	}
	if s := err.Error(); len(s) > 1000 || !isPrintable([]byte(s)) {
		t.Errorf("a sentence of %d bytes: %q", len(s), s)
	}
}
