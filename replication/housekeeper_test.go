package replication

import (
	"fmt"
	"slices"
	"testing"
)

// TestTailsOfAllPartitionsAreBounded appends to several partitions more than a start may read, and
// wants checkpoints of the longest ones only.
func TestTailsOfAllPartitionsAreBounded(t *testing.T) {
	n := startNode(t)
	n.Manager.o.TailBytesMax = 1 << 20
	topic, err := n.CreateTopic(TopicSpec{Name: "many", Partitions: 5, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(5) {
		p, err := n.Partition(topic.ID, i)
		if err != nil {
			t.Fatal(err)
		}
		b := n.batch(-1, -1, rec{value: fmt.Sprintf("%0*d", int(i+1)*70_000, 0)})
		if _, err := p.Append(t.Context(), b, AppendOptions{Origin: NewOrigin()}); err != nil {
			t.Fatal(err)
		}
	}
	n.idle()
	k := n.Manager.keeper
	sum := k.tail.Load()
	if sum < 1<<20 {
		t.Fatalf("the tails have %d bytes together, the test needs more", sum)
	}
	select {
	case <-k.wake:
	default:
		t.Error("nobody woke the housekeeper")
	}
	k.wantLongest()
	var wanted []int32
	for p := range k.mu.wanted {
		wanted = append(wanted, p.index)
	}
	slices.Sort(wanted)
	if !slices.Equal(wanted, []int32{3, 4}) {
		t.Errorf("checkpoints of %v, want those of the two longest, 3 and 4", wanted)
	}
	k.checkpoints()
	left := int64(0)
	for _, p := range n.partitions() {
		left += p.tailBytes()
	}
	if k.tail.Load() != left || left > 1<<19+1<<18 || left == 0 {
		t.Errorf("%d bytes are counted, the partitions have %d", k.tail.Load(), left)
	}
	if k.mu.wanted = nil; k.tail.Load() < 1<<20 {
		if k.wantLongest(); len(k.mu.wanted) != 0 {
			t.Error("checkpoints of tails that are short enough")
		}
	}
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	if k.tail.Load() != 0 {
		t.Errorf("%d bytes are left when all is closed", k.tail.Load())
	}
}
