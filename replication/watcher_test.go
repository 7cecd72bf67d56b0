package replication

import (
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

// woken reports whether a watcher has been woken since the last look.
func woken(w *Watcher) bool {
	select {
	case <-w.C():
		return true
	default:
		return false
	}
}

// TestWatcherCountsBytes: whoever wants a byte is woken by the first, whoever wants more by the one
// that makes it enough, over all partitions together, and by nothing below what it knows.
func TestWatcherCountsBytes(t *testing.T) {
	var a, b Partition
	advance := func(p *Partition, hw batch.Offset, bytes int64) {
		p.hw[visible].Store(int64(hw))
		p.watchers.passed.Add(bytes)
		p.watchers.advance(hw)
	}
	one, many := NewWatcher(), NewWatcher()
	one.Need(1)
	many.Need(300)
	a.Watch(one, 0)
	a.Watch(many, 0)
	b.Watch(many, 5)
	advance(&a, 1, 100)
	if !woken(one) || woken(many) {
		t.Fatal("after 100 bytes")
	}
	advance(&b, 5, 1000)
	if woken(many) {
		t.Error("woken by what it knows")
	}
	advance(&b, 6, 100)
	if woken(many) {
		t.Error("woken by 200 of 300 bytes")
	}
	advance(&a, 2, 100)
	if !woken(many) {
		t.Error("not woken by 300 bytes of two partitions")
	}
	late := NewWatcher()
	late.Need(1 << 20)
	a.Watch(late, 1)
	if !woken(late) {
		t.Error("not woken, though nobody knows how much has come between its look and its watch")
	}
	a.Unwatch(many)
	advance(&a, 3, 1<<20)
	if woken(many) {
		t.Error("woken after Unwatch")
	}
	a.watchers.wakeAll()
	if !woken(late) {
		t.Error("not woken by the end")
	}
}

func TestSizesPop(t *testing.T) {
	var q sizes
	for i := range 10 {
		q.push(batch.Offset(10*(i+1)), 1)
	}
	for _, c := range []struct {
		mark batch.Offset
		want int64
	}{{9, 0}, {10, 1}, {35, 2}, {35, 0}, {100, 7}, {1000, 0}} {
		if got := q.pop(c.mark); got != c.want {
			t.Errorf("up to %d: %d bytes, want %d", c.mark, got, c.want)
		}
	}
	if len(q.items) != 0 {
		t.Errorf("%d are left", len(q.items))
	}
}

// TestWatchOfAPartitionThatHasGone: one that goes between a look and its watch wakes nobody any
// more, so the watch itself does.
func TestWatchOfAPartitionThatHasGone(t *testing.T) {
	n := startNode(t)
	p := n.part()
	if err := n.DeleteTopic(n.topic.ID); err != nil {
		t.Fatal(err)
	}
	w := NewWatcher()
	w.Need(1)
	p.Watch(w, p.HighWatermark())
	if !woken(w) {
		t.Error("not woken: a fetch would wait for a partition that has gone")
	}
}
