package crash

import (
	"bytes"
	"fmt"
	"slices"
	"sync"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// model is what the history knows of one log: what it wrote there, and what it was promised.
type model struct {
	mu sync.Mutex // a committer tells of flushes from its own goroutines
	promise
}

// promise is a state of a model. Its slices are never changed in place.
type promise struct {
	batches []stored // in order, with the one that is being written
	flushed int64    // below it nothing may be lost
	start   int64    // below it nothing is served
	startTo int64    // the start that is being set, or may have been; else start
	epoch   int32    // an epoch that must not be forgotten
	// compacted is up to where records may be gone that have a later one with their key.
	compacted int64
}

func (m *model) snapshot() promise {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.promise
}

func (m *model) update(f func(p *promise)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.promise)
}

// end returns the offset behind all that was written.
func (p *promise) end() int64 {
	if len(p.batches) == 0 {
		return 0
	}
	return p.batches[len(p.batches)-1].end
}

// between returns the bytes of the batches that hold offsets in [from, to).
func (p *promise) between(from, to int64) []byte {
	var all []byte
	for _, b := range p.batches {
		if b.end > from && b.base < to {
			all = append(all, b.raw...)
		}
	}
	return all
}

// endsWhole reports whether a batch ends there.
func (p *promise) endsWhole(end int64) bool {
	return end == 0 || slices.ContainsFunc(p.batches, func(b stored) bool { return b.end == end })
}

// judgeOpened checks a log that was opened after a crash against what was promised before it.
func (p promise) judgeOpened(l *log.Log) error {
	start, end := int64(l.Start()), int64(l.End())
	switch {
	case start != p.start && start != p.startTo:
		return fmt.Errorf("the start is %d; it was %d, or %d", start, p.start, p.startTo)
	case end < p.flushed:
		return fmt.Errorf("the log ends at %d, all below %d was flushed", end, p.flushed)
	case end > p.end() || !p.endsWhole(end) && end != start:
		return fmt.Errorf("the log ends at %d, where no batch ends; %d was the end", end, p.end())
	case int64(l.FlushedEnd()) != end:
		return fmt.Errorf("the log ends at %d and calls %d flushed", end, l.FlushedEnd())
	case int32(l.LastEpoch()) < p.epoch:
		return fmt.Errorf("the epoch is %d, it was %d", l.LastEpoch(), p.epoch)
	}
	return p.judgeReads(l)
}

// lookupsOf is how many offsets there are for each at which single lookups are tried.
const lookupsOf = 3

// judgeReads reads all of a log and looks times up in it.
func (p *promise) judgeReads(l *log.Log) error {
	start, end := int64(l.Start()), int64(l.End())
	got, err := readAll(l)
	if err != nil {
		return err
	}
	if p.compacted > 0 {
		return p.judgeCompacted(got, start, end)
	}
	want := p.between(start, end)
	if !bytes.Equal(got, want) {
		return fmt.Errorf("offsets %d to %d: read %d bytes, %d were written; first difference at byte %d",
			start, end, len(got), len(want), firstDifference(got, want))
	}
	for _, b := range p.batches {
		if b.base < start || b.end > end || (b.base+end)%lookupsOf != 0 {
			continue
		}
		if err := judgeOne(l, b); err != nil {
			return err
		}
		if err := p.judgeTime(l, b.maxTime); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads from the start to the end, as a consumer does: on from where the last batch ended.
func readAll(l *log.Log) (all []byte, err error) {
	for next := l.Start(); next < l.End(); {
		n := len(all)
		r := log.ReadRequest{From: next, Bound: l.End(), MaxBytes: 1 << 20, MinOne: true}
		if all, err = l.Read(all, r); err != nil {
			return all, fmt.Errorf("read from %d: %w", next, err)
		}
		if len(all) == n {
			return all, fmt.Errorf("nothing was read from %d, the end is %d", next, l.End())
		}
		for n < len(all) {
			b, err := parse(all[n:])
			if err != nil || b == nil {
				return all, fmt.Errorf("behind %d no batch was read: %w", next, err)
			}
			next, n = log.Offset(b.end), n+len(b.raw)
		}
	}
	return all, nil
}

// judgeOne reads one batch by the offset of its last record, through the index.
func judgeOne(l *log.Log, b stored) error {
	got, err := l.Read(nil, log.ReadRequest{
		From: log.Offset(b.end - 1), Bound: log.Offset(b.end), MinOne: true,
	})
	if err != nil || !bytes.Equal(got, b.raw) {
		return fmt.Errorf("read of offset %d: %d bytes, not the %d of its batch: %w", b.end-1, len(got), len(b.raw), err)
	}
	return nil
}

// judgeTime compares a lookup by time with a walk over all batches. The records of a batch here all
// have the same timestamp.
func (p *promise) judgeTime(l *log.Log, ms int64) error {
	o, t, ok, err := l.OffsetForTime(log.UnixMs(ms), l.End())
	if err != nil {
		return fmt.Errorf("offset for time %d: %w", ms, err)
	}
	for _, b := range p.batches {
		if b.end <= int64(l.Start()) || b.base >= int64(l.End()) || b.maxTime < ms {
			continue
		}
		want := max(b.base, int64(l.Start()))
		if !ok || int64(o) != want || int64(t) != b.maxTime {
			return fmt.Errorf("offset for time %d is %d at %d (%v), not %d at %d", ms, o, t, ok, want, b.maxTime)
		}
		return nil
	}
	return fmt.Errorf("no record at or after %d, found %d", ms, o)
}

// judgeFiles reads the files of a log that was opened and not written since, without its help.
func (p promise) judgeFiles(fs vfs.FS, dir string, l *log.Log) error {
	if p.compacted > 0 {
		return nil // offsets are not dense, and lookups find what was left
	}
	all, err := readSegments(fs, dir)
	if err != nil {
		return fmt.Errorf("the files: %w", err)
	}
	var got []byte
	for _, b := range all {
		if b.end > int64(l.Start()) {
			got = append(got, b.raw...)
		}
	}
	if want := p.between(int64(l.Start()), int64(l.End())); !bytes.Equal(got, want) {
		return fmt.Errorf("the files in %s hold %d bytes from %d to %d, %d were written; difference at byte %d",
			dir, len(got), l.Start(), l.End(), len(want), firstDifference(got, want))
	}
	return nil
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
