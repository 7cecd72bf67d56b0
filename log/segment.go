package log

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// The endings of a segment's three files.
const (
	logSuffix   = ".log"
	indexSuffix = ".index"
	timesSuffix = ".timeindex"

	baseDigits = 20 // digits of the base offset in a file name, as in Kafka
)

// segment is one file of batches and its two index tables. All segments but the last of a log
// are sealed: their bytes never change.
type segment struct {
	fs   vfs.FS
	path string // of the log file
	base Offset // first offset

	// gapsBelow bounds the offsets that compaction may have taken from between the batches; set
	// before others see the segment.
	gapsBelow Offset

	refs atomic.Int32 // 1 for the log and 1 for each reader; at 0 the file is closed
	size atomic.Int64 // bytes of whole batches; stored under Log.mu
	end  atomic.Int64 // first offset after a sealed segment; noOffset while it is active

	maxTime  atomic.Int64 // greatest timestamp, or noTime; stored under Log.mu while active
	maxKnown atomic.Bool  // whether maxTime has been computed

	index *table // base offset of a batch -> its position
	times *table // greatest timestamp before a batch -> its offset minus base

	hint   atomic.Pointer[place]    // where the last read ended; checked before use
	window atomic.Pointer[[]*chunk] // bytes in memory, by position; nil if there are none
	repair sync.Mutex               // one rebuild of the tables at a time

	// open is the file: opened when it is used, and closed when it was not for a while, so that
	// thousands of old segments cost no handle. See Log.CloseUnused.
	open struct {
		sync.Mutex
		file    vfs.LogFile
		used    bool // since Log.CloseUnused has asked the last time
		removed bool // the name is gone: opening would make an empty file
		closed  bool // the log is, likewise: its folder may be removed
	}

	// tail is owned by Log.mu, and but for dirty only meaningful while the segment is active.
	tail struct {
		firstTime UnixMs // greatest timestamp of the first batch, or noTime
		indexed   int64  // position of the newest index entry
		timesKey  UnixMs // greatest timestamp in the time table, or noTime
		dirty     bool   // whether it was written since the last flush took the dirty list
		longer    bool   // whether the file has zeros behind its last batch
		chunk     *chunk // takes the next append; nil when it is sealed or there is none
		reserved  int64  // position up to which the file has space for certain
		step      int64  // how much was reserved the last time
	}
}

// place is a batch boundary in a segment.
type place struct {
	offset Offset
	pos    int64
}

const (
	noOffset Offset = batch.NoOffset
	noTime   UnixMs = batch.NoTimestamp
)

// segmentPath returns the path of a segment's log file.
func segmentPath(fs vfs.FS, dir string, base Offset) string {
	return fs.PathJoin(dir, fmt.Sprintf("%0*d%s", baseDigits, base, logSuffix))
}

// newSegment returns the segment whose log file is, or will be, at that base.
func newSegment(fs vfs.FS, dir string, base Offset) *segment {
	path := segmentPath(fs, dir, base)
	stem := path[:len(path)-len(logSuffix)]
	s := &segment{fs: fs, path: path, base: base}
	s.index = newTable(fs, stem+indexSuffix, offsetTable, base)
	s.times = newTable(fs, stem+timesSuffix, timeTable, base)
	s.refs.Store(1)
	s.end.Store(int64(noOffset))
	s.maxTime.Store(int64(noTime))
	s.tail.firstTime, s.tail.timesKey = noTime, noTime
	return s
}

