package timer

import (
	"errors"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

// FuzzStage stages the records of any batch that a client could get accepted, and delivers them.
func FuzzStage(f *testing.F) {
	for _, c := range []batch.Codec{batch.None, batch.Lz4} {
		src := clientBatch(f, c,
			clientRecord{key: "k", value: "v", headers: []batch.Header{tsHeader(testNow + 1)}},
			clientRecord{headers: []batch.Header{header("_d", "x"), {Key: ""}}},
		)
		f.Add(src.Records(), uint8(c), int32(2))
	}
	f.Fuzz(func(t *testing.T, records []byte, codec uint8, count int32) {
		p := append(beginBatch(nil), records...)
		src := frame{attributes: int16(codec % 5), count: int(count)}.noProducer().seal(p)
		if batch.CheckFromClient(src, 1<<20) != nil {
			return
		}
		b, info, err := Stage(nil, src, StagePlan{Now: testNow, InflateLimit: 1 << 16})
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if err := batch.CheckStored(b); err != nil {
			t.Fatal(err)
		}
		if _, err := batch.WalkControl(b, 0); err != nil {
			t.Fatalf("the staged batch is not sound: %v", err)
		}
		b.SetLeaderEpoch(3)
		entries, _ := staged(t, b)
		if len(entries) != int(count) || info.Count != int(count) {
			t.Fatalf("%d entries, info %+v, of %d records", len(entries), info, count)
		}
		n := 0
		out := delivered(t, b, entries, testNow)
		if err := EachDelivered(out, func(d Delivered) error {
			if d.Position != entries[n].Position {
				t.Fatalf("position %v, want %v", d.Position, entries[n].Position)
			}
			n++
			return nil
		}); err != nil || n != len(entries) {
			t.Fatalf("%d positions, %v", n, err)
		}
		want, got := readAll(t, src), readAll(t, out)
		for i := range want {
			if want[i].key != got[i].key || want[i].value != got[i].value {
				t.Fatalf("record %d is %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

// checkRefusal demands an error that can be answered to a client.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	var record *batch.RecordError
	for _, known := range []error{batch.ErrInvalid, batch.ErrBomb, batch.ErrBadCompression} {
		if errors.Is(err, known) {
			return
		}
	}
	if !errors.As(err, &record) {
		t.Fatalf("err = %v", err)
	}
}
