package crash

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// atRest is a log that nobody has open, and what it promised.
type atRest struct {
	fs      *vfs.Crash
	dir     string
	promise promise
}

// restedLog writes a log with several segments, two epochs, a start within a segment and a recovery
// point before the end. Closed, it is as a clean stop leaves it; else as the death of the process does.
func restedLog(t *testing.T, closed bool) *atRest {
	t.Helper()
	w := newWorld(1)
	w.o.mode, w.o.way = log.Batch, plain
	must(t, w.open())
	for n := range 40 {
		must(t, w.append(0, 1+n%3, 40+n*7))
		switch n {
		case 12:
			must(t, w.newEpoch())
		case 20:
			must(t, w.advance(0, w.node.logs[0].Start()+4))
		case 30:
			must(t, w.checkpoint(w.node.logs[0].Checkpoint))
		}
	}
	end, err := w.node.logs[0].Flush()
	must(t, err)
	w.flushedTo(0, end)
	if closed {
		must(t, w.node.close())
		return &atRest{w.fs, logDir(0), w.models[0].snapshot()}
	}
	r := &atRest{w.fs.CrashClone(1, nil), logDir(0), w.models[0].snapshot()}
	w.node.abandon()
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// copy returns a copy of the file system, to be damaged.
func (r *atRest) copy() *vfs.Crash { return r.fs.CrashClone(1, nil) }

// options are those that the log was written with.
func (r *atRest) options(fs vfs.FS) log.Options {
	return log.Options{FS: fs, SegmentBytes: segmentBytes, IndexIntervalBytes: indexBytes}
}

// files returns the paths of the log's files.
func (r *atRest) files(t *testing.T) []string {
	t.Helper()
	names, err := r.fs.List(r.dir)
	must(t, err)
	for i, name := range names {
		names[i] = r.fs.PathJoin(r.dir, name)
	}
	return names
}

// overwrite changes bytes of a file in place, behind everybody's back.
func overwrite(fs vfs.FS, name string, p []byte, at int64) error {
	f, err := fs.OpenLog(name)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(p, at); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// flip flips one bit of a file.
func flip(fs vfs.FS, name string, at int64, bit int) error {
	p, err := readFile(fs, name)
	if err != nil {
		return err
	}
	return overwrite(fs, name, []byte{p[at] ^ 1<<bit}, at)
}

// resize cuts a file, or extends it with zeros.
func resize(fs vfs.FS, name string, size int64) error {
	f, err := fs.OpenLog(name)
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// segmentsAlike makes sure that the segments of a log hold the same bytes on both file systems.
func (r *atRest) segmentsAlike(a, b vfs.FS) error {
	bases, err := segmentBases(a, r.dir)
	if err != nil {
		return err
	}
	for _, base := range bases {
		name := segmentName(a, r.dir, base, segmentSuffix)
		left, err := readFile(a, name)
		if err != nil {
			return err
		}
		if _, err := b.Stat(name); err != nil {
			return fmt.Errorf("%s is gone: %w", name, err)
		}
		right, err := readFile(b, name)
		if err != nil {
			return err
		}
		if !bytes.Equal(left, right) {
			return fmt.Errorf("%s was changed: %d bytes, then %d", name, len(left), len(right))
		}
	}
	return nil
}
