package compaction

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

var historySeed = flag.Uint64("history.seed", 0, "run this one history of TestHistories")

// fate is what became of a transaction.
type fate struct {
	id            batch.ProducerID
	first, marker batch.Offset // marker is NoOffset while it is open
	aborted       bool
	keptTo        batch.UnixMs // its marker stays until then; 0 while there is a batch of it
}

// written is one record that was written.
type written struct {
	key    string
	dead   bool
	txn    *fate        // nil for none
	end    batch.Offset // behind its batch
	keptTo batch.UnixMs // a tombstone that a pass has looked at stays until then
}

// history is a log of plain and transactional batches, and what is left of it.
type history struct {
	t       *testing.T
	rng     *rand.Rand
	left    []batch.Batch // what passes have left, and what is new
	records map[batch.Offset]*written
	fates   map[batch.Offset]*fate // by marker
	open    map[batch.ProducerID]*fate
	all     []*fate
	end     batch.Offset
	clean   batch.Offset
	now     batch.UnixMs
}

// TestHistories compacts random histories of transactions again and again, as far as they are
// settled, and looks at what a consumer sees that asks for committed records.
func TestHistories(t *testing.T) {
	first, n := rand.Uint64(), 1000
	if *historySeed != 0 {
		first, n = *historySeed, 1
	}
	var sum struct{ aborted, tombstones, markers, full int }
	for seed := first; seed < first+uint64(n) && !t.Failed(); seed++ {
		h := &history{
			t: t, rng: rand.New(rand.NewPCG(seed, 2)), now: 1000, records: map[batch.Offset]*written{},
			fates: map[batch.Offset]*fate{}, open: map[batch.ProducerID]*fate{},
		}
		for range 60 {
			h.now += batch.UnixMs(h.rng.IntN(50))
			if h.rng.IntN(5) > 0 {
				h.append()
				continue
			}
			if h.compact() {
				sum.full++
			}
			if t.Failed() {
				t.Fatalf("rerun with -history.seed=%d; left is %s", seed, show(t, h.left))
			}
		}
		there := h.offsets()
		for o, w := range h.records {
			if !there[o] && w.txn != nil && w.txn.aborted {
				sum.aborted++
			}
			if !there[o] && w.dead && w.txn == nil && o < h.clean {
				sum.tombstones++
			}
		}
		for o := range h.fates {
			if !there[o] {
				sum.markers++
			}
		}
	}
	t.Logf("%+v", sum)
	if *historySeed == 0 && !t.Failed() && (sum.aborted == 0 || sum.tombstones == 0 || sum.markers == 0 || sum.full == 0) {
		t.Errorf("the histories did not see everything: %+v", sum)
	}
}

// append appends a batch: of records, or a marker if a transaction is open.
func (h *history) append() {
	id := batch.ProducerID(h.rng.IntN(4)) // 0 is none
	open := h.open[id]
	var b built
	switch {
	case open != nil && h.rng.IntN(3) == 0:
		kind := markerCommit
		if open.aborted = h.rng.IntN(2) == 0; open.aborted {
			kind = markerAbort
		}
		b = marker(kind, id)
		open.marker, h.fates[h.end] = h.end, open
		delete(h.open, id)
	default:
		if id > 0 && open == nil {
			open = &fate{id: id, first: h.end, marker: batch.NoOffset}
			h.open[id] = open
			h.all = append(h.all, open)
		}
		n := 1 + h.rng.IntN(3)
		for i := range n {
			w := &written{
				key: fmt.Sprint("k", h.rng.IntN(9)), dead: h.rng.IntN(3) == 0, txn: open,
				end: h.end + batch.Offset(n),
			}
			r := rec{w.key, "v"}
			if w.dead {
				r.value = "-"
			}
			b.records = append(b.records, r)
			h.records[h.end+batch.Offset(i)] = w
		}
		if id > 0 {
			b = txn(id, b.records...)
		}
	}
	out := b.at(h.t, h.end)
	h.left = append(h.left, out)
	h.end = out.LastOffset() + 1
}

