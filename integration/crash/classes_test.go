package crash

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// class is a kind of operation that a power cut can come into.
type class struct {
	name   string
	weight int // how often a random history takes it
	// What there must be of it per thousand seeds of a random run: about half of what is usual. A
	// change that makes the histories tame would otherwise pass for ever.
	opsMin, pointsMin int64
	do                func(w *world) error
	fewer             float64 // the share of its points that count, 0 for all: it has too many
}

const (
	// recoveryClass counts the power cuts within and behind recoveries.
	recoveryClass = "recovery"
	// restartClass and killClass end the process, so that histories treat them apart.
	restartClass = "close and open"
	killClass    = "kill and open"
)

// classes are all kinds of operation.
var classes = []class{
	{"small append", 12, 3770, 2640, func(w *world) error { return w.append(w.log(), 1+w.rng.IntN(2), 30) }, 0},
	{"large append", 3, 940, 730, func(w *world) error {
		return w.append(w.log(), 3, segmentBytes/4+w.rng.IntN(segmentBytes))
	}, 0},
	{"flush", 4, 1280, 1000, (*world).flush, 0},
	{"commit of one", 3, 940, 1810, func(w *world) error { return w.commit(1) }, 0},
	{"commit of many", 4, 1230, 4120, func(w *world) error { return w.commit(logCount) }, 0},
	{"direct commit", 3, 960, 4680, (*world).commitDirectly, 0},
	{"commits that recycle", 1, 340, 480, (*world).commitOften, 0.3},
	{"confirmation", 1, 300, 150, func(w *world) error { return w.node.committer.Confirm() }, 0},
	{"roll", 2, 610, 270, func(w *world) error { return w.node.logs[w.log()].Roll() }, 0},
	{"checkpoint", 2, 640, 1520, func(w *world) error { return w.checkpoint(w.node.logs[w.log()].Checkpoint) }, 0},
	{"checkpoint below the end", 2, 670, 1570, (*world).checkpointBelow, 0},
	{"retention", 2, 640, 480, (*world).retain, 0},
	{"deletion of records", 2, 660, 1140, (*world).deleteRecords, 0},
	{"truncation", 2, 660, 1670, (*world).truncate, 0},
	{"compaction", 2, 560, 2700, (*world).compact, 0},
	{"new epoch", 1, 310, 1280, (*world).newEpoch, 0},
	{restartClass, 2, 1100, 5500, (*world).restart, 0.2},
	{killClass, 2, 640, 1400, (*world).kill, 0.2},
}

func classNamed(name string) *class {
	for i := range classes {
		if classes[i].name == name {
			return &classes[i]
		}
	}
	panic("no class " + name)
}

// random chooses a class.
func (w *world) random() *class {
	sum := 0
	for _, c := range classes {
		sum += c.weight
	}
	at := w.rng.IntN(sum)
	for i := range classes {
		if at -= classes[i].weight; at < 0 {
			return &classes[i]
		}
	}
	panic("the weights add up to their sum")
}

// log chooses a log.
func (w *world) log() int { return w.rng.IntN(logCount) }

// append writes one batch. While it runs, and when it fails for anything but space, the batch may be
// there or not.
func (w *world) append(i, records, valueBytes int) error {
	w.mark++
	w.nowMs += int64(w.rng.IntN(20))
	raw := newBatch(w.mark, records, valueBytes/records, w.nowMs)
	l, m := w.node.logs[i], w.models[i]
	b := place(raw, int64(l.End()), w.epoch)
	before := m.snapshot()
	m.update(func(p *promise) { p.batches = append(p.batches[:len(p.batches):len(p.batches)], b) })
	first, end, err := l.Append(raw, log.LeaderEpoch(w.epoch))
	switch {
	case errors.Is(err, log.ErrNoSpace):
		m.update(func(p *promise) { p.batches = before.batches })
		return err
	case err != nil:
		return err
	case int64(first) != b.base || int64(end) != b.end || !bytes.Equal(raw, b.raw):
		return fmt.Errorf("appended at %d to %d, expected %d to %d", first, end, b.base, b.end)
	}
	m.update(func(p *promise) { p.epoch = max(p.epoch, w.epoch) })
	w.node.members[i].Dirty()
	return nil
}

// flush makes one log durable, without the committer.
func (w *world) flush() error {
	i := w.log()
	end, err := w.node.logs[i].Flush()
	if err != nil {
		return err
	}
	if p := w.models[i].snapshot(); int64(end) < p.end() {
		return fmt.Errorf("flushed up to %d, %d was written", end, p.end())
	}
	w.flushedTo(i, end)
	return nil
}

// commit writes to some logs and has the committer make them durable.
func (w *world) commit(logs int) error {
	first := w.log()
	for k := range logs {
		if err := w.append((first+k)%logCount, 1, 40+w.rng.IntN(100)); err != nil {
			return err
		}
	}
	if _, err := w.node.committer.CommitOnce(); err != nil {
		return err
	}
	for k := range logs {
		i := (first + k) % logCount
		if p := w.models[i].snapshot(); p.flushed < p.end() {
			return fmt.Errorf("log %d ends at %d and the commit told of %d", i, p.end(), p.flushed)
		}
	}
	return nil
}

