package replication

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// partitionDepthMax is how far below a data directory's topics a file is: in a staging log.
const partitionDepthMax = 3

// IsDeleted says whether a folder of a partition, or a file in it, is gone, or may be half gone,
// because its topic was deleted: a large one takes a while to remove.
func IsDeleted(fsys vfs.FS, path string) bool {
	for range partitionDepthMax {
		if fsys.PathBase(fsys.PathDir(path)) == topicsDir {
			return isFolderDeleted(fsys, path)
		}
		path = fsys.PathDir(path)
	}
	return false
}

func isFolderDeleted(fsys vfs.FS, dir string) bool {
	// The metadata first: it names a deleted topic until nothing of it is left.
	known, removed, err := namedFolders(fsys, fsys.PathDir(fsys.PathDir(dir)))
	if err != nil {
		return false
	}
	folder := fsys.PathBase(dir)
	if removed[folder] {
		return true
	}
	_, err = fsys.Stat(dir)
	return errors.Is(err, fs.ErrNotExist) && known[folder] == ""
}

// namedFolders returns the topic and partition of each folder that the metadata of a data directory
// names now, and the folders that are being removed: of topics that are deleted.
func namedFolders(fsys vfs.FS, dataDir string) (
	known map[string]string, removed map[string]bool, err error,
) {
	known, removed = map[string]string{}, map[string]bool{}
	image, err := metadata.Inspect(fsys, fsys.PathJoin(dataDir, metadataDir))
	if err != nil {
		return known, removed, err
	}
	for _, t := range image.Deleted() {
		for i := range t.Partitions {
			removed[fmt.Sprintf("%s-%d", t.ID, i)] = true
		}
	}
	for _, t := range image.Topics() {
		for i := range t.Partitions {
			known[fmt.Sprintf("%s-%d", t.ID, i)] = fmt.Sprintf("%s-%d", t.Name, i)
		}
	}
	return known, removed, nil
}

// findingsHeldMax bounds the findings of a folder that are held back at a time.
const findingsHeldMax = 256

// folderFindings holds what was found in a folder until it is known that a deletion of the topic is
// not the reason.
type folderFindings struct {
	v      *dirVerification
	dir    string
	held   []log.Finding
	void   bool // the topic was deleted meanwhile
	damage int  // of those that were reported, all but remarks
}

func (ff *folderFindings) add(f log.Finding) {
	if ff.void {
		return
	}
	ff.held = append(ff.held, f)
	if len(ff.held) == findingsHeldMax {
		ff.report()
	}
}

// report passes on what is held back, if it means something.
func (ff *folderFindings) report() {
	if len(ff.held) > 0 && IsDeleted(ff.v.o.FS, ff.dir) {
		ff.void = true
	}
	for _, f := range ff.held {
		if ff.void {
			break
		}
		if f.Grade != log.GradeRemark {
			ff.damage++
		}
		ff.v.report(f)
	}
	ff.held = ff.held[:0]
}
