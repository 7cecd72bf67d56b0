package groups

import "github.com/chronosdb/chronosdb/timer/clock"

// OffsetsLog is one partition of the offsets topic, the only thing a shard knows
// about storage. One shard is its only writer.
type OffsetsLog interface {
	// Append writes records in order, all or none, and returns at once. The records
	// belong to the log afterwards. An error means that nothing was written.
	Append(records []Record) (Pending, error)
	// Replay calls fn with every stored record in log order; value is nil for a
	// tombstone. Both slices are only valid during the call. It stops with fn's error.
	Replay(fn func(key, value []byte) error) error
}

// Pending is a write on its way to the disk (and to the replicas).
type Pending interface {
	// Done is closed once the outcome is known.
	Done() <-chan struct{}
	// Err is nil if the write is durable. It may be called after Done is closed.
	Err() error
}

// Record is one key and value for the offsets topic; a nil Value is a tombstone.
type Record struct {
	Key, Value []byte
	Timestamp  clock.UnixMs
}