// acquire pins the files for a reader. It fails when the log has let go of the segment.
func (s *segment) acquire() bool {
	for {
		n := s.refs.Load()
		if n <= 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release undoes acquire. The last one closes the file; a deleted file's bytes go with it.
func (s *segment) release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	s.dropChunks()
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.file != nil {
		// Nothing depends on the close: what matters was synced.
		_ = s.open.file.Close()
		s.open.file = nil
	}
}

// file returns the open log file. The caller holds a reference.
func (s *segment) file() (vfs.LogFile, error) {
	s.open.Lock()
	defer s.open.Unlock()
	if s.open.file == nil {
		switch { // OpenLog would make the file anew
		case s.open.removed:
			return nil, errRemoved(s.path)
		case s.open.closed:
			return nil, fmt.Errorf("open segment %s: %w", s.path, ErrClosed)
		}
		f, err := s.fs.OpenLog(s.path)
		if err != nil {
			return nil, fmt.Errorf("open segment %s: %w", s.path, err)
		}
		s.open.file = f
	}
	s.open.used = true
	return s.open.file, nil
}

// corrupt returns the error for damage at that byte of the log file.
func (s *segment) corrupt(pos int64, err error) error {
	return &CorruptError{File: s.path, Position: pos, Err: err}
}

// sparse says that compaction may have left gaps between the batches, and batches without records.
func (s *segment) sparse() bool { return s.base < s.gapsBelow }

// checkNext makes sure that a batch may come where an offset is expected: it begins there or, where
// compaction has been, above it and within the segment. The last batch of a sealed segment always
// ends with it.
func (s *segment) checkNext(b batch.Batch, want Offset) error {
	base, end := b.BaseOffset(), Offset(s.end.Load())
	switch {
	case base == want:
		return nil
	case base < want || base >= s.gapsBelow:
		return fmt.Errorf("%w: base offset is %d, expected %d", batch.ErrCorrupt, base, want)
	case end != noOffset && b.LastOffset() >= end:
		return fmt.Errorf("%w: offsets %d to %d reach beyond the segment, which ends at %d",
			batch.ErrCorrupt, base, b.LastOffset(), end)
	}
	return nil
}

// letGo releases the log's own reference for good: who has pinned the segment keeps the file if it
// is open, and cannot open it any more.
func (s *segment) letGo() {
	s.open.Lock()
	s.open.closed = true
	s.open.Unlock()
	s.release()
}

// removeFiles deletes the three files. Readers that have it pinned keep reading.
func (s *segment) removeFiles() error {
	s.open.Lock()
	s.open.removed = true
	s.open.Unlock()
	s.index.removed.Store(true)
	s.times.removed.Store(true)
	// The log file goes last: while it is there, a restart finds the other two and removes them.
	for _, path := range []string{s.index.path, s.times.path, s.path} {
		if err := s.fs.Remove(path); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove %s: %w", path, err)
		}
	}
	return nil
}

// errRemoved tells a reader that it came too late: retention or a truncation was faster.
func errRemoved(path string) error {
	return fmt.Errorf("%s has been deleted: %w", path, ErrOffsetOutOfRange)
}

// observeLocked accounts for a batch that lies at pos, and gives it index entries when it is time.
// It runs before size covers the batch. The caller holds Log.mu, or is recovery.
func (s *segment) observeLocked(h batch.Batch, pos, intervalBytes int64) error {
	if pos == 0 {
		s.tail.firstTime = max(h.MaxTimestamp(), noTime)
	}
	if pos-s.tail.indexed >= intervalBytes {
		if err := s.addEntriesLocked(h.BaseOffset(), pos); err != nil {
			return err
		}
	}
	if t := h.MaxTimestamp(); t > UnixMs(s.maxTime.Load()) {
		s.maxTime.Store(int64(t))
	}
	return nil
}

// addEntriesLocked adds the entries of a batch boundary to both tables.
func (s *segment) addEntriesLocked(base Offset, pos int64) error {
	if err := s.index.add(entry{key: int64(base), value: uint32(pos)}); err != nil {
		return err
	}
	s.tail.indexed = pos
	t := UnixMs(s.maxTime.Load())
	if t <= s.tail.timesKey {
		return nil
	}
	s.tail.timesKey = t
	return s.times.add(entry{key: int64(t), value: uint32(base - s.base)})
}

// sealLocked ends the segment at that offset. The last entry of its time table then names the
// end, which proves later that no entry is missing.
func (s *segment) sealLocked(end Offset) error {
	err := s.times.add(entry{key: s.maxTime.Load(), value: uint32(end - s.base)})
	if err != nil {
		return err
	}
	s.maxKnown.Store(true)
	s.end.Store(int64(end))
	return nil
}
