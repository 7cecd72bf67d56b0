package metadata

import (
	"encoding/json"
	"fmt"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Command is one change of the metadata. Exactly one of its fields is set.
type Command struct {
	FormatCluster *FormatCluster `json:"format_cluster,omitempty"`
	CreateTopic   *CreateTopic   `json:"create_topic,omitempty"`
	DeleteTopic   *DeleteTopic   `json:"delete_topic,omitempty"`
	PurgedTopic   *PurgedTopic   `json:"purged_topic,omitempty"`
	SetConfigs    *SetConfigs    `json:"set_configs,omitempty"`
	RaiseEpochs   *RaiseEpochs   `json:"raise_epochs,omitempty"`
	TakeIDs       *TakeIDs       `json:"take_ids,omitempty"`
}

// FormatCluster gives the cluster its id and the data directory its node, once.
type FormatCluster struct {
	ClusterID string `json:"cluster_id"`
	Node      int32  `json:"node"`
}

// CreateTopic adds a topic. Partition numbers are given by Apply.
type CreateTopic struct {
	Name       string            `json:"name"`
	ID         TopicID           `json:"id"`
	Internal   bool              `json:"internal,omitempty"`
	Assignment [][]int32         `json:"assignment"` // by partition index: replica node ids
	Configs    map[string]string `json:"configs,omitempty"`
}

// DeleteTopic removes a topic by id, so that a late delete never hits a topic made anew.
type DeleteTopic struct {
	ID TopicID `json:"id"`
}

// PurgedTopic says that nothing of a deleted topic is left on disk, so that it can be forgotten.
type PurgedTopic struct {
	ID TopicID `json:"id"`
}

// SetConfigs replaces single configs of a topic; a nil value returns one to its default.
type SetConfigs struct {
	ID  TopicID            `json:"id"`
	Set map[string]*string `json:"set"`
}

// RaiseEpochs raises the leader epoch of every partition that a node leads. A node proposes it once
// at each start, so that nothing written before a crash shares an epoch with anything after it.
type RaiseEpochs struct {
	Node int32 `json:"node"`
}

// TakeIDs hands out the next Count producer ids.
type TakeIDs struct {
	Count int64 `json:"count"`
}

// Result is what applying a command gave.
type Result struct {
	Topic        *Topic           // CreateTopic, SetConfigs, DeleteTopic
	FirstID      batch.ProducerID // TakeIDs
	LastIDPlus   batch.ProducerID // TakeIDs: one past the last id of the block
	EpochsRaised int              // RaiseEpochs
}

// encode writes the command as JSON: commands are rare, and a readable log helps who debugs it.
func (c Command) encode() ([]byte, error) { return json.Marshal(c) }

func decodeCommand(p []byte) (Command, error) {
	var c Command
	if err := json.Unmarshal(p, &c); err != nil {
		return c, fmt.Errorf("%w: %w", ErrCorruptCommand, err)
	}
	return c, nil
}
