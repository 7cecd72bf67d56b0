package metadata

import "errors"

// Refusals of a command or a look-up. Callers wrap them with the name and the rule.
var (
	// ErrTopicExists means that a topic of this name exists already.
	ErrTopicExists = errors.New("topic exists already")
	// ErrUnknownTopic means that no topic has this name.
	ErrUnknownTopic = errors.New("unknown topic")
	// ErrUnknownTopicID means that no topic has this id.
	ErrUnknownTopicID = errors.New("unknown topic id")
	// ErrInvalidTopic means that the name breaks Kafka's rules, or collides with another one.
	ErrInvalidTopic = errors.New("invalid topic name")
	// ErrInvalidPartitions means that the number of partitions is not usable.
	ErrInvalidPartitions = errors.New("invalid number of partitions")
	// ErrInvalidReplicationFactor means that there are not that many nodes.
	ErrInvalidReplicationFactor = errors.New("invalid replication factor")
	// ErrInvalidReplicaAssignment means that an explicit assignment cannot be followed.
	ErrInvalidReplicaAssignment = errors.New("invalid replica assignment")
	// ErrInvalidConfig means that a config name is unknown or its value is refused.
	ErrInvalidConfig = errors.New("invalid config")
	// ErrCorruptCommand means that a durable command cannot be read, which only damage on disk or
	// a newer version explains.
	ErrCorruptCommand = errors.New("unreadable metadata command")
	// ErrCorruptSnapshot means that the snapshot is not what was once written. The store does not
	// open: to go on without it would hand out ids and epochs a second time.
	ErrCorruptSnapshot = errors.New("metadata snapshot is damaged")
	// ErrClosed means that the store was closed or has failed.
	ErrClosed = errors.New("metadata store is closed")
)
