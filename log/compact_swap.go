package log

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// swapSuffix ends the name of a cleaned segment that is whole and durable, and not in its place
// yet: "<base>-<end>.swap". It stands for all segments that begin in that range.
const swapSuffix = ".swap"

// errReplaced tells a reader that the segment it has pinned was compacted, and its index with it.
// It is always answered by reading again.
var errReplaced = errors.New("segment has been replaced by a compacted one")

// swapName is the range in the name of a swap file.
type swapName struct{ base, end Offset }

// path returns the file's path.
func (s swapName) path(fs vfs.FS, dir string) string {
	name := fmt.Sprintf("%0*d-%0*d%s", baseDigits, s.base, baseDigits, s.end, swapSuffix)
	return fs.PathJoin(dir, name)
}

// parseSwapName returns the range in a swap file's name.
func parseSwapName(name string) (s swapName, ok bool) {
	stem, ok := strings.CutSuffix(name, swapSuffix)
	if !ok {
		return s, false
	}
	left, right, _ := strings.Cut(stem, "-")
	if s.base, ok = parseSegmentName(left + logSuffix); !ok {
		return s, false
	}
	s.end, ok = parseSegmentName(right + logSuffix)
	return s, ok && s.base < s.end
}

// swap puts a cleaned segment in the place of a group. The rename to the swap name is the moment of
// decision: once it is durable the originals are not needed, and until it is they are untouched.
func (c *compactor) swap(w *cleanedSegment, g group) error {
	l := c.l
	l.swapping.Lock()
	defer l.swapping.Unlock()
	if !c.current(g) {
		return errCompactionStale
	}
	if err := l.writable(); err != nil {
		return err
	}
	// What needs a file handle comes first, so that the want of one only puts the swap off. The group
	// is pinned: what is open stays so.
	for _, s := range g.segments {
		if _, err := s.file(); err != nil {
			return &cleanedError{err}
		}
	}
	d, err := openSwapDir(l.o.FS, l.dir)
	if err != nil {
		return &cleanedError{err}
	}
	defer d.close()
	name := swapName{g.base, g.end}
	if err := d.fs.Rename(w.seg.path, name.path(d.fs, l.dir)); err != nil {
		return &cleanedError{fmt.Errorf("name a cleaned segment: %w", err)}
	}
	// From here on an error is final: which of the two the next Open finds is not known.
	if err := d.sync(); err != nil {
		return l.fail(err)
	}
	var originals []string
	for _, s := range g.segments {
		if err := s.retire(); err != nil {
			return l.fail(err)
		}
		for _, path := range []string{s.index.path, s.times.path, s.path} {
			originals = append(originals, d.fs.PathBase(path))
		}
	}
	if err := d.finish(name, originals); err != nil {
		return l.fail(err)
	}
	l.install(w, g)
	return nil
}

// current says whether the group's segments are still the log's and sealed where they were. Only
// AdvanceStart and Truncate change that, and both own swapping when they do. The caller does, too.
func (c *compactor) current(g group) bool {
	l := c.l
	set := l.set.Load()
	i := set.find(g.base)
	return l.truncations.Load() == c.changes && i >= 0 && i+len(g.segments) < len(set.list) &&
		slices.Equal(set.list[i:i+len(g.segments)], g.segments) &&
		l.recovery.Load().segment >= g.end
}

// retire makes sure that a segment's readers can go on without its name, and that nobody touches
// what will be there under its name.
func (s *segment) retire() error {
	if _, err := s.file(); err != nil {
		return err
	}
	s.repair.Lock() // a rebuild that runs would put the old index in the new one's place
	defer s.repair.Unlock()
	s.index.replaced.Store(true)
	s.times.replaced.Store(true)
	return nil
}

// swapDir is a log's folder, open for a swap: nothing more needs to be opened.
type swapDir struct {
	fs   vfs.FS
	path string
	file io.Closer
	// fsync makes the names in the folder durable.
	fsync func() error
}

