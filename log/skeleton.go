package log

import (
	"errors"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

var errTodo = errors.New("log: not written yet")

// Log is a partition's log.
type Log struct{}

// Open opens the log in dir, which it makes when missing, and recovers it.
func Open(dir string, o Options) (*Log, error) { return nil, errTodo }

// Append writes whole batches and returns the first offset and the new end.
func (l *Log) Append(p []byte, epoch LeaderEpoch) (first, end Offset, err error) {
	return 0, 0, errTodo
}

// Flush makes everything appended before the call durable.
func (l *Log) Flush() (Offset, error) { return 0, errTodo }

// Start is the first offset that can be read.
func (l *Log) Start() Offset { return 0 }

// End is the next offset to be assigned.
func (l *Log) End() Offset { return 0 }

// FlushedEnd is the first offset that is not durable yet.
func (l *Log) FlushedEnd() Offset { return 0 }

// RecoveryPoint is where the next Open begins to read.
func (l *Log) RecoveryPoint() Offset { return 0 }

// TailBytes is how many bytes the next Open would read after a crash.
func (l *Log) TailBytes() int64 { return 0 }

// Checkpoint is CheckpointTo(End()).
func (l *Log) Checkpoint() error { return errTodo }

// CheckpointTo flushes and moves the recovery point up to the batch boundary at or below upTo.
func (l *Log) CheckpointTo(upTo Offset) error { return errTodo }

// Read appends whole batches to dst.
func (l *Log) Read(dst []byte, r ReadRequest) ([]byte, error) { return dst, errTodo }

// ReadWithin appends n bytes at byte pos of the batch whose base offset is base.
func (l *Log) ReadWithin(dst []byte, base Offset, pos, n int) ([]byte, error) {
	return dst, errTodo
}

// Batches calls fn for every batch that holds an offset in [from, to).
func (l *Log) Batches(from, to Offset, fn func(b batch.Batch) error) error { return errTodo }

// Headers calls fn with the 61 header bytes of every batch that holds an offset in [from, to).
func (l *Log) Headers(from, to Offset, fn func(h batch.Batch, bodyLen int) error) error {
	return errTodo
}

// OffsetForTime finds the first record at or after ts, below bound.
func (l *Log) OffsetForTime(ts UnixMs, bound Offset) (Offset, UnixMs, bool, error) {
	return 0, 0, false, errTodo
}

// MaxTimestamp returns the first record below bound with the greatest timestamp.
func (l *Log) MaxTimestamp(bound Offset) (Offset, UnixMs, bool, error) {
	return 0, 0, false, errTodo
}

// EpochEnd answers OffsetForLeaderEpoch.
func (l *Log) EpochEnd(e LeaderEpoch) (LeaderEpoch, Offset) { return 0, 0 }

// LastEpoch is the newest leader epoch that the log has seen, or -1.
func (l *Log) LastEpoch() LeaderEpoch { return 0 }

// SetEpoch makes the start of a new leader epoch durable before its first append.
func (l *Log) SetEpoch(e LeaderEpoch) error { return errTodo }

// RetentionPoint returns the start that the policy asks for.
func (l *Log) RetentionPoint(p RetentionPolicy, now UnixMs, bound Offset) Offset { return 0 }

// AdvanceStart makes the new start durable and then deletes whole segments below it.
func (l *Log) AdvanceStart(to Offset) error { return errTodo }

// Truncate removes every batch that holds an offset at or above to.
func (l *Log) Truncate(to Offset) error { return errTodo }

// SetTopicLimits changes the limits of a segment; 0 keeps one.
func (l *Log) SetTopicLimits(segmentBytes, segmentMs int64) {}

// Size is the bytes of all segments.
func (l *Log) Size() int64 { return 0 }

// Segments is the number of segments.
func (l *Log) Segments() int { return 0 }

// Roll seals the active segment.
func (l *Log) Roll() error { return errTodo }

// Close checkpoints and closes.
func (l *Log) Close() error { return errTodo }

// Stats returns counters.
func (l *Log) Stats() Stats { return Stats{} }

// Stats are a log's counters since Open.
type Stats struct {
	Appends, AppendedBytes, Flushes, Fsyncs, ReadBytes, RecoveredBatches, CutBytes int64
}

// Mode says when an appended batch is made durable.
type Mode int8

// The modes.
const (
	Batch Mode = iota
	EveryEvent
	Periodic
)

// ParseMode returns the mode of that name.
func ParseMode(name string) (Mode, error) { return 0, errTodo }

// String returns the name.
func (m Mode) String() string { return "" }

// CommitterOptions configures a Committer.
type CommitterOptions struct {
	Mode      Mode
	Interval  time.Duration
	Clock     clock.Clock
	Manual    bool
	OnFailure func(error)
}

// Committer is the group commit of a data directory.
type Committer struct{}

// NewCommitter returns a committer.
func NewCommitter(o CommitterOptions) *Committer { return nil }

// Member is a log in a committer.
type Member struct{}

// Join adds a log.
func (c *Committer) Join(l *Log, onFlushed func(end Offset)) *Member { return nil }

// Dirty asks for a commit.
func (m *Member) Dirty() {}

// Leave removes the log.
func (m *Member) Leave() {}

// CommitOnce commits what is dirty.
func (c *Committer) CommitOnce() (flushed int, err error) { return 0, errTodo }

// Stats returns counters.
func (c *Committer) Stats() CommitterStats { return CommitterStats{} }

// Close commits and stops.
func (c *Committer) Close() error { return errTodo }

// CommitterStats are a committer's counters.
type CommitterStats struct{}

// Dir is a locked data directory.
type Dir struct{}

// OpenDir locks the data directory.
func OpenDir(fs vfs.FS, dir string, now time.Time) (*Dir, error) { return nil, errTodo }

// Close unlocks it.
func (d *Dir) Close() error { return errTodo }
