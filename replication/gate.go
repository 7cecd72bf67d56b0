package replication

import "github.com/chronosdb/chronosdb/log/batch"

// gateState remembers, for one producer, how far its batches reach into each log. It is what keeps
// a producer's own batches a prefix across the two logs: whatever part of each log survives a
// crash, no batch survives that came after a lost one.
//
// Without it, a crash could keep batch 2 in one log and lose batch 1 in the other, since each log
// is flushed on its own; and batch 2 in the partition log could be read before a due-now record of
// batch 1 that still waits in the staging log.
type gateState struct {
	ends   [2]batch.Offset // by logKind: one past the last batch of this producer
	nowEnd batch.Offset    // staging: one past its last batch that held due-now records
}

// note records an append. dueNow says that a staged batch held records that were due at once.
func (g *gateState) note(kind logKind, end batch.Offset, dueNow bool) {
	g.ends[kind] = max(g.ends[kind], end)
	if kind == staging && dueNow {
		g.nowEnd = max(g.nowEnd, end)
	}
}

// open reports whether the producer's next batch may go to the given log now: its batches in the
// other log are below that log's high watermark, and its due-now records are in the partition log.
func (g *gateState) open(to logKind, m marks) bool {
	if to == staging {
		return g.ends[visible] <= m.hw[visible]
	}
	return g.ends[staging] <= m.hw[staging] && g.nowEnd <= m.nowDone
}

// marks are the moving points that the gate and the acknowledgements wait for.
type marks struct {
	hw      [2]batch.Offset // by logKind
	nowDone batch.Offset    // staging: due-now records below it are in the partition log
}

// originGatesMax bounds the partitions that one connection is remembered for. At the bound the ones
// that have nothing to wait for, or have closed, are forgotten; each of the others has batches in
// flight, whose number is bounded by the connection's own limits.
const originGatesMax = 1024

// Origin is the place that producers without a producer id come from: one connection. It holds
// their gate states. It belongs to the goroutine that calls Append for that connection.
type Origin struct {
	gates map[*Partition]*gateState
}

// NewOrigin returns the origin of a new connection.
func NewOrigin() *Origin { return &Origin{gates: map[*Partition]*gateState{}} }

// gate returns the state for a partition, making it if need be.
func (o *Origin) gate(p *Partition) *gateState {
	g := o.gates[p]
	if g == nil {
		if len(o.gates) >= originGatesMax {
			for other, state := range o.gates {
				m := other.marks()
				if other.closed.Load() || state.open(visible, m) && state.open(staging, m) {
					delete(o.gates, other)
				}
			}
		}
		g = &gateState{}
		o.gates[p] = g
	}
	return g
}
