package replication

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// ProducersName is the file in a partition's folder that holds its producer snapshot.
const ProducersName = producerFile

// ProducerSnapshot is the producer window of a partition as its snapshot file holds it.
type ProducerSnapshot struct {
	LogEnd         batch.Offset // LogEnd is the end of the partition log up to which it holds all.
	StagingEnd     batch.Offset
	LastDeliveryMs clock.UnixMs
	Producers      []InspectedProducer // Producers are sorted by id.
}

// InspectedProducer is one idempotent producer of a snapshot.
type InspectedProducer struct {
	ID       batch.ProducerID
	Epoch    batch.ProducerEpoch
	ActiveMs clock.UnixMs
	Batches  []InspectedProducerBatch // Batches are its last ones, oldest first.
}

// InspectedProducerBatch is one of the batches by which a duplicate is known.
type InspectedProducerBatch struct {
	First, Last batch.Sequence
	Staged      bool         // Staged says in which of the two logs it is.
	Base, End   batch.Offset // of that log
	AppendMs    clock.UnixMs
}

// InspectProducers reads a producer snapshot file.
func InspectProducers(fsys vfs.FS, path string) (ProducerSnapshot, error) {
	data, err := fsys.ReadFile(path)
	if err != nil {
		return ProducerSnapshot{}, err
	}
	window, at, err := decodeProducers(data)
	if err != nil {
		return ProducerSnapshot{}, fmt.Errorf("producer snapshot %s: %w", path, err)
	}
	s := ProducerSnapshot{
		LogEnd: at.ends[visible], StagingEnd: at.ends[staging], LastDeliveryMs: at.lastDeliveryMs,
	}
	for id, state := range window.byID {
		p := InspectedProducer{ID: id, Epoch: state.epoch, ActiveMs: state.activeMs}
		for _, e := range state.entries {
			p.Batches = append(p.Batches, InspectedProducerBatch{
				First: e.first, Last: e.last, Staged: e.kind == staging, Base: e.base, End: e.end,
				AppendMs: e.appendMs,
			})
		}
		s.Producers = append(s.Producers, p)
	}
	slices.SortFunc(s.Producers, func(a, b InspectedProducer) int { return cmp.Compare(a.ID, b.ID) })
	return s, nil
}
