package mutant

// Name is one deliberate fault.
type Name string

// The faults. Each comment says what the code does wrong while the fault is on.
const (
	// NoFsync reports log data as flushed without having called fdatasync.
	NoFsync Name = "no-fsync"
	// AckBeforeFsync answers a produce request before the commit that covers it.
	AckBeforeFsync Name = "ack-before-fsync"
	// NoDirSync leaves out the directory sync after a file was made, renamed or removed.
	NoDirSync Name = "no-dir-sync"
	// NoGate lets a producer's visible records overtake its staged ones that are due now.
	NoGate Name = "no-gate"
	// DueNowBeforeStagingHW delivers due records before their staging is durable.
	DueNowBeforeStagingHW Name = "due-now-before-staging-hw"
	// NoDedupe appends a producer's retry a second time.
	NoDedupe Name = "no-dedupe"
	// DuplicateBeforeDurable acks a retry while the first attempt is not durable yet.
	DuplicateBeforeDurable Name = "duplicate-before-durable"
	// NoSettlements does not write which schedules were delivered.
	NoSettlements Name = "no-settlements"
	// IndexAboveHW writes schedules into the index that are not durable in the staging log yet.
	IndexAboveHW Name = "index-above-hw"
	// EpochNotRaised keeps the old leader epoch across a restart.
	EpochNotRaised Name = "epoch-not-raised"
	// ReplayFromZero ignores the settled position and replays every schedule.
	ReplayFromZero Name = "replay-from-zero"
	// DeliverEarly takes schedules as due before their time.
	DeliverEarly Name = "deliver-early"
	// HWAheadOfFlushed shows consumers records that a power cut could take back.
	HWAheadOfFlushed Name = "hw-ahead-of-flushed"
	// JournalRecycledEarly uses a file of the commit journal again that is not released.
	JournalRecycledEarly Name = "journal-recycled-early"
	// GenerationIgnored takes a record of an earlier use of a journal file for one of this use.
	GenerationIgnored Name = "generation-ignored"
	// SegmentUnsynced gives files of the commit journal back without an fdatasync of the segments.
	SegmentUnsynced Name = "segment-unsynced"
	// NoteAheadOfSegment notes that the journal is not needed before the segment is durable.
	NoteAheadOfSegment Name = "note-ahead-of-segment"
	// CompactionUnsynced puts a compacted segment in the place of its originals without having
	// synced it.
	CompactionUnsynced Name = "compaction-unsynced"
)

// All returns every fault, for the test runner that tries each in turn.
func All() []Name {
	return []Name{
		NoFsync, AckBeforeFsync, NoDirSync, NoGate, DueNowBeforeStagingHW, NoDedupe,
		DuplicateBeforeDurable, NoSettlements, IndexAboveHW, EpochNotRaised, ReplayFromZero,
		DeliverEarly, HWAheadOfFlushed, JournalRecycledEarly, GenerationIgnored, SegmentUnsynced,
		NoteAheadOfSegment, CompactionUnsynced,
	}
}
