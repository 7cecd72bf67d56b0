package log

import (
	"fmt"
	"math"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// The types of package batch that this package speaks of.
type (
	// Offset is the position of a record in one log.
	Offset = batch.Offset
	// LeaderEpoch counts the leaderships of a partition.
	LeaderEpoch = batch.LeaderEpoch
	// UnixMs is a point in time in Unix milliseconds.
	UnixMs = batch.UnixMs
)

// The limits and defaults of a log.
const (
	// AppendBytesMax bounds one Append, so that a position in a segment fits 32 bits.
	AppendBytesMax = 1 << 30
	// SegmentBytesMax bounds Options.SegmentBytes, for the same reason.
	SegmentBytesMax = 2 << 30
	// SegmentBytesDefault is Options.SegmentBytes when it is 0.
	SegmentBytesDefault = 512 << 20
	// SegmentMsDefault is Options.SegmentMs when it is 0: seven days.
	SegmentMsDefault = int64(7 * 24 * time.Hour / time.Millisecond)
	// IndexIntervalBytesDefault is Options.IndexIntervalBytes when it is 0.
	IndexIntervalBytesDefault = 4096
)

// Options configures one log. The zero value of each field but FS means its default.
type Options struct {
	FS    vfs.FS      // FS holds the files. Required.
	Clock clock.Clock // Clock measures fdatasync for the statistics. Default: clock.Real.

	SegmentBytes int64 // SegmentBytes is the size at which a segment is sealed. 512 MiB.
	SegmentMs    int64 // SegmentMs is the span of record time in one segment. 7 days.
	// IndexIntervalBytes is how much log lies between two index entries. 4096.
	IndexIntervalBytes int64

	// Buffers holds what is appended until it is written to the segments, past the page cache. Nil
	// writes through the page cache at each append.
	Buffers *Buffers

	// Journal makes what is appended durable before the segments are, by a Committer that has the
	// same one. Open replays what the journal has of this log. Without Buffers, that is all.
	Journal *journal.Journal
	// Name is the log's name in the journal: its path in the data directory.
	Name string

	Logger *zap.Logger // Logger hears of every repair. Default: none.
	// OnRecover sees every whole batch at or past the recovery point, once and in order, during
	// Open, so that one read of the tail serves both the log and its owner's state. The batch is
	// valid until the call returns. An error ends Open with that error.
	OnRecover func(b batch.Batch) error
}

// EnsureDefaults fills every field that is zero.
func (o *Options) EnsureDefaults() {
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = SegmentBytesDefault
	}
	if o.SegmentMs == 0 {
		o.SegmentMs = SegmentMsDefault
	}
	if o.IndexIntervalBytes == 0 {
		o.IndexIntervalBytes = IndexIntervalBytesDefault
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
}

// Validate refuses what cannot work, with the rule in the text.
func (o *Options) Validate() error {
	if o.FS == nil {
		return fmt.Errorf("log: Options.FS is nil; use vfs.OS()")
	}
	if o.SegmentBytes < 1 || o.SegmentBytes > SegmentBytesMax {
		return fmt.Errorf("log: SegmentBytes is %d; use 1 to %d, or 0 for the default",
			o.SegmentBytes, int64(SegmentBytesMax))
	}
	if o.Journal != nil && o.Name == "" {
		return fmt.Errorf("log: Name is empty; a log with a Journal needs one")
	}
	if o.SegmentMs < 1 {
		return fmt.Errorf("log: SegmentMs is %d; use a positive number of milliseconds, or 0 for"+
			" the default", o.SegmentMs)
	}
	if o.IndexIntervalBytes < 1 || o.IndexIntervalBytes > math.MaxInt32 {
		return fmt.Errorf("log: IndexIntervalBytes is %d; use 1 to %d, or 0 for the default",
			o.IndexIntervalBytes, math.MaxInt32)
	}
	return nil
}

// ReadRequest asks for whole batches.
type ReadRequest struct {
	From     Offset // From is the first offset wanted; the batch that holds it may begin earlier.
	Bound    Offset // Bound is the first offset that must not be shown: a high watermark.
	MaxBytes int    // MaxBytes bounds the bytes returned.
	MinOne   bool   // MinOne returns the first batch whole even if it is larger than MaxBytes.
	// SkipEmpty begins with a batch that has records: clients do not get past answers without any.
	SkipEmpty bool
}

// RetentionPolicy says how much of a log is kept. A negative number means: unlimited.
type RetentionPolicy struct {
	Ms    int64 // Ms is how long a record is kept after its timestamp, in milliseconds.
	Bytes int64 // Bytes is how large the log may be.
}
