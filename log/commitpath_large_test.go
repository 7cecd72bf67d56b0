package log

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestLargeBatchesThroughASmallJournal has one producer of batches that are larger than all memory for
// what is not drained, beside many of small ones, through a journal that is full all the time. Each
// waits for its acknowledgement. In the end all memory is given back and nothing of the journal needed.
func TestLargeBatchesThroughASmallJournal(t *testing.T) {
	const logs, small, large = 20, 150, 3
	fs := vfs.NewCrash(1)
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	o := journal.Options{FS: fs, Dir: "/data/journal", FileBytes: 64 << 10, FilesMax: 2}
	j, err := journal.Open(o)
	if err == nil {
		err = j.Recovered()
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBuffers(BuffersOptions{UndrainedBytesMax: 2 << 20, RecentBytesMax: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c := NewCommitter(CommitterOptions{
		Journal: j, Buffers: b, OnFailure: func(err error) { t.Errorf("failed: %v", err) },
	})
	var members []*Member
	var producers sync.WaitGroup
	over := make(chan struct{})
	for i := range logs {
		l := journaledLog(t, fs, j, b, fmt.Sprintf("p%d", i), 16<<20)
		told := make(chan Offset, small) // one for each commit of the log
		m := c.Join(l, func(end Offset) { told <- end })
		members = append(members, m)
		n, rounds := 4000, small
		if i == 0 {
			n, rounds = 5<<20, large
		}
		producers.Go(func() { produceAcked(t, b, m, n, rounds, told) })
	}
	go func() { // ends with the producers
		producers.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-time.After(time.Minute):
		t.Fatalf("the producers stand still: %+v, %+v", b.Stats(), j.Stats())
	}
	var want [][]byte
	for _, m := range members {
		want = append(want, readAll(t, m.log))
	}
	closeAll(t, c, members)
	o.FS = fs.Crash(0, nil)
	if j, err = journal.Open(o); err != nil || len(j.Logs()) > 0 {
		t.Fatalf("the journal has entries of %v, %v", j.Logs(), err)
	}
	for i := range want {
		l := journaledLog(t, o.FS, j, testBuffers(t, 0), fmt.Sprintf("p%d", i), 16<<20)
		if !bytes.Equal(readAll(t, l), want[i]) {
			t.Errorf("log %d is not as it was", i)
		}
	}
}

// produceAcked appends batches of a size, one after the other is acknowledged.
func produceAcked(t *testing.T, b *Buffers, m *Member, n, rounds int, told chan Offset) {
	for k := range rounds {
		p := buildBatch(t, uint64(k), 1, n, 1000)
		done, err := b.Reserve(t.Context(), len(p))
		if err != nil {
			t.Error(err)
			return
		}
		_, end, err := m.log.Append(p, 1)
		done()
		if err != nil {
			t.Error(err)
			return
		}
		m.Dirty()
		for <-told < end {
		}
	}
}

// closeAll ends a node, of which memory and journal hold nothing then.
func closeAll(t *testing.T, c *Committer, members []*Member) {
	t.Helper()
	for _, m := range members {
		m.Leave()
		mustClose(t, m.log)
	}
	if err := errors.Join(c.Close(), c.o.Journal.Close()); err != nil {
		t.Error(err)
	}
	if s := c.o.Buffers.Stats(); s != (BuffersStats{}) {
		t.Errorf("memory is held: %+v", s)
	}
}
