package replication

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
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
		p.watchers.advance(func() batch.Offset { return hw })
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

// TestWatcherMissesNothing has fetches look, register and wait while appends become visible: each
// must be woken by the bytes that it is short of, however the two interleave.
func TestWatcherMissesNothing(t *testing.T) {
	for _, mode := range []log.Mode{log.Batch, log.Periodic} {
		m, err := Open(Options{DataDir: "/data", FS: vfs.NewCrash(1), FsyncMode: mode})
		if err != nil {
			t.Fatal(err)
		}
		n := &node{t: t, Manager: m}
		n.topic, err = m.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
		if err != nil {
			t.Fatal(err)
		}
		p, raw := n.part(), stamped(t, time.Now(), -1, -1, rec{value: "v"})
		const rounds, perRound = 4000, 3
		var seen [4]atomic.Int64 // the high watermark that each fetch has seen
		var fetches sync.WaitGroup
		for i := range seen {
			fetches.Go(func() {
				for round := 1; round <= rounds && waitFor(t, p, batch.Offset(perRound*round), len(raw)); round++ {
					seen[i].Store(int64(perRound * round))
				}
			})
		}
		for round := range rounds {
			var producers sync.WaitGroup // at once, so that their advances overtake each other
			for range perRound {
				producers.Go(func() {
					if _, err := p.Append(context.Background(), slices.Clone(raw), AppendOptions{}); err != nil {
						t.Error(err)
					}
				})
			}
			producers.Wait()
			for i := range seen {
				for seen[i].Load() < int64(perRound*(round+1)) && !t.Failed() {
					runtime.Gosched()
				}
			}
		}
		fetches.Wait()
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// waitFor waits as a fetch that wants all up to an offset, in batches of one record and so many
// bytes.
func waitFor(t *testing.T, p *Partition, until batch.Offset, bytes int) bool {
	w := NewWatcher()
	defer p.Unwatch(w)
	late := time.NewTimer(20 * time.Second)
	defer late.Stop()
	for {
		hw := p.HighWatermark()
		if hw >= until {
			return true
		}
		w.Need(int64(until-hw) * int64(bytes))
		p.Watch(w, hw)
		select {
		case <-w.C():
		case <-late.C:
			t.Errorf("not woken: the high watermark is %d, at the last look it was %d", p.HighWatermark(), hw)
			return false
		}
	}
}

// TestWatcherKeepsTheBytesOfALaterAdvance: while one advance is under way, another moves the high
// watermark and counts its bytes. They are left for it.
func TestWatcherKeepsTheBytesOfALaterAdvance(t *testing.T) {
	var p Partition
	w := NewWatcher()
	w.Need(1)
	move := func(hw batch.Offset) {
		p.hw[visible].Store(int64(hw))
		p.watchers.passed.Add(100)
	}
	move(10)
	p.Watch(w, 10)
	p.watchers.advance(func() batch.Offset {
		old := p.HighWatermark()
		move(20)
		return old
	})
	p.watchers.advance(p.HighWatermark)
	if !woken(w) {
		t.Error("the watcher sleeps, 10 offsets behind the high watermark")
	}
}
