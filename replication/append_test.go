package replication

import (
	"context"
	"errors"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

// TestAppendAllocatesNothingPerRecord: a batch that goes to the partition log is checked and walked
// where it lies, however many records are in it.
func TestAppendAllocatesNothingPerRecord(t *testing.T) {
	const many = 2000
	allocs := func(records int) float64 {
		n := startNode(t)
		recs := make([]rec, records)
		for i := range recs {
			recs[i].value = "value"
		}
		b, p := n.batch(-1, -1, recs...), n.part()
		return testing.AllocsPerRun(10, func() {
			b.SetBaseOffset(0) // as its producer wrote it
			if _, err := p.Append(context.Background(), b, AppendOptions{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	// The file system of the test, and segments that roll, take some per batch and per byte.
	if one, all := allocs(1), allocs(many); all-one > many/10 {
		t.Errorf("a batch of one record takes %v allocations, one of %d takes %v", one, many, all)
	} else {
		t.Logf("one record: %v, %d records: %v", one, many, all)
	}
}

// TestAckIsKnownToWhoAsksBeforeAndAfter: the channel of an Ack is made when somebody waits.
func TestAckIsKnownToWhoAsksBeforeAndAfter(t *testing.T) {
	early, late := newAck(AppendResult{BaseOffset: 1}), newAck(AppendResult{BaseOffset: 2})
	asked := early.Done()
	for _, a := range []*Ack{early, late} {
		if a.IsDone() {
			t.Fatal("done before it was completed")
		}
		a.complete(ErrClosed)
		select {
		case <-a.Done():
		default:
			t.Error("not done after it was completed")
		}
		if _, err := a.Result(); !a.IsDone() || !errors.Is(err, ErrClosed) {
			t.Errorf("IsDone is %v, the error %v", a.IsDone(), err)
		}
	}
	select {
	case <-asked:
	default:
		t.Error("who waited first is not told")
	}
	if base := batch.Offset(1); early.result.BaseOffset != base {
		t.Errorf("the answer has changed: %+v", early.result)
	}
	a := newAck(AppendResult{})
	if n := testing.AllocsPerRun(10, func() { _ = a.IsDone() }); n != 0 {
		t.Errorf("a look at an Ack allocates %v times", n)
	}
}
