package groups

import "errors"

// The sentinels of this package. Answers wrap them, so compare with errors.Is.
// Behind each stands the Kafka error it means; the number itself is the business
// of the layer that speaks the protocol.
var (
	// ErrOffsetMetadataTooLarge is OFFSET_METADATA_TOO_LARGE: the text stored beside
	// an offset is longer than Options.OffsetMetadataMaxBytes.
	ErrOffsetMetadataTooLarge = errors.New("offset metadata too large")
	// ErrCoordinatorLoading is COORDINATOR_LOAD_IN_PROGRESS: the group's shard still
	// replays its log; the client retries.
	ErrCoordinatorLoading = errors.New("coordinator is loading")
	// ErrCoordinatorNotAvailable is COORDINATOR_NOT_AVAILABLE: the coordinator is
	// closed, its log refused a write, or its queue of writes is full.
	ErrCoordinatorNotAvailable = errors.New("coordinator not available")
	// ErrIllegalGeneration is ILLEGAL_GENERATION: the request names another generation
	// than the group is in.
	ErrIllegalGeneration = errors.New("illegal generation")
	// ErrInconsistentGroupProtocol is INCONSISTENT_GROUP_PROTOCOL: the member shares no
	// protocol with the rest of the group, or has another protocol type.
	ErrInconsistentGroupProtocol = errors.New("inconsistent group protocol")
	// ErrInvalidGroupID is INVALID_GROUP_ID: the group id is empty or too long.
	ErrInvalidGroupID = errors.New("invalid group id")
	// ErrUnknownMember is UNKNOWN_MEMBER_ID: the group does not know this member.
	ErrUnknownMember = errors.New("unknown member")
	// ErrInvalidSessionTimeout is INVALID_SESSION_TIMEOUT: outside the bounds of Options.
	ErrInvalidSessionTimeout = errors.New("invalid session timeout")
	// ErrRebalanceInProgress is REBALANCE_IN_PROGRESS: the member has to join again.
	ErrRebalanceInProgress = errors.New("rebalance in progress")
	// ErrNonEmptyGroup is NON_EMPTY_GROUP: a group with members cannot be deleted.
	ErrNonEmptyGroup = errors.New("group is not empty")
	// ErrGroupNotFound is GROUP_ID_NOT_FOUND.
	ErrGroupNotFound = errors.New("group not found")
	// ErrMemberIDRequired is MEMBER_ID_REQUIRED: the answer carries the id with which
	// the member has to join again, so that a lost answer leaves no ghost member.
	ErrMemberIDRequired = errors.New("member id required")
	// ErrGroupMaxSizeReached is GROUP_MAX_SIZE_REACHED.
	ErrGroupMaxSizeReached = errors.New("group is full")
	// ErrFencedInstanceID is FENCED_INSTANCE_ID: another member has taken over this
	// group instance id.
	ErrFencedInstanceID = errors.New("group instance id is fenced")
	// ErrGroupSubscribed is GROUP_SUBSCRIBED_TO_TOPIC: offsets of a topic that the
	// group consumes cannot be deleted.
	ErrGroupSubscribed = errors.New("group is subscribed to the topic")
	// ErrCommitTooLarge is INVALID_COMMIT_OFFSET_SIZE: the offsets of one request do not
	// fit into one batch.
	ErrCommitTooLarge = errors.New("commit too large")
	// ErrLimit is POLICY_VIOLATION: a bound of Options (groups, offsets of one group,
	// bytes of one member) would be exceeded.
	ErrLimit = errors.New("coordinator limit reached")
)