func openSwapDir(fs vfs.FS, dir string) (*swapDir, error) {
	f, err := fs.OpenDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open %s for a swap: %w", dir, err)
	}
	return &swapDir{fs: fs, path: dir, file: f, fsync: f.Sync}, nil
}

func (d *swapDir) close() { _ = d.file.Close() } // nothing was written through it

func (d *swapDir) sync() error {
	if mutant.On(mutant.NoDirSync) {
		return nil
	}
	if err := d.fsync(); err != nil {
		return fmt.Errorf("sync directory %s: %w", d.path, err)
	}
	return nil
}

// finish removes the originals of a swap file whose name is durable, which are among those files,
// and gives it theirs. It can be interrupted anywhere and done again.
func (d *swapDir) finish(name swapName, files []string) error {
	first := newSegment(d.fs, d.path, name.base)
	for _, file := range files {
		path := d.fs.PathJoin(d.path, file)
		if !name.replaces(file) || path == first.path {
			continue
		}
		if err := d.fs.Remove(path); err != nil && !isNotExist(err) {
			return err
		}
	}
	// An index that a crash has lost is made anew when it is needed.
	for _, t := range []*table{first.index, first.times} {
		if err := d.fs.Rename(t.path+cleanedSuffix, t.path); err != nil && !isNotExist(err) {
			return err
		}
	}
	// Without this sync a crash could keep the last rename and bring the other originals back.
	if err := d.sync(); err != nil {
		return err
	}
	if err := d.fs.Rename(name.path(d.fs, d.path), first.path); err != nil {
		return err
	}
	return d.sync()
}

// replaces says whether a file belongs to an original of the swap.
func (s swapName) replaces(file string) bool {
	for _, suffix := range []string{logSuffix, indexSuffix, timesSuffix} {
		if stem, ok := strings.CutSuffix(file, suffix); ok {
			base, ok := parseSegmentName(stem + logSuffix)
			return ok && base >= s.base && base < s.end
		}
	}
	return false
}

// install shows readers the new segment, whose files are in place. The caller owns swapping.
func (l *Log) install(w *cleanedSegment, g group) {
	s := newSegment(l.o.FS, l.dir, g.base)
	s.gapsBelow = g.end
	s.size.Store(w.pos)
	s.end.Store(int64(g.end))
	s.maxTime.Store(w.seg.maxTime.Load())
	s.maxKnown.Store(true)
	l.mu.Lock()
	set := l.set.Load()
	i := set.find(g.base)
	list := slices.Concat(set.list[:i:i], []*segment{s}, set.list[i+len(g.segments):])
	l.set.Store(&segmentSet{list: list})
	l.mu.Unlock()
	for _, old := range g.segments {
		old.release()
	}
	w.seg.release() // The handle under which it was written: nobody may ever read the segment.
}

// awaitSwap waits until a swap that is under way is over. It is for who has met errReplaced.
func (l *Log) awaitSwap() {
	l.swapping.Lock()
	l.swapping.Unlock() //nolint:staticcheck // the empty section is the wait
}

// finishSwaps ends what a crash has interrupted: a swap is finished, a segment that was still being
// written is dropped.
func (r *recovery) finishSwaps() error {
	fs, dir := r.l.o.FS, r.l.dir
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, file := range names {
		if name, ok := parseSwapName(file); ok {
			if err := finishSwap(fs, dir, name, names); err != nil {
				return fmt.Errorf("finish the swap of %s: %w", file, err)
			}
		}
	}
	for _, file := range names {
		if !strings.HasSuffix(file, cleanedSuffix) {
			continue
		}
		if err := fs.Remove(fs.PathJoin(dir, file)); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove what a compaction left: %w", err)
		}
	}
	return nil
}

// finishSwap ends one swap in a folder with those files.
func finishSwap(fs vfs.FS, dir string, name swapName, files []string) error {
	d, err := openSwapDir(fs, dir)
	if err != nil {
		return err
	}
	defer d.close()
	// The name may be in memory only, if the process died before it was synced.
	if err := d.sync(); err != nil {
		return err
	}
	return d.finish(name, files)
}
