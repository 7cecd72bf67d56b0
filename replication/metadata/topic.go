package metadata

import (
	"encoding/hex"
	"fmt"

	"github.com/chronosdb/chronosdb/log/batch"
)

// TopicID names a topic for ever: a topic that is deleted and created again gets another one.
type TopicID [16]byte

// String returns the id as 32 hexadecimal digits, the form that directory names use.
func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

// IsZero reports whether the id is the all-zero one, which the protocol uses for "none".
func (id TopicID) IsZero() bool { return id == TopicID{} }

// MarshalText writes the 32 digits, so that commands and snapshots are readable JSON.
func (id TopicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the 32 digits.
func (id *TopicID) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(id) {
		return fmt.Errorf("topic id %q is not %d hexadecimal digits", text, 2*len(id))
	}
	_, err := hex.Decode(id[:], text)
	return err
}

// PartitionNumber names a partition within a data directory. It is never used twice, so that what
// an index kept of a deleted partition can never be taken for a new one's.
type PartitionNumber uint64

// PartitionMeta is what the cluster knows of one partition.
type PartitionMeta struct {
	Number      PartitionNumber   `json:"number"`
	Leader      int32             `json:"leader"`       // node id
	LeaderEpoch batch.LeaderEpoch `json:"leader_epoch"` // rises at every start of the leader
	Replicas    []int32           `json:"replicas"`     // node ids, the preferred leader first
	ISR         []int32           `json:"isr"`          // node ids
}

// Topic is an immutable description: a change makes a new Topic.
type Topic struct {
	Name       string            `json:"name"`
	ID         TopicID           `json:"id"`
	Internal   bool              `json:"internal,omitempty"` // clients may read it, not produce to it
	Partitions []PartitionMeta   `json:"partitions"`         // by partition index
	Configs    map[string]string `json:"configs,omitempty"`  // only what was set explicitly
	Config     TopicConfig       `json:"-"`                  // Configs over the defaults, parsed
}

// MaxTopicNameBytes is Kafka's limit on a topic name, which leaves room for a partition suffix in a
// file name (org.apache.kafka.common.internals.Topic, MAX_NAME_LENGTH).
const MaxTopicNameBytes = 249

// ValidTopicName checks a name by Kafka's rule: 1 to 249 of [a-zA-Z0-9._-], not "." or "..".
func ValidTopicName(name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidTopic)
	}
	if name == "." || name == ".." {
		return fmt.Errorf("%w: it cannot be %q", ErrInvalidTopic, name)
	}
	if len(name) > MaxTopicNameBytes {
		return fmt.Errorf("%w: it is %d bytes long, the limit is %d",
			ErrInvalidTopic, len(name), MaxTopicNameBytes)
	}
	for i := range len(name) {
		if !legalNameByte(name[i]) {
			return fmt.Errorf("%w: %q holds a character other than ASCII letters, digits, '.', '_' and '-'",
				ErrInvalidTopic, name)
		}
	}
	return nil
}

func legalNameByte(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	default:
		return c == '.' || c == '_' || c == '-'
	}
}

// collisionKey maps names that Kafka's metric names could not tell apart to one string: '.' and '_'
// are the same there, and Kafka refuses a second name that differs only in them.
func collisionKey(name string) string {
	key := []byte(name)
	for i, c := range key {
		if c == '.' {
			key[i] = '_'
		}
	}
	return string(key)
}
