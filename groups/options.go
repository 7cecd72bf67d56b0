package groups

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// The defaults of Options; each is Kafka's own unless it says otherwise.
const (
	PartitionsDefault             = 50
	SessionTimeoutMinDefault      = 6 * time.Second
	SessionTimeoutMaxDefault      = 30 * time.Minute
	InitialRebalanceDelayDefault  = 3 * time.Second
	OffsetRetentionDefault        = 7 * 24 * time.Hour
	OffsetRetentionCheckDefault   = 10 * time.Minute
	OffsetMetadataMaxBytesDefault = 4096
	// GroupMaxSizeDefault bounds the members of a group. Kafka leaves it open.
	GroupMaxSizeDefault = 4096
	// GroupsMaxDefault bounds the groups of one shard. Kafka leaves it open.
	GroupsMaxDefault = 20_000
	// OffsetsPerGroupMaxDefault bounds the offsets kept for one group. Kafka leaves
	// it open.
	OffsetsPerGroupMaxDefault = 200_000
	// MemberBytesMaxDefault bounds what one member may make us remember: all its
	// subscriptions together, and its assignment. Kafka leaves it open.
	MemberBytesMaxDefault = 1 << 20
	// WritesMaxDefault bounds the writes of one shard that wait for the disk.
	WritesMaxDefault = 4096
)

// Limits that no option changes.
const (
	// groupIDBytesMax bounds a group id; the stored string has 16 bit of length.
	groupIDBytesMax = storedStringBytesMax
	// newMemberTimeout is how long a member that joins for the first time may wait in
	// a rebalance before it is given up, in place of its session timeout: its client
	// does not send heartbeats yet (GroupCoordinatorConfig, CLASSIC_GROUP_NEW_MEMBER_
	// JOIN_TIMEOUT_MS).
	newMemberTimeout = 5 * time.Minute
	// storedStringBytesMax bounds every string that goes into a record, where it has
	// 16 bits of length.
	storedStringBytesMax = 32767
	// instanceIDBytesMax bounds a group instance id, as Kafka's clients do.
	instanceIDBytesMax = 249
	// memberIDPrefixBytesMax is how much of a client id goes into a member id.
	memberIDPrefixBytesMax = 255
	// appendBytesMax bounds the records of one append, which become one batch of the
	// offsets topic, whose max.message.bytes is 10 MiB.
	appendBytesMax = 10 * 1000 * 1000
	// recordOverheadBytes is what a record adds to its key and value at most.
	recordOverheadBytes = 32
	// loadersMax is how many shards load at the same time.
	loadersMax = 4
	// loadRetryMin and loadRetryMax bound the pause before a shard that could not be
	// loaded is tried again.
	loadRetryMin, loadRetryMax = time.Second, 30 * time.Second
)

// Options configure a Coordinator. Zero values mean the defaults.
type Options struct {
	// Partitions is the number of partitions of the offsets topic, one shard each. It
	// must not change over the life of the data.
	Partitions int32
	// OpenLog opens one partition of the offsets topic. It is called from a loader
	// goroutine, again after a failure, and never twice at the same time for one
	// partition.
	OpenLog func(partition int32) (OffsetsLog, error)
	// Clock is the time source.
	Clock clock.Clock
	// Logger is told about rebalances and failures.
	Logger *zap.Logger

	// SessionTimeoutMin and SessionTimeoutMax bound what members may ask for.
	SessionTimeoutMin, SessionTimeoutMax time.Duration
	// InitialRebalanceDelay is how long the first rebalance of an empty group waits
	// for more members; each new one extends it, up to the rebalance timeout.
	// Negative means none.
	InitialRebalanceDelay time.Duration
	// OffsetRetention is how long offsets outlive the group's last member, or, in a
	// group without members, the commit.
	OffsetRetention time.Duration
	// OffsetRetentionCheck is the time between two looks for expired offsets.
	OffsetRetentionCheck time.Duration
	// OffsetMetadataMaxBytes bounds the text stored beside an offset.
	OffsetMetadataMaxBytes int
	// GroupMaxSize bounds the members of a group, pending ones included.
	GroupMaxSize int
	// GroupsMax bounds the groups of one shard.
	GroupsMax int
	// OffsetsPerGroupMax bounds the offsets of one group.
	OffsetsPerGroupMax int
	// MemberBytesMax bounds the subscriptions and the assignment of one member.
	MemberBytesMax int
	// WritesMax bounds the writes of one shard that wait for the disk.
	WritesMax int
}

// EnsureDefaults fills every zero field with its default.
func (o *Options) EnsureDefaults() {
	setDefault(&o.Partitions, PartitionsDefault)
	setDefault(&o.SessionTimeoutMin, SessionTimeoutMinDefault)
	setDefault(&o.SessionTimeoutMax, SessionTimeoutMaxDefault)
	setDefault(&o.InitialRebalanceDelay, InitialRebalanceDelayDefault)
	setDefault(&o.OffsetRetention, OffsetRetentionDefault)
	setDefault(&o.OffsetRetentionCheck, OffsetRetentionCheckDefault)
	setDefault(&o.OffsetMetadataMaxBytes, OffsetMetadataMaxBytesDefault)
	setDefault(&o.GroupMaxSize, GroupMaxSizeDefault)
	setDefault(&o.GroupsMax, GroupsMaxDefault)
	setDefault(&o.OffsetsPerGroupMax, OffsetsPerGroupMaxDefault)
	setDefault(&o.MemberBytesMax, MemberBytesMaxDefault)
	setDefault(&o.WritesMax, WritesMaxDefault)
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
}

// Validate refuses what cannot work, and says what would.
func (o *Options) Validate() error {
	if o.OpenLog == nil {
		return errors.New("groups: OpenLog is nil; it must open partitions of the offsets topic")
	}
	if o.SessionTimeoutMin <= 0 || o.SessionTimeoutMin > o.SessionTimeoutMax {
		return fmt.Errorf("groups: session timeout bounds are %v and %v; "+
			"the lower one must be positive and not above the other",
			o.SessionTimeoutMin, o.SessionTimeoutMax)
	}
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Partitions", int64(o.Partitions)},
		{"OffsetRetention", int64(o.OffsetRetention)},
		{"OffsetRetentionCheck", int64(o.OffsetRetentionCheck)},
		{"OffsetMetadataMaxBytes", int64(o.OffsetMetadataMaxBytes)},
		{"GroupMaxSize", int64(o.GroupMaxSize)},
		{"GroupsMax", int64(o.GroupsMax)},
		{"OffsetsPerGroupMax", int64(o.OffsetsPerGroupMax)},
		{"MemberBytesMax", int64(o.MemberBytesMax)},
		{"WritesMax", int64(o.WritesMax)},
	} {
		if f.value <= 0 {
			return fmt.Errorf("groups: %s is %d; use 0 for the default or a positive value",
				f.name, f.value)
		}
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
