package replication

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// FetchRead is what one Fetch asks of one partition.
type FetchRead struct {
	From     batch.Offset
	MaxBytes int
	// MinOne returns a first batch whole even if it is larger than MaxBytes.
	MinOne bool
	// CurrentEpoch is the leader epoch that the client knows, or -1.
	CurrentEpoch batch.LeaderEpoch
	// LastFetchedEpoch is the epoch of the last batch that the client has, or -1.
	LastFetchedEpoch batch.LeaderEpoch
	// ReadCommitted bounds the read by the last stable offset.
	ReadCommitted bool
}

// EpochEnd is where a leader epoch ends in this log.
type EpochEnd struct {
	Epoch batch.LeaderEpoch
	End   batch.Offset
}

// FetchState is what a Fetch answer says of a partition beside its records.
type FetchState struct {
	HighWatermark batch.Offset
	LastStable    batch.Offset
	LogStart      batch.Offset
	LeaderEpoch   batch.LeaderEpoch
	// Diverging is set when the client's log and this one part before the asked offset.
	Diverging *EpochEnd
}

// Read appends whole batches from an offset on to dst, up to the high watermark. At the high
// watermark and up to the log's end it returns nothing; beyond, or below the log's start, it is
// log.ErrOffsetOutOfRange. The state is valid with that error, too.
func (p *Partition) Read(dst []byte, r FetchRead) ([]byte, FetchState, error) {
	// All three only rise: in this order, and with the bound, they are never above each other.
	state := FetchState{LogStart: p.LogStart(), LeaderEpoch: p.epoch}
	state.HighWatermark = p.HighWatermark()
	state.LastStable = min(p.LastStable(), state.HighWatermark)
	if err := p.CheckEpoch(r.CurrentEpoch); err != nil {
		return dst, state, err
	}
	if err := p.inService(); err != nil {
		return dst, state, err
	}
	if r.LastFetchedEpoch >= 0 {
		epoch, end := p.EpochEnd(r.LastFetchedEpoch)
		if epoch < 0 {
			return dst, state, fmt.Errorf("%w: nothing is known of leader epoch %d of partition %s",
				log.ErrOffsetOutOfRange, r.LastFetchedEpoch, p.Name())
		}
		if epoch < r.LastFetchedEpoch || end < r.From {
			state.Diverging = &EpochEnd{Epoch: epoch, End: end}
			return dst, state, nil
		}
	}
	if r.From < state.LogStart || r.From > p.log.End() {
		return dst, state, fmt.Errorf("%w: %d is not within %d to %d of partition %s",
			log.ErrOffsetOutOfRange, r.From, state.LogStart, p.log.End(), p.Name())
	}
	bound := state.HighWatermark
	if r.ReadCommitted {
		bound = state.LastStable
	}
	if r.From >= bound {
		return dst, state, nil
	}
	out, err := p.log.Read(dst, log.ReadRequest{
		From: r.From, Bound: bound, MaxBytes: r.MaxBytes, MinOne: r.MinOne, SkipEmpty: true,
	})
	if err != nil {
		return dst, state, p.readError(err)
	}
	return out, state, nil
}

