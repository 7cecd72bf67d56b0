package replication

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// logKind says which of a partition's two logs is meant.
type logKind uint8

const (
	visible logKind = iota // the partition log
	staging                // its hidden companion
)

const (
	// producerWindowBatches is how many of a producer's latest batches are known by sequence, as in
	// Kafka (ProducerStateEntry.NUM_BATCHES_TO_RETAIN): a client has at most five in flight.
	producerWindowBatches = 5
	// producerExpirationMs is how long an idle producer id is remembered
	// (producer.id.expiration.ms).
	producerExpirationMs = 24 * 3600 * 1000
	// producersMax bounds the producers remembered per partition. At the bound the quarter that was
	// idle longest is forgotten: to the server they then are new producers.
	producersMax = 100_000
)

// windowEntry is one accepted batch.
type windowEntry struct {
	first, last batch.Sequence
	kind        logKind
	base, end   batch.Offset // in the log of that kind: its first offset and one past its last
	appendMs    clock.UnixMs // log append time that was answered, or -1
	ack         *Ack         // nil once it is known to be done, and for a replayed batch
	replayed    bool         // accepted before the last start
}

// producerState is what is known of one producer id.
type producerState struct {
	epoch    batch.ProducerEpoch
	entries  []windowEntry // oldest first, at most producerWindowBatches
	activeMs clock.UnixMs  // time of its last batch
	gate     gateState
}

// producerWindow judges sequences. It is a pure structure: its owner is the partition's mutex.
type producerWindow struct {
	byID map[batch.ProducerID]*producerState
}

func newProducerWindow() *producerWindow {
	return &producerWindow{byID: map[batch.ProducerID]*producerState{}}
}

// judge says what a batch of a producer is: new (nil, nil), a duplicate of an accepted one (entry,
// nil), or refused. It changes nothing; accept does, once the batch is in a log.
//
// The rules are Kafka's (ProducerAppendInfo.checkSequence and
// ProducerStateEntry.findDuplicateBatch): a duplicate equals one of the last five in first and last
// sequence; an unknown producer may begin anywhere; a new epoch begins at zero; otherwise a batch
// follows its predecessor.
func (w *producerWindow) judge(b batch.Batch) (*windowEntry, error) {
	s := w.byID[b.ProducerID()]
	if s == nil || mutant.On(mutant.NoDedupe) {
		return nil, nil
	}
	if b.ProducerEpoch() < s.epoch {
		return nil, fmt.Errorf("%w: producer %d sent epoch %d, the current one is %d",
			ErrInvalidProducerEpoch, b.ProducerID(), b.ProducerEpoch(), s.epoch)
	}
	first, last := b.BaseSequence(), b.LastSequence()
	if b.ProducerEpoch() > s.epoch {
		if first != 0 {
			return nil, fmt.Errorf("%w: producer %d began epoch %d at sequence %d, not 0",
				ErrOutOfOrderSequence, b.ProducerID(), b.ProducerEpoch(), first)
		}
		return nil, nil
	}
	for i := range s.entries {
		if s.entries[i].first == first && s.entries[i].last == last {
			return &s.entries[i], nil
		}
	}
	if len(s.entries) == 0 {
		return nil, nil
	}
	want := nextSequence(s.entries[len(s.entries)-1].last)
	if first != want {
		return nil, fmt.Errorf("%w: producer %d epoch %d sent sequence %d, expected %d",
			ErrOutOfOrderSequence, b.ProducerID(), b.ProducerEpoch(), first, want)
	}
	return nil, nil
}

// nextSequence wraps from the largest sequence to zero, as Kafka's DefaultRecordBatch does.
func nextSequence(s batch.Sequence) batch.Sequence {
	if s == math.MaxInt32 {
		return 0
	}
	return s + 1
}

// accept remembers a batch that was appended.
func (w *producerWindow) accept(b batch.Batch, e windowEntry, now clock.UnixMs) *producerState {
	s := w.byID[b.ProducerID()]
	if s == nil {
		if len(w.byID) >= producersMax {
			w.forgetIdlest(producersMax / 4)
		}
		s = &producerState{}
		w.byID[b.ProducerID()] = s
	}
	if b.ProducerEpoch() != s.epoch {
		s.epoch = b.ProducerEpoch()
		s.entries = s.entries[:0]
	}
	for i := range s.entries {
		if s.entries[i].ack != nil && s.entries[i].ack.IsDone() {
			s.entries[i].ack = nil // The entry itself knows the answer; the channel can go.
		}
	}
	s.entries = append(s.entries, e)
	if over := len(s.entries) - producerWindowBatches; over > 0 {
		s.entries = slices.Delete(s.entries, 0, over)
	}
	s.activeMs = max(s.activeMs, now)
	return s
}

