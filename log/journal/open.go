package journal

import (
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"
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
		return nil, fmt.Errorf("open commit journal %s: %w", o.Dir, errors.Join(err, j.closeFiles()))
	}
	return j, nil
}

func (j *Journal) open() error {
	fs := j.o.FS
	if err := fs.MkdirAll(j.o.Dir, dirPerm); err != nil {
		return err
	}
	if err := fs.SyncDir(fs.PathDir(j.o.Dir)); err != nil {
		return err
	}
	used, err := openFiles(&j.o)
	sortByUse(used)
	j.mu.files = used
	if err != nil {
		return err
	}
	for _, f := range used {
		j.mu.generation = max(j.mu.generation, f.header.generation)
		j.mu.next = max(j.mu.next, f.header.atLeast)
	}
	m, marked, err := j.o.loadMark()
	if err != nil {
		return err
	}
	if marked && m.generation >= j.mu.generation {
		j.mu.next, j.mu.generation = m.next, m.generation
		return nil
	}
	s := scan{files: used, visit: j.indexRecord}
	if err := s.run(); err != nil {
		return err
	}
	j.mu.next = max(j.mu.next, s.next)
	return s.redo()
}

// openFiles opens every file that has been used. One that was not made whole is removed: it holds
// nothing.
func openFiles(o *Options) (used []*file, err error) {
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		slot, ok := parseFileName(name)
		if !ok {
			continue
		}
		f := &file{path: o.FS.PathJoin(o.Dir, name), slot: slot}
		if f.log, err = o.FS.OpenLog(f.path); err != nil {
			return used, err
		}
		if ok, err = f.loadHeader(); err == nil && !ok {
			err = dropUnmade(o, f)
		}
		if err != nil {
			return used, errors.Join(err, f.log.Close())
		}
		if ok {
			used = append(used, f)
		}
	}
	return used, nil
}

// dropUnmade removes a file without a header. A crash while it was made leads here, before it had
// a record.
func dropUnmade(o *Options, f *file) error {
	pos, found, err := hasRecords(f)
	if err != nil {
		return err
	}
	if found {
		return f.corrupt(0, "both copies of the header are damaged; there is a record at byte %d", pos)
	}
	o.Logger.Info("removing a file of the commit journal that was not made whole",
		zap.String("file", f.path))
	if err := f.log.Close(); err != nil {
		return err
	}
	return o.FS.Remove(f.path)
}

// indexRecord notes where the entries of a record lie.
func (j *Journal) indexRecord(f *file, h recordHeader, body []byte) error {
	return eachEntry(f, h, body, func(at int, e Entry) error {
		j.mu.index[e.Log] = append(j.mu.index[e.Log],
			ref{file: f, record: uint32(h.position / blockBytes), entry: uint32(at)})
		return nil
	})
}

// Recovered says that everything that Replay had to tell is durable elsewhere, or of no use. The
// files may be used again from now on, and Commit works. With ErrNoSpace there is no room for a
// first file.
func (j *Journal) Recovered() error {
	if err := j.o.removeMark(); err != nil {
		return fmt.Errorf("commit journal %s: %w", j.o.Dir, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.mu.recovered {
		return nil
	}
	j.mu.index = nil
	j.mu.released = j.mu.next - 1
	j.mu.free = append(j.mu.free, j.mu.files...)
	if _, err := j.prepareLocked(); err != nil {
		return err
	}
	j.mu.recovered = true
	if !j.o.Manual {
		// Close stops it and waits for it.
		j.maker.Go(j.makeFiles)
	}
	return nil
}
