package batch

// The attribute bits of a batch. With attrDeleteHorizon the base timestamp is the time from which
// compaction may remove the batch's tombstones or marker, and deltas count from it.
const (
	attrCodecMask     int16 = 0x7
	attrLogAppendTime int16 = 1 << 3
	attrTransactional int16 = 1 << 4
	attrControl       int16 = 1 << 5
	attrDeleteHorizon int16 = 1 << 6

	// AttrMark marks a batch in a partition log as a delivery of the scheduler, so
	// that recovery opens no other batch. Only our own appends can set it.
	AttrMark int16 = 1 << 14

	// attrClientMask holds the bits that a client may set at all: codec, timestamp
	// type (refused with its own error) and transactional (likewise).
	attrClientMask = attrCodecMask | attrLogAppendTime | attrTransactional

	kindShift       = 8
	kindMask  int16 = 3 << kindShift
)

// TimestampType says what the timestamps of a batch are.
type TimestampType int8

// The timestamp types of Kafka.
const (
	// CreateTime: each record carries the time its producer gave.
	CreateTime TimestampType = 0
	// LogAppendTime: every record has the batch's MaxTimestamp, set by the broker.
	LogAppendTime TimestampType = 1
)

// Kind says what a batch of a staging log is. It lives in attribute bits 8 and 9.
type Kind int8

// The kinds of batches. Batches of a partition log have KindNone.
const (
	KindNone Kind = iota
	// KindStaged batches hold records that wait, with the leader's decisions.
	KindStaged
	// KindSettlement batches say what became of staged records.
	KindSettlement
	// KindCommand batches hold commands of an operator.
	KindCommand
)

// Attributes returns the attribute bits of k, for BuilderOptions.
func (k Kind) Attributes() int16 { return int16(k) << kindShift & kindMask }

// KindOf returns the kind that attribute bits hold.
func KindOf(attributes int16) Kind { return Kind(attributes & kindMask >> kindShift) }
