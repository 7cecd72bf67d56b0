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
		if len(j.mu.ready) > 0 || j.mu.making || !j.canPrepareLocked() {
			j.mu.changed.Wait()
			continue
		}
		// It releases mu meanwhile, so a Close may have come: what it waits for is asked again.
		if _, err := j.prepareLocked(); err != nil && !errors.Is(err, ErrNoSpace) {
			return // A commit finds the failure in failed.
		}
	}
}

// canPrepareLocked reports whether there is a file to begin, or room to make one.
func (j *Journal) canPrepareLocked() bool {
	return !j.mu.noRoom && (len(j.mu.free) > 0 || len(j.mu.files) < j.o.FilesMax)
}

// prepareLocked begins a free file anew, or makes one. It releases mu meanwhile, and reports
// whether there is one more that is ready. Want of space is an error only as long as there is no
// file at all: else noRoom says it.
func (j *Journal) prepareLocked() (bool, error) {
	if !j.canPrepareLocked() || j.mu.making {
		return false, nil
	}
	var f *file
	if len(j.mu.free) > 0 {
		f = j.mu.free[0]
	}
	j.mu.generation++
	h := header{
		generation: j.mu.generation, salt: j.o.Salt(), fileBytes: j.o.FileBytes, atLeast: j.mu.next,
		released: j.mu.released,
	}
	slot := j.freeSlotLocked()
	j.mu.making = true
	j.mu.Unlock()
	made, h, err := j.prepare(f, h, slot)
	j.mu.Lock()
	j.mu.making = false
	defer j.mu.changed.Broadcast()
	switch {
	case err == nil:
		made.use(h)
		if f == nil {
			j.mu.files = append(j.mu.files, made)
		} else {
			j.mu.free = j.mu.free[1:] // What became free meanwhile stands behind it.
		}
		j.mu.ready = append(j.mu.ready, made)
		return true, nil
	case vfs.IsShortage(err) && (f == nil || !vfs.IsNoSpace(err)):
		j.mu.noRoom = true
		if len(j.mu.files) == 0 {
			return false, fmt.Errorf("%w: %d bytes are needed: %w", ErrNoSpace, j.o.FileBytes, err)
		}
		j.o.Logger.Warn("the commit journal cannot begin a file: something has run out",
			zap.Error(err))
		return false, nil
	default:
		// Also a disk that has no room to overwrite what is there: the write that failed may have
		// torn one copy of the header, and the next one could tear the other.
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

// prepare begins a new use of f, or of a new file if f is nil.
func (j *Journal) prepare(f *file, h header, slot uint32) (*file, header, error) {
	if f == nil {
		h.slot = slot
		f, err := j.makeFile(h)
		return f, h, err
	}
	h.slot = f.slot
	if err := f.begin(h); err != nil {
		return nil, h, err
	}
	j.counters.recycled.Add(1)
	return f, h, nil
}

// makeFile makes a file of zeros with a header, and its name durable. A crash before it returns
// leaves a file that the next Open removes, or one that is as good as any.
func (j *Journal) makeFile(h header) (*file, error) {
	fs := j.o.FS
	f := &file{path: fs.PathJoin(j.o.Dir, fileName(h.slot)), slot: h.slot, size: h.fileBytes}
	var err error
	if f.log, err = fs.OpenLog(f.path); err != nil {
		return nil, err
	}
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
