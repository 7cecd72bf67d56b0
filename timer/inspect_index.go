package timer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// InspectIndex checks the checksums in all files of an index and calls onDamage for each file in
// which one is wrong. It writes nothing and does not open the database. Files that a server deletes
// meanwhile are passed over.
func InspectIndex(fsys vfs.FS, dir string, onDamage func(file string, err error)) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		path := fsys.PathJoin(dir, name)
		switch {
		case strings.HasSuffix(name, ".sst"):
			err = inspectTable(fsys, path)
		case strings.HasPrefix(name, "MANIFEST-"):
			err = inspectManifest(fsys, path)
		case name == rebuildNote:
			err = errors.New("a read met damage; the next start makes the index anew")
		default:
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			onDamage(path, fmt.Errorf("%w; the index is made anew from the logs when it cannot be read",
				err))
		}
	}
	return nil
}

// inspectTable reads every block of one table.
func inspectTable(fsys vfs.FS, path string) (err error) {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	var o pebble.Options
	o.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.ValidateBlockChecksums()
}

// inspectManifest reads every record of the list of tables. Its last one may be cut short.
func inspectManifest(fsys vfs.FS, path string) error {
	f, err := fsys.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := record.NewReader(f, 0)
	for {
		one, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}
