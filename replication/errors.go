package replication

import (
	"errors"
	"fmt"
)

// Refusals of this package. Errors of batch, log, metadata and timer pass through wrapped.
var (
	// ErrUnknownPartition means that the topic has no partition of that index here.
	ErrUnknownPartition = errors.New("unknown partition")
	// ErrOutOfOrderSequence means that a producer's batch does not follow its last one, and is not
	// one of its last five either.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrInvalidProducerEpoch means that a newer instance of the producer has taken over.
	ErrInvalidProducerEpoch = errors.New("producer epoch is older than the current one")
	// ErrInvalidTimestamp means that a timestamp lies outside the topic's bounds.
	ErrInvalidTimestamp = errors.New("timestamp is out of the topic's range")
	// ErrFencedLeaderEpoch means that the client knows an older leader epoch than this one.
	ErrFencedLeaderEpoch = errors.New("leader epoch is older than the partition's")
	// ErrUnknownLeaderEpoch means that the client knows a newer leader epoch than this node.
	ErrUnknownLeaderEpoch = errors.New("leader epoch is newer than the partition's")
	// ErrNotEnoughReplicas means that fewer replicas are in sync than the topic wants.
	ErrNotEnoughReplicas = errors.New("not enough in-sync replicas")
	// ErrKeyless is wrapped by KeylessError.
	ErrKeyless = errors.New("record without a key in a compacted topic")
	// ErrUndeletable means that the topic is compacted and nothing else: its records go only when
	// newer ones replace them.
	ErrUndeletable = errors.New("the topic's policy does not delete records")
	// ErrTooManyPending means that as many records wait in the partition as the topic lets.
	ErrTooManyPending = errors.New("too many records wait")
	// ErrNotPending means that no record of that position waits for its time.
	ErrNotPending = errors.New("not pending")
	// ErrBadCursor means that a cursor is none that ListPending has returned.
	ErrBadCursor = errors.New("not a cursor of this server")
	// ErrBadFilter means that a list of pending records is asked for that nobody can make.
	ErrBadFilter = errors.New("invalid filter of pending records")
	// ErrInvalidDue means that a record cannot be moved to a time that far ahead.
	ErrInvalidDue = errors.New("due time is out of the topic's range")
	// ErrNotSettled means that deliveries below an offset are not settled yet. It passes.
	ErrNotSettled = errors.New("deliveries are not settled yet")
	// ErrStorage means that the disk refused a write in a way that may pass, such as being full.
	// The batch was cut off again and may be sent again.
	ErrStorage = errors.New("storage cannot take the batch now")
	// ErrClosed means that the partition or the whole manager is closed.
	ErrClosed = errors.New("partition is closed")
	// ErrOffline is wrapped by OfflineError.
	ErrOffline = errors.New("partition is offline")
	// ErrOtherNode means that the data directory was made for another node id: its partitions are
	// led by that node, and would be nobody's under a new name.
	ErrOtherNode = errors.New("data directory of another node")
	// ErrDisagree means that state on disk names something that the logs do not have.
	ErrDisagree = errors.New("state on disk disagrees with the log")
)

// OfflineError says why one partition is not served while the rest of the node is.
type OfflineError struct {
	Partition string // topic name and index, for a person
	Err       error  // names file and position where there is one
}

// Error says which partition is offline and why.
func (e *OfflineError) Error() string {
	return fmt.Sprintf("partition %s is offline: %v", e.Partition, e.Err)
}

// Unwrap gives both the sentinel and the cause.
func (e *OfflineError) Unwrap() []error { return []error{ErrOffline, e.Err} }

// keylessRecordsMax bounds the records that a KeylessError names: a request of small records has
// millions, and each is answered with a sentence.
const keylessRecordsMax = 100

// KeylessError refuses a batch with records that compaction could not tell apart.
type KeylessError struct {
	Partition string
	Count     int   // how many records have no key
	Records   []int // the indexes in their batch of the first of them
}

// Error says how many records are refused, and why, in the words of Kafka's LogValidator.
func (e *KeylessError) Error() string {
	return fmt.Sprintf("One or more records have been rejected due to %d record errors in total: %s",
		e.Count, e.Sentence())
}

// Sentence is what is wrong with each of the records.
func (e *KeylessError) Sentence() string {
	return "Compacted topic cannot accept message without key in topic partition " +
		e.Partition + "."
}

// Unwrap gives the sentinel.
func (e *KeylessError) Unwrap() error { return ErrKeyless }
