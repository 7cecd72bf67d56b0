package journal

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// dirPerm is the mode of the journal's folder, as for those of the logs.
const dirPerm = 0o750

// Open opens the journal, makes its folder when missing, and finds what a crash has left in it:
// see Logs and Replay. After Recovered it takes commits. Damage is a *CorruptError and changes
// nothing on disk.
func Open(o Options) (*Journal, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	j := &Journal{o: o}
	j.mu.changed = sync.NewCond(&j.mu)
	j.mu.wanted = make(chan struct{}, 1)
	j.mu.index = map[string][]ref{}
	j.mu.next = 1
	if err := j.open(); err != nil {
		err = errors.Join(err, closeAll(j.mu.files))
		return nil, fmt.Errorf("open commit journal %s: %w", o.Dir, err)
	}
	return j, nil
}

func (j *Journal) open() (err error) {
	fs := j.o.FS
	if err := fs.MkdirAll(j.o.Dir, dirPerm); err != nil {
		return err
	}
	if err := fs.SyncDir(fs.PathDir(j.o.Dir)); err != nil {
		return err
	}
	used, unmade, err := openFiles(&j.o)
	sortByUse(used)
	j.mu.files = used
	defer func() { err = errors.Join(err, closeAll(unmade)) }()
	if err != nil {
		return err
	}
	// A process that was killed may have made a file and not synced its name.
	if err := fs.SyncDir(j.o.Dir); err != nil {
		return err
	}
	for _, f := range used {
		if f.uneven {
			// A process that was killed while it began the file anew may have synced neither copy. A
			// power cut could still bring the old use back, after a newer file was used again: then
			// the sequences would have a gap.
			if err := f.begin(f.header); err != nil {
				return err
			}
			f.uneven = false
		}
		j.mu.generation = max(j.mu.generation, f.header.generation)
		j.mu.next = max(j.mu.next, f.header.atLeast)
	}
	m, marked, err := j.o.loadMark()
	if err != nil {
		return err
	}
	if marked && m.generation >= j.mu.generation && m.next >= j.mu.next {
		j.mu.next, j.mu.generation, j.marked = m.next, m.generation, true
	} else {
		s := scan{files: used, visit: j.indexRecord}
		if err := s.run(); err != nil {
			return err
		}
		j.mu.next = max(j.mu.next, s.next)
		if err := s.redo(); err != nil {
			return err
		}
	}
	for _, f := range unmade {
		j.o.Logger.Info("removing a file of the commit journal that was not made whole",
			zap.String("file", f.path))
		if err := fs.Remove(f.path); err != nil {
			return err
		}
	}
	return nil
}

// openFiles opens every file that has been used, and those that were not made whole: they hold
// nothing.
func openFiles(o *Options) (used, unmade []*file, err error) {
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		slot, ok := parseFileName(name)
		if !ok {
			continue
		}
		f := &file{path: o.FS.PathJoin(o.Dir, name), slot: slot}
		if f.log, err = o.FS.OpenLog(f.path); err != nil {
			return used, unmade, err
		}
		if ok, err = f.loadHeader(); err == nil && !ok {
			err = f.checkUnmade()
		}
		if ok {
			used = append(used, f)
		} else {
			unmade = append(unmade, f)
		}
		if err != nil {
			return used, unmade, err
		}
	}
	return used, unmade, nil
}

// checkUnmade makes sure that a file without a header holds nothing. A crash while it was made
// leads here, before it had a record.
func (f *file) checkUnmade() error {
	pos, found, err := hasRecords(f)
	if found {
		return f.corrupt(0, "both copies of the header are damaged; there is a record at byte %d", pos)
	}
	return err
}

func closeAll(files []*file) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.log.Close())
	}
	return errors.Join(errs...)
}

// indexRecord notes where the entries of a record lie.
func (j *Journal) indexRecord(f *file, h recordHeader, body []byte) error {
	if h.entries == 0 {
		j.mu.confirmed = h.sequence
	}
	return eachEntry(f, h, body, func(at int, e Entry) error {
		j.mu.index[e.Log] = append(j.mu.index[e.Log],
			ref{file: f, record: uint32(h.position / blockBytes), entry: uint32(at)})
		return nil
	})
}

// Recovered says that everything that Replay had to tell is durable elsewhere, or of no use. The
// files may be used again from now on, and Commit works. With ErrNoSpace there is no room for a
// first file, and it may be called again; every other error is final.
func (j *Journal) Recovered() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.closed {
		return fmt.Errorf("%s: %w", j.o.Dir, ErrClosed)
	}
	if j.mu.failed != nil {
		return j.mu.failed
	}
	if j.mu.recovered {
		return nil
	}
	j.mu.index = nil
	j.mu.released = j.mu.next - 1
	if err := j.prune(); err != nil {
		if vfs.IsShortage(err) {
			return fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
		return j.failLocked(err)
	}
	j.mu.noRoom = false
	j.mu.free = slices.Clone(j.mu.files)
	if made, err := j.prepareLocked(); err != nil {
		return err
	} else if !made {
		return fmt.Errorf("commit journal %s: %w: no file can be begun", j.o.Dir, ErrNoSpace)
	}
	// The mark goes when a header says more than it does, and before there is a record that it would
	// hide.
	if err := j.o.removeMark(); err != nil {
		return j.failLocked(err)
	}
	j.mu.recovered = true
	if !j.o.Manual {
		// Close stops it and waits for it.
		j.maker.Go(j.makeFiles)
	}
	return nil
}

// prune removes the files of another size than the options say, and those beyond their number,
// oldest first. Everything is released, and a mark says so before one goes: else records would seem
// lost, and with the last file the sequence that comes next would be. Nobody else is about yet.
func (j *Journal) prune() error {
	spare := len(j.mu.files) - j.o.FilesMax
	unfit := func(i int) bool { return i < spare || !j.mu.files[i].usable(&j.o) }
	for i := 0; ; i++ {
		if i == len(j.mu.files) {
			return nil
		}
		if unfit(i) {
			break
		}
	}
	if !j.marked {
		if err := j.o.storeMark(mark{next: j.mu.next, generation: j.mu.generation}); err != nil {
			return err
		}
		j.marked = true
	}
	for i := 0; i < len(j.mu.files); {
		if !unfit(i) {
			i++
			continue
		}
		f := j.mu.files[i]
		j.mu.files = slices.Delete(j.mu.files, i, i+1)
		spare--
		if err := errors.Join(f.log.Close(), j.o.FS.Remove(f.path)); err != nil {
			return err
		}
	}
	return j.o.FS.SyncDir(j.o.Dir)
}
