package crash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// The suffixes of a segment's files, and the kind byte of a time index, from FORMAT.md.
const (
	segmentSuffix = ".log"
	timesSuffix   = ".timeindex"

	timesKind       = 2
	tableEntryBytes = 16
)

// readFile returns a file's bytes.
func readFile(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.OpenLog(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	n, err := f.Size()
	if err != nil {
		return nil, err
	}
	p := make([]byte, n)
	if _, err := f.ReadAt(p, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return p, nil
}

// segmentBases returns the base offsets of the segments in a folder, in order.
func segmentBases(fs vfs.FS, dir string) ([]int64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, err
	}
	var bases []int64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, segmentSuffix)
		if base, err := strconv.ParseInt(digits, 10, 64); ok && err == nil && len(digits) == 20 {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func segmentName(fs vfs.FS, dir string, base int64, suffix string) string {
	return fs.PathJoin(dir, fmt.Sprintf("%020d%s", base, suffix))
}

// readSegments reads the files of an idle log: all batches that lie in them, which must be dense, and
// their time indexes, whose entries must be true.
func readSegments(fs vfs.FS, dir string) ([]stored, error) {
	bases, err := segmentBases(fs, dir)
	if err != nil {
		return nil, err
	}
	var all []stored
	for i, base := range bases {
		name := segmentName(fs, dir, base, segmentSuffix)
		if len(all) > 0 && all[len(all)-1].end != base {
			return nil, fmt.Errorf("%s follows offset %d", name, all[len(all)-1].end)
		}
		p, err := readFile(fs, name)
		if err != nil {
			return nil, err
		}
		batches, err := parseSegment(p, base, i == len(bases)-1)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, batches...)
		if i == len(bases)-1 || len(batches) == 0 {
			continue // its time index may hold more than the log knows of, and be overwritten
		}
		if err := checkTimes(fs, dir, base, batches); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parseSegment returns a segment's batches. A direct write fills its last block with zeros, and a
// crash can keep them also where the next segment has been begun.
func parseSegment(p []byte, base int64, active bool) ([]stored, error) {
	var batches []stored
	next := base
	for pos := int64(0); pos < int64(len(p)); {
		b, err := parse(p[pos:])
		if err != nil {
			return nil, fmt.Errorf("byte %d: %w", pos, err)
		}
		if b == nil {
			if !active && int64(len(p))-pos >= blockBytes {
				return nil, fmt.Errorf("a block of zeros from byte %d of a sealed segment", pos)
			}
			break
		}
		if b.base != next {
			return nil, fmt.Errorf("byte %d: offset %d, expected %d", pos, b.base, next)
		}
		batches = append(batches, *b)
		next, pos = b.end, pos+int64(len(b.raw))
	}
	return batches, nil
}

// checkTimes makes sure that the time index says nothing false: a lookup by time believes it. An entry
// of the offset index is compared with the batch that it names before it is believed, so one that a
// truncation left behind does no harm.
func checkTimes(fs vfs.FS, dir string, base int64, batches []stored) error {
	name := segmentName(fs, dir, base, timesSuffix)
	if _, err := fs.Stat(name); err != nil {
		return nil // it is a hint, and can be missing
	}
	p, err := readFile(fs, name)
	if err != nil {
		return err
	}
	count := len(p) / tableEntryBytes
	if count == 0 || endOfEntry(p[(count-1)*tableEntryBytes:], base) != batches[len(batches)-1].end {
		return nil // it does not end with its segment, so it is made anew before it is believed
	}
	for n := range count {
		e := p[n*tableEntryBytes : (n+1)*tableEntryBytes]
		if err := checkTimeEntry(e, base, n, batches); err != nil {
			return fmt.Errorf("%s, entry %d: %w", name, n, err)
		}
	}
	return nil
}

// endOfEntry returns the offset that an entry of a time index speaks of.
func endOfEntry(e []byte, base int64) int64 { return base + int64(binary.BigEndian.Uint32(e[8:])) }

func checkTimeEntry(e []byte, base int64, n int, batches []stored) error {
	be := binary.BigEndian
	sum := []byte{timesKind}
	sum = be.AppendUint64(sum, uint64(base))
	sum = be.AppendUint32(sum, uint32(n))
	sum = append(sum, e[:12]...)
	if be.Uint32(e[12:]) != crc32.Checksum(sum, castagnoli) {
		return nil // torn: whoever meets it rebuilds the table
	}
	key, at := int64(be.Uint64(e)), endOfEntry(e, base)
	greatest, next := int64(-1), base
	for _, b := range batches {
		if b.base >= at {
			break
		}
		greatest, next = max(greatest, b.maxTime), b.end
	}
	if next != at || key != greatest {
		return fmt.Errorf("greatest time below offset %d is %d; it is %d, and a batch ends at %d", at, key,
			greatest, next)
	}
	return nil
}