// commitDirectly has one commit with much of one log, which goes to its segment, and little of others.
func (w *world) commitDirectly() error {
	i := w.log()
	for range 3 {
		if err := w.append(i, 1, directBytes/2+w.rng.IntN(directBytes)); err != nil {
			return err
		}
	}
	return w.commit(1 + w.rng.IntN(2))
}

// commitOften commits until the journal has used a file again, which takes draining and noting; and a
// few times where there is no journal.
func (w *world) commitOften() error {
	const most = 40
	recycled := func() int64 { return 0 }
	if w.node.journal != nil {
		recycled = func() int64 { return w.node.journal.Stats().Recycled }
	}
	before := recycled()
	for n := range most {
		if err := w.commit(1); err != nil {
			return err
		}
		if w.node.journal == nil && n == 3 || recycled() > before {
			w.totals.recycled += recycled() - before
			return nil
		}
	}
	return fmt.Errorf("after %d commits the journal has recycled nothing: %+v", most, w.node.journal.Stats())
}

// checkpoint runs a checkpoint of some log; it promises nothing that a flush does not.
func (w *world) checkpoint(do func() error) error {
	if err := do(); err != nil {
		return err
	}
	for i, l := range w.node.logs {
		w.flushedTo(i, l.FlushedEnd())
	}
	return nil
}

func (w *world) checkpointBelow() error {
	l := w.node.logs[w.log()]
	to := l.Start() + log.Offset(w.rng.Int64N(int64(l.End()-l.Start())+1))
	return w.checkpoint(func() error { return l.CheckpointTo(to) })
}

// retain deletes what is beyond a size or an age.
func (w *world) retain() error {
	i := w.log()
	l := w.node.logs[i]
	policy := log.RetentionPolicy{Ms: -1, Bytes: int64(w.rng.IntN(3 * segmentBytes))}
	if w.rng.IntN(3) == 0 {
		policy = log.RetentionPolicy{Ms: int64(w.rng.IntN(200)), Bytes: -1}
	}
	return w.advance(i, l.RetentionPoint(policy, log.UnixMs(w.nowMs), l.End()))
}

// deleteRecords moves the start to any offset, the end included.
func (w *world) deleteRecords() error {
	i := w.log()
	l := w.node.logs[i]
	to := l.Start() + log.Offset(w.rng.Int64N(int64(l.End()-l.Start())+1))
	if w.rng.IntN(8) == 0 {
		to = l.End()
	}
	return w.advance(i, to)
}

func (w *world) advance(i int, to log.Offset) error {
	m := w.models[i]
	m.update(func(p *promise) { p.startTo = max(p.startTo, int64(to)) })
	if err := w.node.logs[i].AdvanceStart(to); err != nil {
		return err
	}
	start := int64(w.node.logs[i].Start())
	if start < int64(to) {
		return fmt.Errorf("the start is %d after it was advanced to %d", start, to)
	}
	m.update(func(p *promise) { p.start, p.startTo = start, start })
	w.flushedTo(i, w.node.logs[i].FlushedEnd())
	return nil
}

// truncate cuts a log at one of its batches.
func (w *world) truncate() error {
	i := w.log()
	m := w.models[i]
	p := m.snapshot()
	cut := len(p.batches)
	for k := range min(4, len(p.batches)) {
		if at := len(p.batches) - 1 - k; p.batches[at].base >= p.start && w.rng.IntN(2) == 0 {
			cut = at
		}
	}
	if cut == len(p.batches) || p.batches[cut].base < p.compacted {
		return nil
	}
	to := p.batches[cut].base
	m.update(func(p *promise) {
		p.flushed, p.epoch = min(p.flushed, to), -1
	})
	inside := p.batches[cut].end - to
	if err := w.node.logs[i].Truncate(log.Offset(to + w.rng.Int64N(inside))); err != nil {
		return err
	}
	m.update(func(p *promise) { p.batches = p.batches[:cut:cut] })
	return nil
}

// newEpoch begins a leadership, on all logs.
func (w *world) newEpoch() error {
	w.epoch++
	for i, l := range w.node.logs {
		if err := l.SetEpoch(log.LeaderEpoch(w.epoch)); err != nil {
			return err
		}
		w.models[i].update(func(p *promise) { p.epoch = w.epoch })
	}
	return nil
}

// restart stops the node and starts it again.
func (w *world) restart() error {
	if err := w.node.close(); err != nil {
		return err
	}
	for i, m := range w.models {
		m.update(func(p *promise) { p.flushed = p.end() })
		w.node.logs[i] = nil
	}
	return w.reopen()
}

// kill ends the process at one of its next file operations, or now, and starts it again. What it wrote
// is there still, and what of that was not synced can be lost by a later power cut.
func (w *world) kill() error {
	if nth := w.rng.IntN(12); nth > 0 {
		w.disk.Add(vfs.Fault{Nth: nth, Err: errKilled})
		for range 3 {
			if err := w.append(w.log(), 1, 50); err != nil {
				break
			}
			if err := w.flush(); err != nil {
				break
			}
		}
	} else {
		w.disk.Add(vfs.Fault{Err: errKilled})
	}
	w.node.abandon()
	return w.open()
}

var errKilled = errors.New("the process was killed")
