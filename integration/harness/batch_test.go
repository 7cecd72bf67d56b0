package harness

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestBatchRoundTrip encodes batches in every codec and reads them back: what the tests send by
// hand must be what a server can read.
func TestBatchRoundTrip(t *testing.T) {
	var all []byte
	codecs := []kgo.CompressionCodecType{
		kgo.CodecNone, kgo.CodecGzip, kgo.CodecSnappy, kgo.CodecLz4, kgo.CodecZstd,
	}
	for _, codec := range codecs {
		b := PlainBatch(1234, Record("one", "name", "value"), Record(""), Record("three"))
		b.Codec, b.Attributes = codec, MarkBit
		raw, err := b.Encode()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, raw...)
	}
	batches, err := SplitBatches(append(all, all[:70]...)) // with a cut one at the end
	if err != nil || len(batches) != len(codecs) {
		t.Fatalf("%d batches, %v; want %d", len(batches), err, len(codecs))
	}
	for i, b := range batches {
		if b.Attributes != MarkBit|int16(codecs[i]) || b.MaxTimestamp != 1234 {
			t.Errorf("batch %d has attributes %x and time %d", i, b.Attributes, b.MaxTimestamp)
		}
		records, err := Records(b)
		if err != nil || len(records) != 3 {
			t.Fatalf("batch %d: %d records, %v", i, len(records), err)
		}
		first := records[0]
		if string(first.Value) != "one" || len(first.Headers) != 1 ||
			string(first.Headers[0].Value) != "value" || records[2].OffsetDelta != 2 {
			t.Errorf("batch %d came back as %+v", i, records)
		}
	}
	all[len(all)-1] ^= 1
	if _, err := SplitBatches(all); err == nil {
		t.Error("a wrong checksum was not noticed")
	}
}
