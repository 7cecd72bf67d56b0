package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// The names in a metadata folder.
const (
	SnapshotName = snapshotFile // SnapshotName is the file with the state.
	LogName      = "log"        // LogName is the folder of the command log.
)

// InspectSnapshot reads a snapshot and returns it as it is written, in JSON, and the offset of the
// first command that it does not hold.
func InspectSnapshot(fsys vfs.FS, path string) (text []byte, applied batch.Offset, err error) {
	data, err := fsys.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	snap, err := decodeSnapshot(data)
	if err != nil {
		return nil, 0, fmt.Errorf("metadata snapshot %s: %w", path, err)
	}
	text, _, _ = bytes.Cut(data, []byte("\n"))
	return text, snap.Applied, nil
}

// InspectCommands calls fn for each command in a batch of a command log, with its offset and as it
// is written, in JSON.
func InspectCommands(b batch.Batch, fn func(o batch.Offset, text []byte) error) error {
	r, err := batch.NewReader(b, maxCommandBytes)
	if err != nil {
		return fmt.Errorf("%w: batch at offset %d: %w", ErrCorruptCommand, b.BaseOffset(), err)
	}
	defer r.Close()
	for {
		rec, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if _, err := decodeCommand(rec.Value); err != nil {
			return fmt.Errorf("command at offset %d: %w", b.BaseOffset(), err)
		}
		if err := fn(b.BaseOffset()+batch.Offset(rec.OffsetDelta), rec.Value); err != nil {
			return err
		}
	}
}

// Inspect reads the state in a metadata folder. It writes nothing and needs no lock; commands that
// a server is just writing may be missing.
func Inspect(fsys vfs.FS, dir string) (*Image, error) {
	s := &Store{o: StoreOptions{FS: fsys, Dir: dir}}
	image, applied, err := s.readSnapshot()
	if err != nil {
		return nil, err
	}
	folder := fsys.PathJoin(dir, LogName)
	names, err := fsys.List(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return image, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		if !log.IsSegmentName(name) {
			continue
		}
		path := fsys.PathJoin(folder, name)
		_, err := log.InspectSegment(path, log.SegmentInspection{
			FS: fsys, OnBatch: func(b log.BatchAt) error {
				return eachCommand(b.Batch, func(o batch.Offset, c Command) {
					if o >= applied {
						image = after(image, c)
					}
				})
			},
		})
		if err != nil {
			return nil, fmt.Errorf("metadata commands %s: %w", path, err)
		}
	}
	return image, nil
}

// after returns the image after a command; a refused one was refused then, too.
func after(image *Image, c Command) *Image {
	next, _, err := Apply(image, c)
	if err != nil {
		return image
	}
	return next
}
