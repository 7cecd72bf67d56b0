package crash

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log"
)

// keyCount is how many keys the records of a history have.
const keyCount = 4

func keyOf(mark uint64) []byte { return fmt.Appendf(nil, "key %d", mark%keyCount) }

// compact keeps the last record of each key in the sealed segments of one log. From then on, records
// below may be gone that have a later one, and only those.
func (w *world) compact() error {
	const i = logCount - 1 // always the same log, so that the others stay as they were written
	l, m := w.node.logs[i], w.models[i]
	if err := w.checkpoint(l.Checkpoint); err != nil {
		return err
	}
	plan := l.PlanCompaction(log.CompactionPolicy{Bound: l.End(), MaxLagMs: math.MaxInt64}, log.UnixMs(w.nowMs))
	if plan.To == plan.From {
		return nil
	}
	m.update(func(p *promise) { p.compacted = max(p.compacted, int64(plan.To)) })
	done, err := l.Compact(log.CompactionRequest{To: plan.To, Now: log.UnixMs(w.nowMs), DeleteRetentionMs: 1000})
	w.totals.replaced += int64(done.Segments)
	return err
}

// keyedRecord is one record of a log, as this package reads it.
type keyedRecord struct {
	offset     int64
	key, value string
}

// recordsOf returns the records of batches that lie back to back.
func recordsOf(p []byte) ([]keyedRecord, error) {
	var all []keyedRecord
	for len(p) > 0 {
		b, err := parse(p)
		if err != nil || b == nil {
			return nil, fmt.Errorf("no batch: %w", err)
		}
		rest := b.raw[headerBytes:]
		for range binary.BigEndian.Uint32(b.raw[headerBytes-4:]) {
			n, width := binary.Varint(rest)
			if width <= 0 || n < 0 || int64(len(rest)-width) < n {
				return nil, fmt.Errorf("a record of %d bytes where %d are left", n, len(rest))
			}
			var r kmsg.Record
			if err := r.ReadFrom(rest[:width+int(n)]); err != nil {
				return nil, fmt.Errorf("a record of the batch at %d: %w", b.base, err)
			}
			all = append(all, keyedRecord{b.base + int64(r.OffsetDelta), string(r.Key), string(r.Value)})
			rest = rest[width+int(n):]
		}
		p = p[len(b.raw):]
	}
	return all, nil
}

// judgeCompacted checks what is left of a log that was compacted up to an offset, perhaps.
func (p *promise) judgeCompacted(got []byte, start, end int64) error {
	left, err := recordsOf(got)
	if err != nil {
		return err
	}
	written, err := recordsOf(p.between(start, end))
	if err != nil {
		return err
	}
	at := map[int64]keyedRecord{}
	last := map[string]int64{} // of the compacted part
	for _, r := range written {
		at[r.offset] = r
		if r.offset < p.compacted {
			last[r.key] = r.offset
		}
	}
	there := map[int64]bool{}
	before := int64(-1)
	for _, r := range left {
		if at[r.offset] != r || r.offset <= before {
			return fmt.Errorf("offset %d, behind %d, has a record that was not written there", r.offset, before)
		}
		there[r.offset], before = true, r.offset
	}
	for _, r := range written {
		if r.offset >= start && !there[r.offset] && (r.offset >= p.compacted || last[r.key] == r.offset) {
			return fmt.Errorf("offset %d is gone, the last of %q; compacted below %d", r.offset, r.key, p.compacted)
		}
	}
	return nil
}
