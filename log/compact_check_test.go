package log

import (
	"bytes"

	"github.com/chronosdb/chronosdb/log/batch"
)

// check compares all that can be read with the list.
func (m *compactModel) check() {
	if m.crashed != nil {
		return
	}
	got, ok := m.read()
	if !ok {
		return
	}
	clean := m.log.CleanTo()
	there := map[Offset]bool{}
	for _, r := range got {
		there[r.offset] = true
		want := m.records[r.offset]
		want.keepTo, want.dated, want.replaced, want.last = 0, false, false, 0
		if r != want {
			m.fail("read %v, appended %v", r, want)
		}
	}
	newest := map[string]Offset{} // of what compactions have looked at
	newestClean := map[string]Offset{}
	for _, r := range m.records {
		if r.offset < m.tried {
			newest[r.key] = r.offset
		}
		if r.offset < clean {
			newestClean[r.key] = r.offset
		}
	}
	for _, r := range m.records {
		switch {
		case r.offset < m.start || r.replaced:
		case r.offset >= m.tried && !there[r.offset]:
			m.fail("%v is gone, and only what is below %d was compacted", r, m.tried)
		case r.key != "" && r.offset == newest[r.key] && !there[r.offset]:
			if !r.dead || m.now < r.keepTo {
				m.fail("the last of its key is gone at %d: %v, kept to %d", m.now, r, r.keepTo)
			}
			m.totals.TombstonesGone++
		case r.offset < clean && r.key != "" && r.offset < newestClean[r.key] && there[r.offset]:
			m.fail("%v is there below %d, and so is %d", r, clean, newestClean[r.key])
		}
	}
	m.checkProducers()
	m.checkTimes(got)
	m.checkSteps()
}

// read returns all records, by Read, and makes sure that nothing is missing at the end.
func (m *compactModel) read() (got []compactRecord, ok bool) {
	p, err := m.log.Read(nil, ReadRequest{From: m.start, Bound: m.end(), MaxBytes: 1 << 30})
	if m.failed("read", err) {
		return nil, false
	}
	var scanned []byte
	err = m.log.Batches(m.start, m.end(), func(b batch.Batch) error {
		scanned = append(scanned, b...)
		return nil
	})
	if m.failed("scan", err) {
		return nil, false
	}
	if !bytes.Equal(p, scanned) {
		m.fail("Read and Batches differ: %d and %d bytes", len(p), len(scanned))
	}
	last := m.start - 1
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil {
			m.t.Fatal(err)
		}
		if b.Count() == 0 {
			m.totals.Empties++
		}
		got = append(got, m.recordsOf(b)...)
		last, p = b.LastOffset(), rest
	}
	if last != m.end()-1 && m.end() > m.start {
		m.fail("the last batch ends with %d, the log at %d", last, m.end())
	}
	return got, !m.t.Failed()
}

func (m *compactModel) recordsOf(b batch.Batch) (out []compactRecord) {
	r, err := batch.NewReader(b, 1<<20)
	if err != nil {
		m.t.Fatal(err)
	}
	defer r.Close()
	greatest := noTime
	for {
		rec, ok, err := r.Next()
		if err != nil {
			m.t.Fatal(err)
		}
		if !ok {
			break
		}
		one := compactRecord{
			offset: b.BaseOffset() + Offset(rec.OffsetDelta), at: b.Timestamp(rec),
			key: string(rec.Key), value: string(rec.Value), dead: rec.Value == nil,
		}
		greatest = max(greatest, one.at)
		if one.offset >= m.start {
			out = append(out, one)
		}
	}
	if b.Count() > 0 && b.MaxTimestamp() != greatest {
		m.fail("batch at %d claims the greatest timestamp %d, it is %d", b.BaseOffset(), b.MaxTimestamp(),
			greatest)
	}
	return out
}

// checkProducers makes sure that the last batch of each producer is there.
func (m *compactModel) checkProducers() {
	for id, l := range m.last {
		if l.LastOffset < m.start {
			continue
		}
		found := false
		err := m.log.Headers(l.LastOffset, l.LastOffset+1, func(h batch.Batch, _ int) error {
			found = h.ProducerID() == id && h.LastOffset() == l.LastOffset
			return nil
		})
		if m.failed("headers", err) {
			return
		}
		if !found {
			m.fail("the last batch of producer %d, with offset %d, is gone", id, l.LastOffset)
		}
	}
}

func (m *compactModel) checkTimes(got []compactRecord) {
	ts := m.now - UnixMs(m.rng.IntN(2000))
	first, best := noOffset, noOffset
	firstTime, bestTime := noTime, noTime
	for _, r := range got {
		if first == noOffset && r.at >= ts {
			first, firstTime = r.offset, r.at
		}
		if best == noOffset || r.at > bestTime {
			best, bestTime = r.offset, r.at
		}
	}
	o, at, _, err := m.log.OffsetForTime(ts, m.end())
	if m.failed("offset for time", err) {
		return
	}
	if o != first || at != firstTime {
		m.fail("offset for time %d = %d at %d, want %d at %d", ts, o, at, first, firstTime)
	}
	o, at, _, err = m.log.MaxTimestamp(m.end())
	if m.failed("greatest timestamp", err) {
		return
	}
	if at != bestTime || o != best {
		m.fail("greatest timestamp = %d at %d, want %d at %d", o, at, best, bestTime)
	}
}

// checkSteps reads on from a random offset as a client does that takes one batch at a time: it
// must get to the end, and never meet an answer without records.
func (m *compactModel) checkSteps() {
	if m.end() == m.start {
		return
	}
	next := m.start + Offset(m.rng.Int64N(int64(m.end()-m.start)))
	for next < m.end() {
		p, err := m.log.Read(nil, ReadRequest{
			From: next, Bound: m.end(), MaxBytes: m.rng.IntN(200), MinOne: true, SkipEmpty: true,
		})
		if m.failed("read", err) {
			return
		}
		if len(p) == 0 && m.truncated && (m.onlyEmpty(next) || m.crashed != nil) {
			return
		}
		if len(p) == 0 {
			m.fail("nothing to read at %d, the end is %d", next, m.end())
			return
		}
		if b := batch.Batch(p); b.LastOffset() < next || b.Count() == 0 {
			m.fail("read %d to %d with %d records at %d", b.BaseOffset(), b.LastOffset(), b.Count(), next)
			return
		}
		for len(p) > 0 {
			b, rest, err := batch.Next(p)
			if err != nil {
				m.t.Fatal(err)
			}
			next, p = b.LastOffset()+1, rest
		}
	}
}

// onlyEmpty says that all batches from an offset on are without records.
func (m *compactModel) onlyEmpty(o Offset) bool {
	empty := true
	err := m.log.Headers(o, m.end(), func(h batch.Batch, _ int) error {
		empty = empty && h.Count() == 0
		return nil
	})
	return empty && err == nil
}
