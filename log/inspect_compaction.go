package log

import (
	"fmt"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// The names in a log's folder of what compaction and a failed replay leave there.
const (
	CompactionName = compactionName
	AsideName      = asideName
)

// CompactionNote is what a log's compaction file says.
type CompactionNote struct {
	GapsBelow Offset // GapsBelow bounds the offsets that may be missing between batches.
	CleanTo   Offset // CleanTo is the first offset that was not compacted yet.
}

// InspectCompaction reads a log's compaction file.
func InspectCompaction(fsys vfs.FS, path string) (CompactionNote, error) {
	if _, err := fsys.Stat(path); err != nil {
		return CompactionNote{}, err // To a log, no file is a note, too.
	}
	state, known, err := loadCompaction(fsys, fsys.PathDir(path))
	switch {
	case err != nil:
		return CompactionNote{}, err
	case !known:
		return CompactionNote{}, fmt.Errorf("compaction %s: %w: its checksum or content is wrong", path,
			ErrCorrupt)
	}
	return CompactionNote{GapsBelow: state.gapsBelow, CleanTo: state.cleanTo}, nil
}

// IsSwapName says whether a file's name is that of a segment that a compaction was about to put in
// the place of others.
func IsSwapName(name string) bool {
	_, ok := parseSwapName(name)
	return ok
}
