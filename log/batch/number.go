package batch

import "github.com/chronosdb/chronosdb/timer/clock"

// UnixMs is a point in time in Unix milliseconds.
type UnixMs = clock.UnixMs

// Offset is the position of a record in one log.
type Offset int64

// LeaderEpoch counts the leaderships of a partition.
type LeaderEpoch int32

// ProducerID names an idempotent producer.
type ProducerID int64

// ProducerEpoch counts the incarnations of a producer id.
type ProducerEpoch int16

// Sequence numbers the records of a producer within one partition. After 2^31-1
// comes 0.
type Sequence int32

// The values that stand for "none" in a batch.
const (
	NoOffset        Offset        = -1
	NoLeaderEpoch   LeaderEpoch   = -1
	NoProducerID    ProducerID    = -1
	NoProducerEpoch ProducerEpoch = -1
	NoSequence      Sequence      = -1
	NoTimestamp     UnixMs        = -1
)

// maxSequence is the last sequence before the wrap to 0.
const maxSequence = 1<<31 - 1

// Add returns the sequence n records later. n must not be negative.
func (s Sequence) Add(n int32) Sequence {
	if int64(s)+int64(n) > maxSequence {
		return Sequence(int64(s) + int64(n) - maxSequence - 1)
	}
	return s + Sequence(n)
}
