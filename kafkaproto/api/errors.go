package api

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// What ends a connection.
var (
	// ErrMalformed means that a request cannot be decoded.
	ErrMalformed = errors.New("malformed request")
	// ErrRefused means that the protocol has no other answer than to close the connection: an API
	// or a version that is not served, or a failed request whose client wants no answer.
	ErrRefused = errors.New("request refused")
)

// Refusals that are decided in this package. Their users add which one, and what to do.
var (
	errUnknownTopic       = refuse(kerr.UnknownTopicOrPartition, "there is no such topic")
	errUnknownTopicID     = refuse(kerr.UnknownTopicID, "there is no topic of this id")
	errInvalidTopic       = refuse(kerr.InvalidTopicException, "this topic is not for clients")
	errInvalidRequest     = refuse(kerr.InvalidRequest, "invalid request")
	errInvalidRecord      = refuse(kerr.InvalidRecord, "invalid record data")
	errUnsupportedCodec   = refuse(kerr.UnsupportedCompressionType, "unsupported compression type")
	errUnsupportedVersion = refuse(kerr.UnsupportedVersion, "not supported in this version")
	errInvalidAcks        = refuse(kerr.InvalidRequiredAcks, "invalid acks")
	errTimedOut           = refuse(kerr.RequestTimedOut, "timed out")
	errNotLeader          = refuse(kerr.NotLeaderForPartition, "not a follower's to read")
	errSessionNotFound    = refuse(kerr.FetchSessionIDNotFound, "there is no such fetch session")
	errSessionEpoch       = refuse(kerr.InvalidFetchSessionEpoch, "not the session's next epoch")
	errSessionTopicID     = refuse(kerr.FetchSessionTopicIDError, "the session names topics otherwise")
	errNoTransactions     = refuse(kerr.TransactionalIDAuthorizationFailed, "unset transactional.id")
	errInvalidPartitions  = refuse(kerr.InvalidPartitions, "invalid number of partitions")
	errPolicy             = refuse(kerr.PolicyViolation, "excessively large request")
	errRebootstrap        = refuse(kerr.RebootstrapRequired, "not who the client looks for")
	errLater              = refuse(kerr.LeaderNotAvailable, "not available yet; ask again")
)

// refusal is an error that has a Kafka code from the start.
type refusal struct {
	kafka *kerr.Error
	text  string
}

func refuse(e *kerr.Error, text string) error { return &refusal{e, text} }

// refusef is a refusal in Kafka's own words.
func refusef(e *kerr.Error, format string, args ...any) error {
	return &refusal{e, fmt.Sprintf(format, args...)}
}

// Error returns the sentence.
func (r *refusal) Error() string { return r.text }

// mapping says what an error of a lower floor is to a Kafka client.
type mapping struct {
	err   error
	kafka *kerr.Error
}

