package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clientCase is a batch that a client may or may not send.
type clientCase struct {
	name   string
	change func(*kmsg.RecordBatch)
	want   error
	text   string
}

func (c clientCase) check(t *testing.T) {
	t.Helper()
	err := CheckFromClient(makeKafka(twoRecords(), c.change), 0)
	if !errors.Is(err, c.want) || c.want == nil && err != nil {
		t.Errorf("%s: %v, want %v", c.name, err, c.want)
	}
	if err != nil && !strings.Contains(err.Error(), c.text) {
		t.Errorf("%s: %q does not say %q", c.name, err, c.text)
	}
}

func TestCheckFromClientNumbers(t *testing.T) {
	idempotent := func(rb *kmsg.RecordBatch) {
		rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = 4, 0, 0
	}
	for _, c := range []clientCase{
		{"plain", nil, nil, ""},
		{"idempotent", idempotent, nil, ""},
		{
			"a leader epoch is not judged",
			func(rb *kmsg.RecordBatch) { rb.PartitionLeaderEpoch = 9 }, nil, "",
		},
		{"magic 0", func(rb *kmsg.RecordBatch) { rb.Magic = 0 }, ErrMagic, "magic is 0"},
		{"magic 1", func(rb *kmsg.RecordBatch) { rb.Magic = 1 }, ErrMagic, "magic is 1"},
		{"magic 3", func(rb *kmsg.RecordBatch) { rb.Magic = 3 }, ErrMagic, "magic is 3"},
		{
			"base offset", func(rb *kmsg.RecordBatch) { rb.FirstOffset = 1 }, ErrInvalid,
			"base offset is 1",
		},
		{
			"negative base offset", func(rb *kmsg.RecordBatch) { rb.FirstOffset = -1 }, ErrInvalid,
			"is -1",
		},
		{
			"no records", func(rb *kmsg.RecordBatch) { rb.NumRecords, rb.LastOffsetDelta = 0, -1 },
			ErrInvalid, "count is 0",
		},
		{
			"negative records",
			func(rb *kmsg.RecordBatch) { rb.NumRecords, rb.LastOffsetDelta = -5, -6 }, ErrInvalid,
			"count is -5",
		},
		{
			"last delta", func(rb *kmsg.RecordBatch) { rb.LastOffsetDelta = 2 }, ErrInvalid,
			"delta is 2 with 2",
		},
		{
			"last delta wraps", func(rb *kmsg.RecordBatch) { rb.LastOffsetDelta = 1<<31 - 1 },
			ErrInvalid, "2147483647",
		},
		{
			"no sequence", func(rb *kmsg.RecordBatch) { rb.ProducerID, rb.ProducerEpoch = 4, 0 },
			ErrInvalid, "sequence is -1",
		},
		{
			"no epoch", func(rb *kmsg.RecordBatch) { rb.ProducerID, rb.FirstSequence = 4, 0 },
			ErrInvalid, "epoch is -1",
		},
	} {
		c.check(t)
	}
}

func TestCheckFromClientNamesBadAttributes(t *testing.T) {
	attributes := func(a int16) func(*kmsg.RecordBatch) {
		return func(rb *kmsg.RecordBatch) { rb.Attributes = a }
	}
	for _, c := range []clientCase{
		{"zstd", attributes(4), nil, ""},
		{"codec 5", attributes(5), ErrInvalid, "codec is 5"},
		{"codec 7", attributes(7), ErrInvalid, "codec is 7"},
		{"log append time", attributes(1 << 3), ErrTimestampType, "CreateTime"},
		{"transactional", attributes(1 << 4), ErrTransactional, ""},
		{"control", attributes(1 << 5), ErrInvalid, "control bit"},
		{"transactional control", attributes(3 << 4), ErrInvalid, "control bit"},
		{"delete horizon", attributes(1 << 6), ErrInvalid, "0x0040"},
		{"bit 7", attributes(1 << 7), ErrInvalid, "0x0080"},
		{"staged kind", attributes(KindStaged.Attributes()), ErrInvalid, "0x0100"},
		{"settlement kind", attributes(KindSettlement.Attributes()), ErrInvalid, "0x0200"},
		{"our mark", attributes(AttrMark), ErrInvalid, "0x4000"},
		{"bit 15", attributes(-1 << 15), ErrInvalid, "0x8000"},
	} {
		c.check(t)
	}
}

// TestCheckFromClientAttributes proves that of 65536 attribute words exactly the five
// codecs pass.
func TestCheckFromClientAttributes(t *testing.T) {
	b := makeKafka(twoRecords(), nil)
	passed := 0
	for a := range 1 << 16 {
		b.SetAttributes(int16(a))
		b.SealCRC()
		if CheckFromClient(b, 0) == nil {
			passed++
			if a > int(Zstd) {
				t.Errorf("attributes %#04x pass", a)
			}
		}
	}
	if passed != 5 {
		t.Errorf("%d attribute words pass, want 5", passed)
	}
}

