package replication

import (
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

func TestGate(t *testing.T) {
	type note struct {
		kind   logKind
		end    batch.Offset
		dueNow bool
	}
	tests := []struct {
		name  string
		notes []note
		to    logKind
		marks marks
		open  bool
	}{
		{name: "nothing sent yet", to: visible, open: true},
		{name: "same log never waits", notes: []note{{visible, 9, false}}, to: visible, open: true},
		{name: "to staging, earlier one above HW", notes: []note{{visible, 9, false}}, to: staging},
		{
			name: "to staging, earlier one below HW", notes: []note{{visible, 9, false}}, to: staging,
			marks: marks{hw: [2]batch.Offset{visible: 9}}, open: true,
		},
		{name: "to visible, staged above HW", notes: []note{{staging, 4, false}}, to: visible},
		{
			name: "to visible, staged below HW, nothing due", notes: []note{{staging, 4, false}}, to: visible,
			marks: marks{hw: [2]batch.Offset{staging: 4}}, open: true,
		},
		{
			name: "to visible, due-now records not delivered", notes: []note{{staging, 4, true}}, to: visible,
			marks: marks{hw: [2]batch.Offset{staging: 4}, nowDone: 3},
		},
		{
			name: "to visible, due-now records delivered", notes: []note{{staging, 4, true}}, to: visible,
			marks: marks{hw: [2]batch.Offset{staging: 4}, nowDone: 4}, open: true,
		},
		{
			name:  "a later staged batch without due-now records hides none",
			notes: []note{{staging, 4, true}, {staging, 6, false}}, to: visible,
			marks: marks{hw: [2]batch.Offset{staging: 6}, nowDone: 3},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var g gateState
			for _, n := range tc.notes {
				g.note(n.kind, n.end, n.dueNow)
			}
			if got := g.open(tc.to, tc.marks); got != tc.open {
				t.Fatalf("open = %v, want %v", got, tc.open)
			}
		})
	}
}

func TestAckQueueKeepsOrder(t *testing.T) {
	var q ackQueue
	for _, need := range []batch.Offset{3, 5, 4, 9} { // 4 is raised to 5: it must not overtake.
		q.push(waiting{need: need, ack: newAck(AppendResult{BaseOffset: need})})
	}
	if got := q.popReached(4, nil); len(got) != 1 || got[0].ack.result.BaseOffset != 3 {
		t.Fatalf("at mark 4 %d acks are done, want the first only", len(got))
	}
	if got := q.popReached(5, nil); len(got) != 2 || got[1].ack.result.BaseOffset != 4 {
		t.Fatalf("at mark 5 %d acks are done, want two in order", len(got))
	}
	if got := q.popAll(nil); len(got) != 1 || len(q.popAll(nil)) != 0 {
		t.Fatalf("popAll returned %d acks, want the one that is left", len(got))
	}
}

// TestOriginForgetsPartitionsThatHaveGone: a partition that closed before a batch reached its mark
// has nobody wait for it; a connection that outlives many topics does not keep them all.
func TestOriginForgetsPartitionsThatHaveGone(t *testing.T) {
	o := NewOrigin()
	busy := &Partition{}
	o.gate(busy).note(visible, 9, false)
	for range originGatesMax + 10 {
		p := &Partition{}
		o.gate(p).note(visible, 9, false)
		p.closed.Store(true)
	}
	if len(o.gates) > originGatesMax || o.gates[busy] == nil {
		t.Errorf("%d are remembered; the busy one: %v", len(o.gates), o.gates[busy] != nil)
	}
}
