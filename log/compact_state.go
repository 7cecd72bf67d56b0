package log

import (
	"bytes"
	"fmt"
	"hash/crc32"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	compactionName   = "compaction"
	compactionFormat = "chronosdb compaction 1\ngaps-below %d\nclean-to %d\n"
)

// compactionState is what is durable of a log's compaction.
type compactionState struct {
	// gapsBelow bounds the offsets that may be missing between batches. It is durable before the
	// first segment with a gap is in its place.
	gapsBelow Offset
	// cleanTo is the first offset that was not compacted yet. It is durable after all that was
	// compacted below it: an older one costs another pass.
	cleanTo Offset
}

// encode returns the file.
func (c compactionState) encode() []byte {
	p := fmt.Appendf(nil, compactionFormat, c.gapsBelow, c.cleanTo)
	return fmt.Appendf(p, "crc32c %08x\n", crc32.Checksum(p, castagnoli))
}

// loadCompaction returns the state in the folder. known is false when there is a file that is not
// to be trusted.
func loadCompaction(fs vfs.FS, dir string) (c compactionState, known bool, err error) {
	p, err := fs.ReadFile(fs.PathJoin(dir, compactionName))
	if isNotExist(err) {
		return c, true, nil
	}
	if err != nil {
		return c, false, refused(err)
	}
	_, err = fmt.Sscanf(string(p), compactionFormat, &c.gapsBelow, &c.cleanTo)
	if err != nil || c.gapsBelow < 0 || c.cleanTo < 0 || !bytes.Equal(p, c.encode()) {
		return compactionState{}, false, nil
	}
	return c, true, nil
}

// storeCompactionOwned makes a state durable. The caller owns swapping.
func (l *Log) storeCompactionOwned(c compactionState) error {
	if c == l.swapping.state && l.swapping.stored {
		return nil
	}
	err := l.o.FS.WriteFileAtomic(l.o.FS.PathJoin(l.dir, compactionName), c.encode())
	if vfs.IsShortage(err) {
		return fmt.Errorf("store how far log %s is compacted: %w: %w", l.dir, ErrNoSpace, err)
	}
	if err != nil {
		return l.fail(fmt.Errorf("store how far log %s is compacted: %w", l.dir, err))
	}
	l.swapping.state, l.swapping.stored = c, true
	l.cleanTo.Store(int64(c.cleanTo))
	return nil
}

// CleanTo returns the first offset that compaction has not been at yet. Below it, and at or above
// the start, no key has a record that a later one below it has replaced.
func (l *Log) CleanTo() Offset { return max(Offset(l.cleanTo.Load()), l.Start()) }