// compact runs a pass up to the first open transaction, and reports whether its map was full.
func (h *history) compact() (full bool) {
	to := h.end
	for _, f := range h.open {
		to = min(to, f.first)
	}
	rules := Rules{Now: h.now, DeleteRetentionMs: int64(h.rng.IntN(300))}
	for _, f := range h.all {
		if f.aborted && f.first < to {
			rules.Aborted = append(rules.Aborted, AbortedTxn{Producer: f.id, First: f.first, Last: f.marker})
		}
	}
	mapBytes := int64(1 + h.rng.IntN(2)<<16)
	m := NewOffsetMap(mapBytes, 1<<20)
	mapper := NewMapper(m, h.clean, rules.Aborted)
	n := 0
	for n < len(h.left) && h.left[n].BaseOffset() < to {
		n++
	}
	for _, b := range h.left[:n] {
		if b.LastOffset() < h.clean || full {
			continue
		}
		var err error
		if full, err = mapper.Add(b); err != nil {
			h.t.Fatal(err)
		}
	}
	rules.Map = m
	met := h.transactions()
	filter := NewFilter(rules)
	var left []batch.Batch
	for _, b := range h.left[:n] {
		out, err := filter.Append(nil, b, Nothing)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(out) > 0 {
			left = append(left, bytes.Clone(out))
		}
	}
	h.left = append(left, h.left[n:]...)
	h.clean = max(h.clean, m.Latest()+1)
	h.date(to, met, rules)
	h.check(to)
	return full
}

// date notes until when what a pass has looked at, up to an offset, must stay.
func (h *history) date(to batch.Offset, met map[*fate]bool, r Rules) {
	keptTo := r.Now + batch.UnixMs(r.DeleteRetentionMs)
	for _, w := range h.records {
		if w.dead && w.keptTo == 0 && w.end <= h.clean {
			w.keptTo = keptTo
		}
	}
	for _, f := range h.fates {
		if f.keptTo == 0 && f.marker < to && !met[f] {
			f.keptTo = keptTo
		}
	}
}

// offsets returns those that are left, of markers, too.
func (h *history) offsets() map[batch.Offset]bool {
	there := map[batch.Offset]bool{}
	for _, b := range h.left {
		r, err := batch.NewReader(b, InflatedBytesMax)
		if err != nil {
			h.t.Fatal(err)
		}
		for {
			rec, ok, err := r.Next()
			if err != nil {
				h.t.Fatal(err)
			}
			if !ok {
				break
			}
			there[b.BaseOffset()+batch.Offset(rec.OffsetDelta)] = true
		}
		r.Close()
	}
	return there
}

// transactions returns those of which records are left.
func (h *history) transactions() map[*fate]bool {
	met := map[*fate]bool{}
	for o := range h.offsets() {
		if w := h.records[o]; w != nil && w.txn != nil {
			met[w.txn] = true
		}
	}
	return met
}

// check compares what is left below an offset with what must be.
func (h *history) check(to batch.Offset) {
	there, met := h.offsets(), h.transactions()
	last := map[string]batch.Offset{}
	for o, w := range h.records {
		if o < h.clean && (w.txn == nil || !w.txn.aborted) {
			last[w.key] = max(last[w.key], o)
		}
	}
	for o, w := range h.records {
		aborted := w.txn != nil && w.txn.aborted
		switch {
		case aborted && o < to && there[o]:
			h.t.Errorf("record %d was aborted and is there", o)
		case aborted:
		case o >= h.clean && !there[o]:
			h.t.Errorf("record %d is gone, and nobody has looked at it", o)
		case o < h.clean && o < last[w.key] && there[o]:
			h.t.Errorf("record %d is there, and so is %d", o, last[w.key])
		case o < h.clean && o == last[w.key] && !there[o] && (!w.dead || h.now < w.keptTo):
			h.t.Errorf("record %d, the last of %s, is gone at %d; kept to %d", o, w.key, h.now, w.keptTo)
		}
	}
	for o, f := range h.fates {
		if !there[o] && (met[f] || f.keptTo == 0 || h.now < f.keptTo) {
			h.t.Errorf("marker %d is gone at %d; kept to %d, records of it are there: %v", o, h.now, f.keptTo, met[f])
		}
	}
}
