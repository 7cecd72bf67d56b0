package journal

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// makeFiles keeps a file ready for when the current one is full, until Close.
func (j *Journal) makeFiles() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !j.mu.closed && j.mu.failed == nil {
		if len(j.mu.ready) == 0 {
			made, err := j.prepareLocked()
			if err != nil && !errors.Is(err, ErrNoSpace) {
				return // A commit finds the failure in failed.
			}
			if made {
				continue
			}
		}
		j.mu.changed.Wait()
	}
}

// canPrepareLocked reports whether there is a file to begin, or room to make one.
func (j *Journal) canPrepareLocked() bool {
	return len(j.mu.free) > 0 || len(j.mu.files) < j.o.FilesMax && !j.mu.noRoom
}

// prepareLocked begins a free file anew, or makes one. It releases mu meanwhile, and reports
// whether there is one more that is ready. A full disk is an error only as long as there is no
// file at all.
func (j *Journal) prepareLocked() (bool, error) {
	if !j.canPrepareLocked() || j.mu.making {
		return false, nil
	}
	var f *file
	if len(j.mu.free) > 0 {
		f = j.mu.free[0]
		j.mu.free = j.mu.free[1:]
	}
	extra := len(j.mu.files) > j.o.FilesMax
	j.mu.generation++
	h := header{
		generation: j.mu.generation, salt: j.o.Salt(), fileBytes: j.o.FileBytes, atLeast: j.mu.next,
	}
	slot := j.freeSlotLocked()
	j.mu.making = true
	j.mu.Unlock()
	made, err := j.prepare(f, h, slot, extra)
	j.mu.Lock()
	j.mu.making = false
	defer j.mu.changed.Broadcast()
	if f != nil && made != f {
		j.forgetLocked(f)
	}
	switch {
	case err == nil && made != nil:
		if made != f {
			j.mu.files = append(j.mu.files, made)
		}
		j.mu.ready = append(j.mu.ready, made)
		return true, nil
	case err == nil:
		return j.prepareLocked() // One that was of no use has gone.
	case vfs.IsShortage(err) && f == nil:
		j.mu.noRoom = true
		if len(j.mu.files) == 0 {
			return false, fmt.Errorf("%w: %d bytes are needed: %w", ErrNoSpace, j.o.FileBytes, err)
		}
		j.o.Logger.Warn("the commit journal does not grow: the disk is full", zap.Error(err))
		return false, nil
	default:
		// Also a disk that has no room to overwrite what is there: a file left with its old records,
		// while those behind it are used again, would look like a gap.
		return false, j.failLocked(err)
	}
}

// freeSlotLocked returns the lowest number that no file has.
func (j *Journal) freeSlotLocked() uint32 {
	taken := map[uint32]bool{}
	for _, f := range j.mu.files {
		taken[f.slot] = true
	}
	slot := uint32(0)
	for taken[slot] {
		slot++
	}
	return slot
}

func (j *Journal) forgetLocked(f *file) {
	for i, other := range j.mu.files {
		if other == f {
			j.mu.files = append(j.mu.files[:i], j.mu.files[i+1:]...)
			return
		}
	}
}

// prepare begins a new use of f, or of a new file if f is nil. A file of another size than the
// options now say, or beyond their number, is removed; then it returns nil.
func (j *Journal) prepare(f *file, h header, slot uint32, extra bool) (*file, error) {
	if f == nil {
		return j.makeFile(h, slot)
	}
	if f.header.fileBytes != h.fileBytes || extra {
		if err := f.log.Close(); err != nil {
			return nil, err
		}
		if err := j.o.FS.Remove(f.path); err != nil {
			return nil, err
		}
		return nil, j.o.FS.SyncDir(j.o.Dir)
	}
	h.slot = f.slot
	if err := f.begin(h); err != nil {
		return f, err
	}
	j.counters.recycled.Add(1)
	return f, nil
}

// makeFile makes a file of zeros with a header, and its name durable. A crash before it returns
// leaves a file that the next Open removes, or one that is as good as any.
func (j *Journal) makeFile(h header, slot uint32) (*file, error) {
	fs := j.o.FS
	f := &file{path: fs.PathJoin(j.o.Dir, fileName(slot)), slot: slot}
	var err error
	if f.log, err = fs.OpenLog(f.path); err != nil {
		return nil, err
	}
	h.slot = slot
	if err = f.fill(h.fileBytes); err == nil {
		err = f.begin(h)
	}
	if err == nil {
		err = fs.SyncDir(j.o.Dir)
	}
	if err == nil {
		j.counters.made.Add(1)
		return f, nil
	}
	err = errors.Join(err, f.log.Close())
	if vfs.IsShortage(err) {
		// Half a file is of no use to anybody else either.
		err = errors.Join(err, fs.Remove(f.path))
	}
	return nil, err
}
