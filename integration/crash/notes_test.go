package crash

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	// rottenHistories is how many histories end with the loss of a note.
	rottenHistories = 20
	// noteBytes is the length of a note, all of which rots.
	noteBytes = 2048
)

// TestRottenNotes loses the whole note of each log at the end of histories, after a kill and after a
// power cut: what was acknowledged is there all the same, from the segments and from the journal. A
// truncation is not among the operations: without a note nothing says that there was one.
func TestRottenNotes(t *testing.T) {
	seeds := randomSeeds(rottenHistories)
	if *seedFlag != 0 {
		seeds = []uint64{*seedFlag}
	}
	for _, seed := range seeds {
		w := newWorld(seed)
		w.o.way, w.o.replays = journaled, true
		if err := w.run(func() error { return w.rottenNotes() }); err != nil {
			t.Error(err)
		}
	}
}

func (w *world) rottenNotes() error {
	if err := w.open(); err != nil {
		return err
	}
	for range historyOps {
		c := w.random()
		if c.name == "truncation" {
			continue
		}
		if err := w.do(c); err != nil {
			return err
		}
		for i := range logCount {
			for _, keep := range keeps {
				for _, with := range []byte{0, 0xa5} {
					if err := w.rotNote(w.fs.CrashClone(keep, w.rng), i, with); err != nil {
						return fmt.Errorf("the note of log %d was filled with %#x, %v was kept: %w", i, with, keep, err)
					}
				}
			}
		}
	}
	return nil
}

// rotNote opens a node without the note of one log.
func (w *world) rotNote(fs *vfs.Crash, i int, with byte) error {
	if err := overwrite(fs, fs.PathJoin(logDir(i), noteName), bytes.Repeat([]byte{with}, noteBytes), 0); err != nil {
		return err
	}
	n, err := openNode(fs, w.o, nil)
	if err != nil {
		return err
	}
	defer n.abandon()
	for k, p := range w.promises() {
		l := n.logs[k]
		if k == i && int64(l.Start()) < p.start {
			p.start, p.startTo = int64(l.Start()), int64(l.Start())
		}
		if err := p.judgeOpened(l); err != nil {
			return fmt.Errorf("log %d: %w", k, err)
		}
	}
	return nil
}
