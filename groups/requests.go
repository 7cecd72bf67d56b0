package groups

import "time"

// Protocol is one way of dividing partitions that a member supports, with the
// member's subscription in that protocol's own bytes.
type Protocol struct {
	Name     string
	Metadata []byte
}

// JoinRequest asks to become, or stay, a member of a group.
type JoinRequest struct {
	GroupID string
	// MemberID is empty for a client that has not got one yet.
	MemberID string
	// InstanceID is set by static members (KIP-345), nil for dynamic ones.
	InstanceID           *string
	ClientID, ClientHost string
	ProtocolType         string
	// Protocols are in the member's order of preference.
	Protocols      []Protocol
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the member may take to join again. Protocol
	// version 0 has no such field; zero means the session timeout.
	RebalanceTimeout time.Duration
	// RequireKnownMember makes a dynamic member without an id come back with the one
	// it is given (KIP-394, version 4 and later).
	RequireKnownMember bool
	// CanSkipAssignment says that the client understands JoinResponse.SkipAssignment
	// (KIP-814, version 9 and later).
	CanSkipAssignment bool
	// Reason is for the log only.
	Reason string
}

// JoinResponse answers a JoinRequest.
type JoinResponse struct {
	Err error
	// Generation is -1 with an error.
	Generation int32
	// ProtocolType and Protocol are empty (null from version 7 on) with an error.
	ProtocolType, Protocol string
	// Leader is the member id of the leader.
	Leader string
	// SkipAssignment tells a static leader that came back to keep the assignment.
	SkipAssignment bool
	// MemberID is the member's id, also with ErrMemberIDRequired.
	MemberID string
	// Members is filled for the leader only.
	Members []JoinMember
}

// JoinMember is what the leader learns about a member.
type JoinMember struct {
	MemberID   string
	InstanceID *string
	// Metadata is the member's subscription under the chosen protocol.
	Metadata []byte
}

// SyncRequest fetches a member's assignment; the leader's brings all of them.
type SyncRequest struct {
	GroupID, MemberID string
	Generation        int32
	InstanceID        *string
	// ProtocolType and Protocol are checked when set (version 5 and later).
	ProtocolType, Protocol *string
	Assignments            []Assignment
}

// Assignment is what the leader gave to one member, in bytes only clients read.
type Assignment struct {
	MemberID   string
	Assignment []byte
}

// SyncResponse answers a SyncRequest.
type SyncResponse struct {
	Err                    error
	ProtocolType, Protocol string
	Assignment             []byte
}

// HeartbeatRequest says that a member is alive.
type HeartbeatRequest struct {
	GroupID, MemberID string
	Generation        int32
	InstanceID        *string
}

// LeaveRequest takes members out of a group.
type LeaveRequest struct {
	GroupID string
	Members []LeaveMember
}

// LeaveMember names one leaving member, by member id, by instance id, or by both.
type LeaveMember struct {
	MemberID   string
	InstanceID *string
	// Reason is for the log only.
	Reason string
}

// LeaveResponse answers a LeaveRequest; Members is in the order of the request and
// empty when Err is set.
type LeaveResponse struct {
	Err     error
	Members []LeaveResult
}

// LeaveResult is the outcome for one leaving member.
type LeaveResult struct {
	MemberID   string
	InstanceID *string
	Err        error
}

// TopicID is the id of a topic; all zeros when the client gave only a name.
type TopicID [16]byte

// CommitRequest stores offsets.
type CommitRequest struct {
	GroupID, MemberID string
	// Generation is -1 for a commit by something that is not a member.
	Generation int32
	InstanceID *string
	// RetentionMs overrides Options.OffsetRetention for these offsets (versions 2 to
	// 4 carry it); negative means no override.
	RetentionMs int64
	// CanTellGroupNotFound lets a commit by a member of an unknown group fail with
	// ErrGroupNotFound (version 9 and later) in place of ErrIllegalGeneration.
	CanTellGroupNotFound bool
	Topics               []CommitTopic
}

// CommitTopic is one topic of a CommitRequest.
type CommitTopic struct {
	Topic      string
	TopicID    TopicID
	Partitions []CommitPartition
}

// CommitPartition is one offset to store.
type CommitPartition struct {
	Partition int32
	Offset    int64
	// LeaderEpoch is -1 if the client does not know it.
	LeaderEpoch int32
	Metadata    string
}

// CommitResponse answers a CommitRequest. Topics mirrors the request, in order. A
// refusal of the whole request is in Err and in every partition.
type CommitResponse struct {
	Err    error
	Topics []CommitTopicResult
}

// CommitTopicResult is one topic of a CommitResponse.
type CommitTopicResult struct {
	Topic      string
	TopicID    TopicID
	Partitions []CommitPartitionResult
}

// CommitPartitionResult is the outcome for one offset.
type CommitPartitionResult struct {
	Partition int32
	Err       error
}

// FetchRequest asks for committed offsets.
type FetchRequest struct {
	GroupID string
	// Topics is nil to ask for everything the group has committed.
	Topics []FetchTopic
	// RequireStable asks to be refused while transactional commits are open. There
	// are no transactions, so every offset is stable.
	RequireStable bool
}

// FetchTopic is one topic of a FetchRequest.
type FetchTopic struct {
	Topic string
	// TopicID, if not zero, hides offsets committed for another topic of that name.
	TopicID    TopicID
	Partitions []int32
}

// FetchResponse answers a FetchRequest: the topics of the request in its order, or
// all topics by name.
type FetchResponse struct {
	Err    error
	Topics []FetchTopicResult
}

// FetchTopicResult is one topic of a FetchResponse.
type FetchTopicResult struct {
	Topic      string
	TopicID    TopicID
	Partitions []FetchedOffset
}

// FetchedOffset is one committed offset; Offset is -1 if there is none.
type FetchedOffset struct {
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Metadata    string
}

// ListFilter narrows a listing; an empty list lets everything pass. Letter case does
// not matter.
type ListFilter struct {
	States, Types []string
}

// Listing is one group of a listing.
type Listing struct {
	GroupID, ProtocolType string
	// State is a State's name, Type is always "classic".
	State, Type string
}

// Description is the whole visible state of a group.
type Description struct {
	GroupID, State, ProtocolType string
	// Protocol, and the metadata and assignments of the members, are only filled
	// while the group is Stable.
	Protocol string
	Members  []MemberDescription
}

// MemberDescription is one member of a Description.
type MemberDescription struct {
	MemberID             string
	InstanceID           *string
	ClientID, ClientHost string
	Metadata, Assignment []byte
}

// DeleteOffsetsRequest removes committed offsets (OffsetDelete).
type DeleteOffsetsRequest struct {
	GroupID string
	Topics  []FetchTopic
}