// mappings is the one place where errors of the floors below meet Kafka's codes. Of several that an
// error wraps, the first in the table counts. TestEveryErrorHasACode proves that no sentinel of
// those packages is missing.
//
// Retriable codes are chosen with care: a client repeats them for ever.
var mappings = []mapping{
	// What a disk has done comes first: it wraps what is wrong with the batch that lies there, which
	// is not the client's.
	{replication.ErrOffline, kerr.KafkaStorageError},
	{log.ErrCorrupt, kerr.KafkaStorageError},
	{log.ErrUnreadable, kerr.KafkaStorageError},

	// log/batch: what a client may have done wrong with a batch.
	{batch.ErrTooLarge, kerr.MessageTooLarge},
	{batch.ErrTimestampType, kerr.InvalidTimestamp},
	{batch.ErrTransactional, kerr.TransactionalIDAuthorizationFailed},
	{batch.ErrMagic, kerr.InvalidRecord},
	{batch.ErrInvalid, kerr.InvalidRecord},
	{batch.ErrCorrupt, kerr.CorruptMessage},
	{batch.ErrShort, kerr.CorruptMessage},
	// Kafka cannot read such records and says the same.
	{batch.ErrBadCompression, kerr.CorruptMessage},
	// Not MESSAGE_TOO_LARGE: Java would split the batch and send each half, as large a bomb, again.
	{batch.ErrBomb, kerr.InvalidRecord},

	// log/journal: none reaches a client but through a log that has failed.
	{journal.ErrClosed, kerr.KafkaStorageError},
	{journal.ErrFailed, kerr.KafkaStorageError},
	{journal.ErrNoSpace, kerr.KafkaStorageError},
	{journal.ErrFull, kerr.KafkaStorageError},
	{journal.ErrTooLarge, kerr.KafkaStorageError},
	{journal.ErrCorrupt, kerr.KafkaStorageError},
	{journal.ErrNotRecovered, kerr.KafkaStorageError},

	// replication: judging a producer and a reader.
	{replication.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
	{replication.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
	{replication.ErrInvalidTimestamp, kerr.InvalidTimestamp},
	{replication.ErrUndeletable, kerr.PolicyViolation},
	{replication.ErrTooManyPending, kerr.PolicyViolation},
	// An operator's orders come another way; a client that sees one sees our mistake.
	{replication.ErrNotPending, kerr.UnknownServerError},
	{replication.ErrBadCursor, kerr.UnknownServerError},
	{replication.ErrBadFilter, kerr.UnknownServerError},
	{replication.ErrInvalidDue, kerr.UnknownServerError},
	{replication.ErrNotSettled, kerr.RequestTimedOut},
	{replication.ErrKeyless, kerr.InvalidRecord},
	{replication.ErrNotEnoughReplicas, kerr.NotEnoughReplicas},
	{replication.ErrUnknownPartition, kerr.UnknownTopicOrPartition},
	{replication.ErrFencedLeaderEpoch, kerr.FencedLeaderEpoch},
	{replication.ErrUnknownLeaderEpoch, kerr.UnknownLeaderEpoch},
	{replication.ErrStorage, kerr.KafkaStorageError},
	{replication.ErrDisagree, kerr.KafkaStorageError},
	// A partition closes when its topic is deleted or the server goes down. The client asks for
	// metadata again and learns which.
	{replication.ErrClosed, kerr.NotLeaderForPartition},

	// replication/metadata: topics.
	{metadata.ErrTopicExists, kerr.TopicAlreadyExists},
	{metadata.ErrUnknownTopic, kerr.UnknownTopicOrPartition},
	{metadata.ErrUnknownTopicID, kerr.UnknownTopicID},
	{metadata.ErrInvalidTopic, kerr.InvalidTopicException},
	{metadata.ErrInvalidPartitions, kerr.InvalidPartitions},
	{metadata.ErrInvalidReplicationFactor, kerr.InvalidReplicationFactor},
	{metadata.ErrInvalidReplicaAssignment, kerr.InvalidReplicaAssignment},
	{metadata.ErrInvalidConfig, kerr.InvalidConfig},
	{metadata.ErrCorruptCommand, kerr.KafkaStorageError},
	{metadata.ErrCorruptSnapshot, kerr.KafkaStorageError},
	{metadata.ErrClosed, kerr.NotController},

	// groups.
	{groups.ErrOffsetMetadataTooLarge, kerr.OffsetMetadataTooLarge},
	{groups.ErrCoordinatorLoading, kerr.CoordinatorLoadInProgress},
	{groups.ErrCoordinatorNotAvailable, kerr.CoordinatorNotAvailable},
	{groups.ErrIllegalGeneration, kerr.IllegalGeneration},
	{groups.ErrInconsistentGroupProtocol, kerr.InconsistentGroupProtocol},
	{groups.ErrInvalidGroupID, kerr.InvalidGroupID},
	{groups.ErrUnknownMember, kerr.UnknownMemberID},
	{groups.ErrInvalidSessionTimeout, kerr.InvalidSessionTimeout},
	{groups.ErrRebalanceInProgress, kerr.RebalanceInProgress},
	{groups.ErrNonEmptyGroup, kerr.NonEmptyGroup},
	{groups.ErrGroupNotFound, kerr.GroupIDNotFound},
	{groups.ErrMemberIDRequired, kerr.MemberIDRequired},
	{groups.ErrGroupMaxSizeReached, kerr.GroupMaxSizeReached},
	{groups.ErrFencedInstanceID, kerr.FencedInstanceID},
	{groups.ErrGroupSubscribed, kerr.GroupSubscribedToTopic},
	{groups.ErrCommitTooLarge, kerr.InvalidCommitOffsetSize},
	{groups.ErrLimit, kerr.PolicyViolation},

	// log.
	{log.ErrOffsetOutOfRange, kerr.OffsetOutOfRange},
	{log.ErrTooLarge, kerr.RecordListTooLarge},
	{log.ErrNoSpace, kerr.KafkaStorageError},
	{log.ErrNotReplayed, kerr.KafkaStorageError},
	{log.ErrFailed, kerr.KafkaStorageError},
	{log.ErrClosed, kerr.NotLeaderForPartition},
	// The last ones are for the owner of the process; a client that sees one sees our mistake.
	{log.ErrStaleEpoch, kerr.UnknownServerError},
	{log.ErrBadBatch, kerr.UnknownServerError},
	{log.ErrFormatNewer, kerr.UnknownServerError},
	{log.ErrFormatUnknown, kerr.UnknownServerError},
	{replication.ErrOtherNode, kerr.UnknownServerError},

	// The wait for the gate ended with the connection: nobody reads this code.
	{context.Canceled, kerr.NetworkException},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
}

// codeOf returns the Kafka code of an error: 0 for nil, UNKNOWN_SERVER_ERROR for one that no table
// knows.
func codeOf(err error) int16 {
	if err == nil {
		return 0
	}
	return kafkaError(err).Code
}

func kafkaError(err error) *kerr.Error {
	var r *refusal
	if errors.As(err, &r) {
		return r.kafka
	}
	var control *batch.ControlError
	if errors.As(err, &control) {
		return kerr.InvalidRecord
	}
	for _, m := range mappings {
		if errors.Is(err, m.err) {
			return m.kafka
		}
	}
	return kerr.UnknownServerError
}

// textOf is the sentence that goes with an error where the protocol carries one: what happened, not
// the name of the code, which the client knows. Internal failures are not told to strangers.
func textOf(err error) *string {
	if err == nil {
		return nil
	}
	if kafkaError(err) == kerr.UnknownServerError {
		text := kerr.UnknownServerError.Description
		return &text
	}
	text := err.Error()
	return &text
}