func TestCheckFromClientFrame(t *testing.T) {
	good := makeKafka(twoRecords(), nil)
	resize := func(n int) Batch {
		b := bytes.Clone(good)
		Batch(b).putLength(n)
		return b
	}
	old := make([]byte, 34) // A message set of one message of magic 1 is this short.
	binary.BigEndian.PutUint32(old[posLength:], 22)
	old[posMagic] = 1
	flipped := bytes.Clone(good)
	flipped[len(flipped)-1] ^= 1
	for _, c := range []struct {
		name string
		b    Batch
		max  int
		want error
	}{
		{"nothing", nil, 0, ErrCorrupt},
		{"one byte", good[:1], 0, ErrCorrupt},
		{"no magic", good[:posMagic], 0, ErrCorrupt},
		{"half a header", good[:40], 0, ErrCorrupt},
		{"a header alone", good[:HeaderBytes], 0, ErrCorrupt},
		{"cut by one", good[:len(good)-1], 0, ErrCorrupt},
		{"one byte too many", append(bytes.Clone(good), 0), 0, ErrCorrupt},
		{"garbage behind", append(bytes.Clone(good), make([]byte, 100)...), 0, ErrCorrupt},
		{"two batches", append(bytes.Clone(good), good...), 0, ErrInvalid},
		{"length 0", resize(lengthPrefixBytes), 0, ErrCorrupt},
		{"length below a header", resize(HeaderBytes - 1), 0, ErrCorrupt},
		{"negative length", resize(-1), 0, ErrCorrupt},
		{"huge length", resize(1<<31 - 1), 0, ErrCorrupt},
		{"an old message set", old, 0, ErrMagic},
		{"a flipped bit", flipped, 0, ErrCorrupt},
		{"exactly the limit", good, len(good), nil},
		{"one above the limit", good, len(good) - 1, ErrTooLarge},
		{"too large and flipped", flipped, len(good) - 1, ErrTooLarge},
	} {
		err := CheckFromClient(c.b, c.max)
		if !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestEveryBitCounts proves that no bit of a batch can flip unseen, but for those that
// a broker stamps.
func TestEveryBitCounts(t *testing.T) {
	good := makeKafka(twoRecords(), nil)
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		err := CheckStored(b)
		stamped := i/8 < posLength || i/8 >= posLeaderEpoch && i/8 < posMagic
		const offsetSign = 7 // No log has negative offsets.
		if want := stamped && i != offsetSign; want != (err == nil) {
			t.Errorf("byte %d bit %d: %v", i/8, i%8, err)
		}
	}
}

func TestCheckStored(t *testing.T) {
	good := makeKafka(twoRecords(), nil)
	make2 := func(change func(*kmsg.RecordBatch)) Batch { return makeKafka(twoRecords(), change) }
	for _, c := range []struct {
		name string
		b    Batch
		want error
	}{
		{"plain", good, nil},
		{
			"ours",
			make2(func(rb *kmsg.RecordBatch) { rb.FirstOffset, rb.Attributes = 7, AttrMark }), nil,
		},
		{"a marker", make2(func(rb *kmsg.RecordBatch) { rb.Attributes = 0x30 }), nil},
		{"gaps", make2(func(rb *kmsg.RecordBatch) { rb.LastOffsetDelta = 100 }), nil},
		{"emptied", makeKafka(nil, func(rb *kmsg.RecordBatch) { rb.LastOffsetDelta = 3 }), nil},
		{"half a header", good[:30], ErrShort},
		{"cut", good[:len(good)-1], ErrShort},
		{"bytes behind", append(bytes.Clone(good), 0), ErrCorrupt},
		{"magic", make2(func(rb *kmsg.RecordBatch) { rb.Magic = 1 }), ErrMagic},
		{"codec", make2(func(rb *kmsg.RecordBatch) { rb.Attributes = 6 }), ErrCorrupt},
		{"count above deltas", make2(func(rb *kmsg.RecordBatch) { rb.NumRecords = 3 }), ErrCorrupt},
		{"negative count", make2(func(rb *kmsg.RecordBatch) { rb.NumRecords = -1 }), ErrCorrupt},
		{
			"negative delta", make2(func(rb *kmsg.RecordBatch) { rb.LastOffsetDelta = -1 }),
			ErrCorrupt,
		},
		{"negative offset", make2(func(rb *kmsg.RecordBatch) { rb.FirstOffset = -1 }), ErrCorrupt},
		{
			"offset wraps", make2(func(rb *kmsg.RecordBatch) { rb.FirstOffset = 1<<63 - 1 }),
			ErrCorrupt,
		},
	} {
		if err := CheckStored(c.b); !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}
