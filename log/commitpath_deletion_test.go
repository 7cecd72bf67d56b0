package log

import (
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestASlowDeletionHoldsUpNoCommit: while one log deletes old segments, the others are acknowledged.
func TestASlowDeletionHoldsUpNoCommit(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewCrash(1))
	if err := makeDir(fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{FS: fs, Dir: "/data/journal", FileBytes: 1 << 20, FilesMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	b := testBuffers(t, 0)
	old := journaledLog(t, fs, j, b, "topics/old", 500)
	other := journaledLog(t, fs, j, b, "topics/other", 1<<20)
	c := NewCommitter(CommitterOptions{Journal: j, Buffers: b})
	mo := c.Join(old, func(Offset) {})
	told := make(chan Offset, 100)
	m := c.Join(other, func(end Offset) { told <- end })
	mustAppend(t, old, 30)
	removing, release := make(chan struct{}), make(chan struct{})
	fs.Add(vfs.Fault{Op: vfs.OpRemove, Glob: "*.log", Times: 1, Before: func(string) {
		close(removing)
		<-release
	}})
	advanced := make(chan error, 1)
	go func() { advanced <- old.AdvanceStart(old.End() - 5) }()
	<-removing
	mustAppend(t, old, 1)
	mo.Dirty()
	mustAppend(t, other, 1)
	m.Dirty()
	select {
	case <-told:
	case <-time.After(2 * time.Second):
		t.Error("the other log is not acknowledged while a file of the first one is being deleted")
	}
	close(release)
	if err := <-advanced; err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
