package log

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// IndexEntry is one entry of an index file as it lies there.
type IndexEntry struct {
	Position int64  // Position is its first byte in the file.
	Key      int64  // Key is a batch's base offset, or the greatest timestamp before the batch.
	Value    uint32 // Value is the batch's position, or its offset minus the segment's base.
	Err      error  // Err says that the entry is damaged; nil if it is not.
}

// IsIndexName says whether a file's name is that of an index or a time index.
func IsIndexName(name string) bool {
	stem, ok := strings.CutSuffix(name, indexSuffix)
	if !ok {
		stem, ok = strings.CutSuffix(name, timesSuffix)
	}
	if !ok {
		return false
	}
	_, ok = parseSegmentName(stem + logSuffix)
	return ok
}

// IsSegmentName says whether a file's name is that of a segment.
func IsSegmentName(name string) bool {
	_, ok := parseSegmentName(name)
	return ok
}

// InspectIndex calls fn for every entry of an index or time index file. Its last entry may be cut
// short, which the entry then says.
func InspectIndex(fs vfs.FS, path string, fn func(e IndexEntry) error) error {
	name := fs.PathBase(path)
	if !IsIndexName(name) {
		return fmt.Errorf("%s is no index: its name is not %d digits and %s or %s", path, baseDigits,
			indexSuffix, timesSuffix)
	}
	base, _ := parseSegmentName(name[:baseDigits] + logSuffix)
	kind := offsetTable
	if strings.HasSuffix(name, timesSuffix) {
		kind = timeTable
	}
	p, err := fs.ReadFile(path)
	if err != nil {
		return err
	}
	return newTable(fs, path, kind, base).inspect(p, fn)
}

// inspect decodes all entries of the file's bytes.
func (t *table) inspect(p []byte, fn func(e IndexEntry) error) error {
	var before entry
	before.key = int64(noTime) - 1
	for i := 0; i*entryBytes < len(p); i++ {
		at := i * entryBytes
		found := IndexEntry{Position: int64(at)}
		if at+entryBytes > len(p) {
			found.Err = fmt.Errorf("the file ends within entry %d", i)
			return fn(found)
		}
		q := p[at : at+entryBytes]
		found.Key, found.Value = int64(binary.BigEndian.Uint64(q)), binary.BigEndian.Uint32(q[8:])
		switch {
		case binary.BigEndian.Uint32(q[12:]) != t.sum(i, q[:12]):
			found.Err = fmt.Errorf("entry %d fails its checksum", i)
		case found.Key < before.key || found.Value < before.value:
			found.Err = fmt.Errorf("entry %d says %d and %d, less than the one before: %d and %d", i,
				found.Key, found.Value, before.key, before.value)
		default:
			before = entry{key: found.Key, value: found.Value}
		}
		if err := fn(found); err != nil {
			return err
		}
	}
	return nil
}
