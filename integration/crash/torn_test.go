package crash

import (
	"errors"
	"fmt"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// tornLog is a log at rest whose last batch was written and not flushed.
type tornLog struct {
	*atRest
	segment string // that holds the last batch
	at      int64  // where it begins
	last    stored
}

func newTornLog(t *testing.T, records, valueBytes int) *tornLog {
	t.Helper()
	w := newWorld(2)
	w.o.way = plain
	must(t, w.open())
	for n := range 6 {
		must(t, w.append(0, 1+n%2, 60))
	}
	end, err := w.node.logs[0].Flush()
	must(t, err)
	w.flushedTo(0, end)
	must(t, w.append(0, records, valueBytes))
	p := w.models[0].snapshot()
	r := &tornLog{atRest: &atRest{w.fs.CrashClone(1, nil), logDir(0), p}, last: p.batches[len(p.batches)-1]}
	bases, err := segmentBases(r.fs, r.dir)
	must(t, err)
	r.segment = segmentName(r.fs, r.dir, bases[len(bases)-1], segmentSuffix)
	size, err := readFile(r.fs, r.segment)
	must(t, err)
	r.at = int64(len(size) - len(r.last.raw))
	w.node.abandon()
	return r
}

// tears are what a power cut can leave of a write from byte k of the last batch on.
var tears = []struct {
	name string
	do   func(fs vfs.FS, r *tornLog, k int64) error
}{
	{"the file ends", func(fs vfs.FS, r *tornLog, k int64) error { return resize(fs, r.segment, r.at+k) }},
	{"zeros", func(fs vfs.FS, r *tornLog, k int64) error {
		return overwrite(fs, r.segment, make([]byte, int64(len(r.last.raw))-k), r.at+k)
	}},
	{"what lay there before", func(fs vfs.FS, r *tornLog, k int64) error {
		old := make([]byte, int64(len(r.last.raw))-k)
		for i := range old {
			old[i] = byte(0x5a + i)
		}
		return overwrite(fs, r.segment, old, r.at+k)
	}},
}

// TestTornAtEveryByte leaves every prefix of the last batch, which nobody was told of: the log ends
// before it, and works.
func TestTornAtEveryByte(t *testing.T) {
	for _, shape := range []struct{ records, valueBytes int }{{1, 30}, {3, 700}} {
		r := newTornLog(t, shape.records, shape.valueBytes)
		for _, tear := range tears {
			for k := range int64(len(r.last.raw)) {
				fs := r.copy()
				must(t, tear.do(fs, r, k))
				if r.segmentsAlike(r.fs, fs) == nil {
					continue // the bytes were zeros
				}
				if err := r.judgeTorn(fs); err != nil {
					t.Fatalf("%s from byte %d of %d of the last batch: %v", tear.name, k, len(r.last.raw), err)
				}
			}
		}
	}
}

// judgeTorn opens the log, whose last batch must be gone, and writes one in its place.
func (r *tornLog) judgeTorn(fs *vfs.Crash) error {
	l, err := log.Open(r.dir, r.options(fs))
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // it is looked at no more
	if err := r.promise.judgeOpened(l); err != nil {
		return err
	}
	if int64(l.End()) != r.last.base {
		return fmt.Errorf("the log ends at %d, the torn batch began at %d", l.End(), r.last.base)
	}
	b := place(newBatch(99, 2, 50, startMs), r.last.base, 1)
	if _, _, err := l.Append(append([]byte(nil), b.raw...), 1); err != nil {
		return err
	}
	if _, err := l.Flush(); err != nil {
		return err
	}
	p := r.promise
	p.batches = append(p.batches[:len(p.batches)-1:len(p.batches)-1], b)
	p.flushed = b.end
	again, err := log.Open(r.dir, r.options(fs.CrashClone(0, nil)))
	if err != nil {
		return err
	}
	return errors.Join(p.judgeOpened(again), again.Close())
}

// TestTornFlushedBatchIsRefused leaves every prefix of a last batch that was flushed: no crash does
// that, so it is damage, which is named, and nothing is cut.
func TestTornFlushedBatchIsRefused(t *testing.T) {
	r := restedLog(t, false)
	last := r.promise.batches[len(r.promise.batches)-1]
	bases, err := segmentBases(r.fs, r.dir)
	must(t, err)
	name := segmentName(r.fs, r.dir, bases[len(bases)-1], segmentSuffix)
	all, err := readFile(r.fs, name)
	must(t, err)
	at := int64(len(all) - len(last.raw))
	torn := &tornLog{atRest: r, segment: name, at: at, last: last}
	for _, tear := range tears {
		for k := range int64(len(last.raw)) {
			fs := r.copy()
			must(t, tear.do(fs, torn, k))
			if r.segmentsAlike(r.fs, fs) == nil {
				continue // the bytes were zeros
			}
			before := fs.CrashClone(1, nil)
			_, err := log.Open(r.dir, r.options(fs))
			var corrupt *log.CorruptError
			if !errors.As(err, &corrupt) || corrupt.File != name || corrupt.Position != at {
				t.Fatalf("%s from byte %d: %v, not damage of %s at byte %d", tear.name, k, err, name, at)
			}
			if err := r.segmentsAlike(before, fs); err != nil {
				t.Fatalf("%s from byte %d: %v", tear.name, k, err)
			}
		}
	}
}
