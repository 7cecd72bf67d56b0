package replication

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/compaction"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// Options configure a Manager. A zero field means its default.
type Options struct {
	// DataDir is the data directory; it is made if it does not exist. Required.
	DataDir string
	// NodeID names this node in the metadata; default 1.
	NodeID int32
	// FS is the file system; default the operating system's.
	FS vfs.FS
	// Clock is the source of time; default the real one.
	Clock clock.Clock
	// FsyncMode says when an acknowledgement may be given; default log.Batch.
	FsyncMode log.Mode
	// FsyncInterval is the pause between fsyncs in periodic mode; default 100 ms.
	FsyncInterval time.Duration
	// SegmentBytes is the size at which segments roll, unless a topic says otherwise; default 512
	// MiB.
	SegmentBytes int64
	// JournalBytes is the size of all files of the commit journal together; default 256 MiB. In
	// periodic mode there is none.
	JournalBytes int64
	// TickMs is the resolution of deliveries in milliseconds; default 1.
	TickMs int
	// WheelSize is how many ticks ahead pending records are held in memory; default 65,536.
	WheelSize int
	// MaxClockJump is by how much the time of day may jump ahead of the time that has passed. A longer
	// jump pauses the node's deliveries until the clock agrees again, or AcceptClock is called; 0, the
	// default, trusts the clock always.
	MaxClockJump time.Duration
	// NumPartitions is what a topic gets that does not say how many; default 1.
	NumPartitions int32
	// RetentionInterval is the pause between looks for segments to delete; default 5 minutes, as
	// Kafka's log.retention.check.interval.ms.
	RetentionInterval time.Duration
	// TailBytesMax is how much may be appended to all logs together before the longest get a
	// checkpoint. It bounds what a start after a crash reads; default 1 GiB.
	TailBytesMax int64
	// CompactionInterval is the pause after a look at which there was nothing to compact; default 15
	// seconds, as Kafka's log.cleaner.backoff.ms.
	CompactionInterval time.Duration
	// CompactionMapBytes bounds the memory for the keys of a compaction, which takes several passes
	// if they do not fit; default 128 MiB, as log.cleaner.dedupe.buffer.size. It is only taken while
	// one runs.
	CompactionMapBytes int64
	// CompactionBytesPerSecond bounds what compactions read and write, on average; 0 for no bound, the
	// default, as that of log.cleaner.io.max.bytes.per.second.
	CompactionBytesPerSecond int64
	// Logger is where events go; default nowhere.
	Logger *zap.Logger
	// OnFailure is called once, when a write or fsync error has made the data directory unusable to
	// this process. The owner must exit: nothing is acknowledged any more. Required unless Manual.
	OnFailure func(error)
	// OnOpenProgress is called during an Open that takes longer than a second, at most once a second.
	OnOpenProgress func(OpenProgress)
	// Manual starts no goroutine: commits, deliveries and housekeeping happen in Step. For tests
	// that own every interleaving.
	Manual bool
}

// EnsureDefaults fills every zero field.
func (o *Options) EnsureDefaults() {
	if o.NodeID == 0 {
		o.NodeID = 1
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.FsyncInterval == 0 {
		o.FsyncInterval = 100 * time.Millisecond
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 512 << 20
	}
	if o.JournalBytes == 0 {
		o.JournalBytes = 256 << 20
	}
	if o.TickMs == 0 {
		o.TickMs = 1
	}
	if o.WheelSize == 0 {
		o.WheelSize = 65_536
	}
	if o.NumPartitions == 0 {
		o.NumPartitions = 1
	}
	if o.RetentionInterval == 0 {
		o.RetentionInterval = 5 * time.Minute
	}
	if o.TailBytesMax == 0 {
		o.TailBytesMax = 1 << 30
	}
	if o.CompactionInterval == 0 {
		o.CompactionInterval = 15 * time.Second
	}
	if o.CompactionMapBytes == 0 {
		o.CompactionMapBytes = compaction.MapBytesDefault
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	if o.OnOpenProgress == nil {
		o.OnOpenProgress = func(OpenProgress) {}
	}
	if o.OnFailure == nil {
		o.OnFailure = func(error) {}
	}
}

// Validate refuses what cannot work, with the rule in the text.
func (o *Options) Validate() error {
	switch {
	case o.DataDir == "":
		return fmt.Errorf("replication: DataDir is empty; name the data directory")
	case o.NodeID < 0:
		return fmt.Errorf("replication: NodeID is %d; use 0 or a positive number", o.NodeID)
	case o.SegmentBytes < 1<<14:
		return fmt.Errorf("replication: SegmentBytes is %d; use at least 16384", o.SegmentBytes)
	case o.TailBytesMax < 1<<20:
		return fmt.Errorf("replication: TailBytesMax is %d; use at least 1048576", o.TailBytesMax)
	case o.JournalBytes < journalBytesMin || o.JournalBytes > journalBytesMax:
		return fmt.Errorf("replication: JournalBytes is %d; use %d to %d", o.JournalBytes,
			journalBytesMin, int64(journalBytesMax))
	case o.TickMs < 1 || o.TickMs > 1000:
		return fmt.Errorf("replication: TickMs is %d; use 1 to 1000", o.TickMs)
	case o.WheelSize < 256 || o.WheelSize > 1<<24:
		return fmt.Errorf("replication: WheelSize is %d; use 256 to 16777216", o.WheelSize)
	case o.CompactionMapBytes < compaction.SlotBytes:
		return fmt.Errorf("replication: CompactionMapBytes is %d; use at least %d",
			o.CompactionMapBytes, compaction.SlotBytes)
	case o.CompactionBytesPerSecond < 0:
		return fmt.Errorf("replication: CompactionBytesPerSecond is %d; use 0 for no bound",
			o.CompactionBytesPerSecond)
	case o.MaxClockJump < 0:
		return fmt.Errorf("replication: MaxClockJump is %s; use 0 to trust the clock", o.MaxClockJump)
	case o.NumPartitions < 1:
		return fmt.Errorf("replication: NumPartitions is %d; use at least 1", o.NumPartitions)
	}
	return nil
}