// inService returns why a partition is not served, if it is not.
func (p *Partition) inService() error {
	if !p.closed.Load() {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.closed
}

// readError takes a partition offline in which a read found damage, or which the disk refuses to
// read: a batch that cannot be read is never skipped. A want of file handles passes.
func (p *Partition) readError(err error) error {
	if passes(err) {
		return fmt.Errorf("%w: partition %s: %w", ErrStorage, p.Name(), err)
	}
	if errors.Is(err, log.ErrCorrupt) || errors.Is(err, log.ErrUnreadable) {
		p.goOffline(err)
		return &OfflineError{Partition: p.Name(), Err: err}
	}
	return err
}

// CheckEpoch compares the leader epoch that a client knows with this one; -1 checks nothing.
func (p *Partition) CheckEpoch(current batch.LeaderEpoch) error {
	switch {
	case current < 0 || current == p.epoch:
		return nil
	case current < p.epoch:
		return fmt.Errorf("%w: %d, partition %s is at %d",
			ErrFencedLeaderEpoch, current, p.Name(), p.epoch)
	default:
		return fmt.Errorf("%w: %d, partition %s is at %d",
			ErrUnknownLeaderEpoch, current, p.Name(), p.epoch)
	}
}

// EpochEnd returns the largest epoch not above e that this log has, and where it ends: the start of
// the next one, or the log's end for the current one (KIP-320). It is -1, -1 if there is none.
func (p *Partition) EpochEnd(e batch.LeaderEpoch) (batch.LeaderEpoch, batch.Offset) {
	if e == p.epoch {
		return e, p.log.End() // The current epoch, with or without a record in it yet.
	}
	if e > p.epoch {
		return -1, -1
	}
	if e > p.log.LastEpoch() {
		// This node has led in that epoch and written nothing in it, nor since. A client may know
		// it all the same, from ListOffsets; to be told "unknown" would make it begin anew.
		return e, p.log.End()
	}
	return p.log.EpochEnd(e)
}

// Special timestamps of ListOffsets.
const (
	LatestTimestamp   = -1
	EarliestTimestamp = -2
	MaxTimestamp      = -3
)

// FoundOffset answers ListOffsets. Offset is -1 if there is no such record.
type FoundOffset struct {
	Offset    batch.Offset
	Timestamp clock.UnixMs // -1 for the special timestamps that name a position only
	Epoch     batch.LeaderEpoch
}

var nothingFound = FoundOffset{Offset: -1, Timestamp: -1, Epoch: -1}

// OffsetForTime finds the first record at or after a time, or what a special timestamp names.
func (p *Partition) OffsetForTime(ts int64, readCommitted bool) (FoundOffset, error) {
	bound := p.HighWatermark()
	if readCommitted {
		bound = p.LastStable()
	}
	if err := p.inService(); err != nil {
		return nothingFound, err
	}
	var found FoundOffset
	err := p.log.FromStart(func() (err error) {
		found, err = p.lookUp(ts, bound)
		return err
	})
	return found, err
}

// lookUp is OffsetForTime once: what a deletion takes in between is log.ErrOffsetOutOfRange.
func (p *Partition) lookUp(ts int64, bound batch.Offset) (FoundOffset, error) {
	switch ts {
	case LatestTimestamp:
		return FoundOffset{Offset: bound, Timestamp: -1, Epoch: p.epoch}, nil
	case EarliestTimestamp:
		start := p.LogStart()
		epoch, err := p.epochAt(start)
		return FoundOffset{Offset: start, Timestamp: -1, Epoch: epoch}, err
	case MaxTimestamp:
		return p.found(p.log.MaxTimestamp(bound))
	}
	return p.found(p.log.OffsetForTime(clock.UnixMs(ts), bound))
}

// found completes what a look-up by time gave.
func (p *Partition) found(
	offset batch.Offset, at clock.UnixMs, ok bool, err error,
) (FoundOffset, error) {
	if err != nil {
		return nothingFound, p.readError(err)
	}
	if !ok {
		return nothingFound, nil
	}
	epoch, err := p.epochAt(offset)
	if err != nil {
		return nothingFound, err
	}
	return FoundOffset{Offset: offset, Timestamp: at, Epoch: epoch}, nil
}

// epochAt returns the leader epoch of the batch at an offset; past the last one, the current epoch.
func (p *Partition) epochAt(offset batch.Offset) (batch.LeaderEpoch, error) {
	epoch := p.epoch
	if offset >= p.log.End() {
		return epoch, nil
	}
	err := p.log.Headers(offset, offset+1, func(h batch.Batch, _ int) error {
		epoch = h.LeaderEpoch()
		return nil
	})
	if err != nil {
		return -1, p.readError(err)
	}
	return epoch, nil
}

// ReadAll passes every batch from an offset up to the high watermark to fn.
func (p *Partition) ReadAll(from batch.Offset, fn func(b batch.Batch) error) error {
	return p.log.Batches(from, p.HighWatermark(), fn)
}
