package journal

import (
	"errors"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// Record is a commit record as Inspect finds it.
type Record struct {
	File       string   // File is the path of the file.
	Position   int64    // Position is the byte at which the record begins.
	Bytes      int64    // Bytes is what it takes in the file.
	Generation uint64   // Generation is the file's.
	Sequence   Sequence // Sequence is the record's.
	Entries    []Entry  // Entries are valid until the function returns.
}

// Inspect passes every intact record of a journal on, oldest first, and changes nothing. Damage is
// a *CorruptError. A server that is running may recycle a file under it: then records are missing,
// or seem damaged.
func Inspect(fs vfs.FS, dir string, fn func(Record) error) (err error) {
	o := Options{FS: fs, Dir: dir}
	o.EnsureDefaults()
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	m, marked, err := o.loadMark()
	if err != nil {
		return err
	}
	s := scan{visit: func(f *file, h recordHeader, body []byte) error {
		r := Record{
			File: f.path, Position: h.position, Bytes: recordBytes(h.bodyBytes),
			Generation: h.generation, Sequence: h.sequence,
		}
		err := eachEntry(f, h, body, func(_ int, e Entry) error {
			r.Entries = append(r.Entries, e)
			return nil
		})
		if err != nil {
			return err
		}
		return fn(r)
	}}
	defer func() {
		for _, f := range s.files {
			err = errors.Join(err, f.log.Close())
		}
	}()
	for _, name := range names {
		slot, ok := parseFileName(name)
		if !ok {
			continue
		}
		f := &file{path: fs.PathJoin(dir, name), slot: slot}
		raw, err := fs.Open(f.path)
		if err != nil {
			return err
		}
		f.log = readOnly{raw}
		whole, err := f.loadHeader()
		if err != nil {
			return errors.Join(err, raw.Close())
		}
		if !whole {
			if err := errors.Join(f.checkUnmade(), raw.Close()); err != nil {
				return err
			}
			continue
		}
		s.files = append(s.files, f)
		marked = marked && m.generation >= f.header.generation && m.next >= f.header.atLeast
	}
	if marked {
		s.clean, s.released = true, m.next-1
	}
	return s.run()
}
