package crash

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// journaledWorld has a node with a journal, which has committed a few times.
func journaledWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(3)
	w.o.way, w.o.mode = journaled, log.Batch
	must(t, w.open())
	for range 6 {
		must(t, w.commit(2))
	}
	return w
}

// lastCommit is the state of the disk before and behind a commit whose bytes are in the journal only.
type lastCommit struct {
	w             *world
	before, after *vfs.Crash
	promises      [logCount]promise // before it, with what it wrote as not flushed
	file          string            // of the journal, that the commit was written to
	from, to      int64             // where it differs
}

func newLastCommit(t *testing.T) *lastCommit {
	t.Helper()
	w := journaledWorld(t)
	c := &lastCommit{w: w, before: w.fs.CrashClone(1, nil)}
	flushed := w.promises()
	must(t, w.commit(1))
	c.after = w.fs.CrashClone(1, nil)
	c.promises = w.promises()
	for i := range c.promises {
		c.promises[i].flushed = flushed[i].flushed
	}
	for _, name := range c.files(t) {
		was, err := readFile(c.before, name)
		must(t, err)
		is, err := readFile(c.after, name)
		must(t, err)
		for k := range is {
			if was[k] == is[k] {
				continue
			}
			if c.file == "" {
				c.file, c.from = name, int64(k)
			}
			c.to = int64(k) + 1
		}
	}
	if c.file == "" {
		t.Fatal("the commit has changed no file of the journal")
	}
	return c
}

func (c *lastCommit) files(t *testing.T) (paths []string) {
	t.Helper()
	names, err := c.after.List(journalDir)
	must(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, ".journal") {
			paths = append(paths, c.after.PathJoin(journalDir, name))
		}
	}
	return paths
}

// TestJournalTornAtEveryByte leaves every prefix of the last commit in the journal: it was not
// acknowledged, and all before it is there.
func TestJournalTornAtEveryByte(t *testing.T) {
	c := newLastCommit(t)
	old, err := readFile(c.before, c.file)
	must(t, err)
	for k := c.from; k < c.to; k++ {
		fs := c.after.CrashClone(1, nil)
		must(t, overwrite(fs, c.file, old[k:c.to], k))
		if err := c.w.judge(fs, c.promises, false); err != nil {
			t.Fatalf("the last commit is torn at byte %d of %d: %v", k-c.from, c.to-c.from, err)
		}
	}
	if c.to-c.from < 100 {
		t.Errorf("the last commit has %d bytes", c.to-c.from)
	}
}

// TestJournalDamage zeroes each block and flips bits all over the journal's files, after the process
// was killed: all that was acknowledged is there, or the damage is named by file and byte. Of the very
// last commit nobody can tell that it was whole once, as package journal says, until it is confirmed.
func TestJournalDamage(t *testing.T) {
	for _, confirmed := range []bool{false, true} {
		t.Run(map[bool]string{true: "confirmed", false: "not confirmed"}[confirmed], func(t *testing.T) {
			c := newLastCommit(t)
			if confirmed {
				must(t, c.w.node.committer.Confirm())
				c.after, c.promises = c.w.fs.CrashClone(1, nil), c.w.promises()
			}
			c.damage(t)
		})
	}
}

// damage damages the journal's files everywhere.
func (c *lastCommit) damage(t *testing.T) {
	t.Helper()
	unharmed, refused := 0, 0
	for _, name := range c.files(t) {
		p, err := readFile(c.after, name)
		must(t, err)
		hit := func(what string, at, n int64, do func(fs vfs.FS) error) {
			promises := c.w.promises()
			if name == c.file && at+n > c.from && at < c.to {
				promises = c.promises
			}
			fs := c.after.CrashClone(1, nil)
			must(t, do(fs))
			err := c.w.judge(fs, promises, false)
			var corrupt *journal.CorruptError
			switch {
			case err == nil:
				unharmed++
			case errors.As(err, &corrupt):
				refused++
			default:
				t.Errorf("%s in %s at byte %d: %v", what, name, at, err)
			}
		}
		for at := int64(0); at < int64(len(p)); at += blockBytes {
			hit("zeros", at, blockBytes, func(fs vfs.FS) error { return overwrite(fs, name, make([]byte, blockBytes), at) })
		}
		for at := int64(0); at < int64(len(p)); at++ {
			if p[at] == 0 && at%64 != 0 {
				continue // most of a block is filling
			}
			bit := int(at % 8)
			hit(fmt.Sprintf("bit %d flipped", bit), at, 1, func(fs vfs.FS) error { return flip(fs, name, at, bit) })
		}
	}
	t.Logf("%d unharmed, %d refused", unharmed, refused)
	if unharmed < 100 || refused < 100 {
		t.Errorf("%d unharmed, %d refused: hardly damaged", unharmed, refused)
	}
}

// TestPoisonedBlock puts a valid batch of another topic behind a log's end, at the offset and in the
// epoch that come next: what a file system shows when it gives a file blocks that another one had. It
// was never written to this log, so it is not served, after a clean stop nor after a kill.
func TestPoisonedBlock(t *testing.T) {
	for _, closed := range []bool{true, false} {
		w := journaledWorld(t)
		for i, l := range w.node.logs {
			end, err := l.Flush() // so that all of it is in the segment
			must(t, err)
			w.flushedTo(i, end)
		}
		if closed {
			must(t, w.node.close())
		}
		for i := range logCount {
			fs, p := w.fs.CrashClone(1, nil), w.promises()
			bases, err := segmentBases(fs, logDir(i))
			must(t, err)
			base, size := bases[len(bases)-1], int64(0)
			for _, b := range p[i].batches {
				if b.base >= base {
					size += int64(len(b.raw))
				}
			}
			poison := place(newBatch(1_000_000, 2, 80, startMs), p[i].end(), w.epoch)
			must(t, overwrite(fs, segmentName(fs, logDir(i), base, segmentSuffix), poison.raw, size))
			if err := w.judge(fs, p, true); err != nil {
				t.Errorf("closed %v, log %d: %v", closed, i, err)
			}
		}
	}
}
