package oracle

import (
	"fmt"
	"math"
)

// Oracle is the history of one topic. It belongs to one goroutine.
type Oracle struct {
	inflate  Inflate
	sessions []*Session
	values   map[string]*Record
	parts    map[int32]*partition
	pending  map[*Record]struct{} // staged and acknowledged, not shown
	step     int64
	shown    int64 // deliveries
}

// partition is what is known of one partition.
type partition struct {
	start     int64
	hw        int64
	epoch     int32
	cells     []cell // by offset, up to the log's end
	protected int64  // offsets below it were seen or acknowledged: no crash may take them
	lastMs    int64  // the latest timestamp of a delivery
	positions map[string]int64
	due       []delivered // for due order: by offset, keys falling; see judgeDueOrder
}

// cell is one offset.
type cell struct {
	step   int64 // at which the log's end passed it
	nowMs  int64 // the server's clock in that step
	record *Record
	digest uint64 // of the record as it was shown; valid when record is set
}

// New returns an empty history. A nil inflate knows gzip only.
func New(inflate Inflate) *Oracle {
	if inflate == nil {
		inflate = inflateGzip
	}
	return &Oracle{
		inflate: inflate, values: make(map[string]*Record), parts: make(map[int32]*partition),
		pending: make(map[*Record]struct{}),
	}
}

func (o *Oracle) partition(id int32) *partition {
	p := o.parts[id]
	if p == nil {
		p = &partition{epoch: -1, lastMs: math.MinInt64, positions: make(map[string]int64)}
		o.parts[id] = p
	}
	return p
}

// Step begins a step: one operation on the server, during which its clock stands still. The number
// goes into Answers.
func (o *Oracle) Step() int64 {
	o.step++
	return o.step
}

// Marks are a partition's offsets after a step.
type Marks struct {
	Start, HighWatermark, End int64
	NowMs                     int64 // the server's clock during the step
}

// Observe tells where a partition stands after a step. While the server runs, no mark goes back.
func (o *Oracle) Observe(id int32, m Marks) error {
	p := o.partition(id)
	switch {
	case m.End < int64(len(p.cells)):
		return fmt.Errorf("%w: the end of partition %d, from %d to %d", ErrWentBack, id,
			len(p.cells), m.End)
	case m.HighWatermark < p.hw:
		return fmt.Errorf("%w: the high watermark of partition %d, from %d to %d", ErrWentBack, id, p.hw,
			m.HighWatermark)
	case m.HighWatermark > m.End || m.Start > m.HighWatermark:
		return fmt.Errorf("%w: partition %d starts at %d, has high watermark %d and ends at %d",
			ErrAnswer, id, m.Start, m.HighWatermark, m.End)
	}
	p.grow(m.End, cell{step: o.step, nowMs: m.NowMs})
	p.hw = m.HighWatermark
	return p.advanceStart(id, m.Start)
}

// grow adds offsets up to end.
func (p *partition) grow(end int64, c cell) {
	for int64(len(p.cells)) < end {
		p.cells = append(p.cells, c)
	}
}

// advanceStart takes note of a new log start. The driver reads everything before it lets retention
// run, so what goes unseen was lost.
func (p *partition) advanceStart(id int32, start int64) error {
	if start < p.start {
		return fmt.Errorf("%w: the start of partition %d, from %d to %d", ErrWentBack, id, p.start, start)
	}
	for at := p.start; at < start; at++ {
		if p.cells[at].record == nil {
			return fmt.Errorf("%w: offset %d of partition %d went by retention before it was ever readable",
				ErrLost, at, id)
		}
	}
	p.start = start
	return nil
}

// Opened tells where a partition stands when the server has started again, after a crash or not.
func (o *Oracle) Opened(id int32, epoch int32, m Marks) error {
	p := o.partition(id)
	if epoch <= p.epoch {
		return fmt.Errorf("%w: the leader epoch of partition %d is %d, in its last life it was %d",
			ErrWentBack, id, epoch, p.epoch)
	}
	p.epoch = epoch
	if m.End < p.protected || m.HighWatermark < p.protected {
		return fmt.Errorf("%w: partition %d came back with high watermark %d and end %d; up to %d was"+
			" seen or acknowledged", ErrLost, id, m.HighWatermark, m.End, p.protected)
	}
	p.cells = p.cells[:min(int64(len(p.cells)), m.End)]
	p.hw = 0
	return o.Observe(id, m)
}

// Shown returns how many deliveries of scheduled records were shown.
func (o *Oracle) Shown() int64 { return o.shown }

// Pending returns how many acknowledged records wait for their due time.
func (o *Oracle) Pending() int { return len(o.pending) }

// LatestDue returns the latest due time that a record may have that was sent and not shown.
func (o *Oracle) LatestDue() int64 {
	latest := int64(math.MinInt64)
	for _, s := range o.sessions {
		for _, q := range s.partitions {
			for _, b := range q.batches {
				for _, r := range b.Records {
					if r.offset < 0 && !b.refused {
						latest = max(latest, r.dueMax())
					}
				}
			}
		}
	}
	return latest
}

// Idle tells that the server has nothing left to do at nowMs, and that everything readable was
// read: what is due must have been shown.
func (o *Oracle) Idle(nowMs int64) error {
	for r := range o.pending {
		if due := r.dueMax(); due <= nowMs {
			return fmt.Errorf("%w: %s was due at %d, it is %d", ErrLate, r, due, nowMs)
		}
	}
	return nil
}

// Finish is called when everything is due, delivered and read.
func (o *Oracle) Finish() error {
	for _, s := range o.sessions {
		for _, q := range s.partitions {
			if err := q.finish(); err != nil {
				return err
			}
		}
	}
	return nil
}

// finish demands that all of every acknowledged batch was shown, that no batch was shown in part,
// and that those that were shown are a prefix of what was sent.
func (q *sequence) finish() error {
	var missing *Batch
	for _, b := range q.batches {
		if b.refused {
			continue
		}
		shown := 0
		for _, r := range b.Records {
			if r.offset >= 0 {
				shown++
			} else if b.acked {
				return fmt.Errorf("%w: %s, due %d", ErrLost, r, r.dueMax())
			}
		}
		switch {
		case shown == 0:
			missing = b
		case shown < len(b.Records):
			return fmt.Errorf("%w: %d of %d records of %s", ErrHole, shown, len(b.Records), b)
		case missing != nil:
			return fmt.Errorf("%w: %s is there, %s is not", ErrHole, b, missing)
		}
	}
	return nil
}