// expire forgets producers that were idle for longer than producerExpirationMs.
func (w *producerWindow) expire(now clock.UnixMs) (forgotten int) {
	for id, s := range w.byID {
		if now-s.activeMs > producerExpirationMs {
			delete(w.byID, id)
			forgotten++
		}
	}
	return forgotten
}

// inFlight reports whether a batch waits for its answer: its retry must be known.
func (s *producerState) inFlight() bool {
	return slices.ContainsFunc(s.entries, func(e windowEntry) bool {
		return e.ack != nil && !e.ack.IsDone()
	})
}

func (w *producerWindow) forgetIdlest(n int) {
	ids := make([]batch.ProducerID, 0, len(w.byID))
	for id, s := range w.byID {
		if !s.inFlight() {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b batch.ProducerID) int {
		return cmp.Compare(w.byID[a].activeMs, w.byID[b].activeMs)
	})
	for _, id := range ids[:min(n, len(ids))] {
		delete(w.byID, id)
	}
}

// windowReplay rebuilds a window from a snapshot and the batches of both logs that follow it. The
// two logs are read one after the other, so a producer's batches do not arrive in the order in
// which they were accepted; finish puts them back into the order of epoch and sequence.
type windowReplay struct {
	window *producerWindow
	from   [2]batch.Offset // by logKind: batches below are in the snapshot already
	read   *partitionRead  // counts what is read; nil counts nothing
}

// add takes a batch header of one log.
func (r *windowReplay) add(kind logKind, b batch.Batch) {
	if b.ProducerID() < 0 || b.BaseOffset() < r.from[kind] {
		return
	}
	s := r.window.byID[b.ProducerID()]
	if s == nil {
		s = &producerState{epoch: b.ProducerEpoch()}
		r.window.byID[b.ProducerID()] = s
	}
	if b.ProducerEpoch() < s.epoch {
		return // Only the current epoch's batches can be retried.
	}
	if b.ProducerEpoch() > s.epoch {
		s.epoch = b.ProducerEpoch()
		s.entries = s.entries[:0]
	}
	e := windowEntry{
		first: b.BaseSequence(), last: b.LastSequence(), kind: kind,
		base: b.BaseOffset(), end: b.LastOffset() + 1, appendMs: -1, replayed: true,
	}
	if kind == visible && b.TimestampType() == batch.LogAppendTime {
		e.appendMs = b.MaxTimestamp()
	}
	s.entries = append(s.entries, e)
	s.activeMs = max(s.activeMs, b.MaxTimestamp())
	s.gate.note(kind, e.end, kind == staging)
	s.trimReplayed()
}

// trimReplayed keeps memory bounded while one log is read: of each log only the last five can
// matter.
func (s *producerState) trimReplayed() {
	if len(s.entries) < 4*producerWindowBatches {
		return
	}
	s.order()
	s.entries = slices.Delete(s.entries, 0, len(s.entries)-2*producerWindowBatches)
}

// order sorts by sequence with wrap-around.
func (s *producerState) order() {
	slices.SortStableFunc(s.entries, func(a, b windowEntry) int {
		return compareSequences(a.first, b.first)
	})
}

// compareSequences orders two sequences of one epoch that are less than 2^30 apart: sequences count
// modulo 2^31, and the one that is reached from the other by the shorter way up comes later.
func compareSequences(a, b batch.Sequence) int {
	switch d := uint32(a-b) & math.MaxInt32; {
	case d == 0:
		return 0
	case d < 1<<30:
		return 1
	default:
		return -1
	}
}

// finish orders every producer's batches and keeps the last five.
func (r *windowReplay) finish() {
	for _, s := range r.window.byID {
		s.order()
		if over := len(s.entries) - producerWindowBatches; over > 0 {
			s.entries = slices.Delete(s.entries, 0, over)
		}
	}
}
