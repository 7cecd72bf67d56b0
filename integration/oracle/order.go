package oracle

import (
	"fmt"
	"strconv"
	"strings"
)

// judgeOrder checks the order of a producer's own records, when the record is shown for the first
// time. First sights come in the order of offsets.
//
// Records that go to the partition log directly keep their order. A delivery never comes before a
// direct record of an earlier batch: staging waited for it. A direct record never comes before a
// record of an earlier batch that was due when it was accepted. Between two staged batches only the
// due times count.
func (r *Record) judgeOrder(marked bool) error {
	b := r.batch
	q := b.session.partitions[b.Partition]
	if marked {
		q.deliveredMax = max(q.deliveredMax, b.number)
		if q.plainMax > b.number && r.dueAtOnce() {
			return fmt.Errorf("%w: %s was due at once and comes after batch %d", ErrOrder, r, q.plainMax)
		}
		return nil
	}
	if last := q.plainTo; last != nil &&
		(last.batch.number > b.number || last.batch == b && last.index > r.index) {
		return fmt.Errorf("%w: %s comes after %s", ErrOrder, r, last)
	}
	if q.deliveredMax > b.number {
		return fmt.Errorf("%w: %s comes after a delivery of batch %d", ErrOrder, r, q.deliveredMax)
	}
	q.plainTo, q.plainMax = r, b.number
	return nil
}

// delivered is a delivery on the stack of judgeDueOrder.
type delivered struct {
	record   *Record
	due      int64
	position string
	step     int64 // in which it was appended
}

// before says whether d comes before e in due order.
func (d *delivered) before(e *delivered) bool {
	if d.due != e.due {
		return d.due < e.due
	}
	a, errA := parsePosition(d.position)
	b, errB := parsePosition(e.position)
	if errA != nil || errB != nil {
		return d.position < e.position
	}
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// judgeDueOrder checks that d was not overtaken: no delivery before it in the log that is due later
// was appended after d was armed. A record is armed for certain after the step that acknowledged
// it.
//
// Of the earlier deliveries that are due later, the last one was appended last, so it alone needs a
// look: a stack with falling keys from the bottom up has it on top, once what is due before d is
// gone. What is gone can never be the last one for a later delivery: d is.
func (p *partition) judgeDueOrder(d delivered) error {
	if _, err := parsePosition(d.position); err != nil {
		return err
	}
	for len(p.due) > 0 && p.due[len(p.due)-1].before(&d) {
		p.due = p.due[:len(p.due)-1]
	}
	if n := len(p.due); n > 0 && p.due[n-1].step > d.record.batch.ackStep {
		top := &p.due[n-1]
		return fmt.Errorf("%w: %s, due %d at %s, was armed in step %d and comes after %s, due %d at %s,"+
			" which was appended in step %d", ErrDueOrder, d.record, d.due, d.position,
			d.record.batch.ackStep, top.record, top.due, top.position, top.step)
	}
	p.due = append(p.due, d)
	return nil
}

// parsePosition reads "<epoch>.<offset>.<occurrence>".
func parsePosition(text string) (parts [3]int64, err error) {
	fields := strings.Split(text, ".")
	if len(fields) != len(parts) {
		return parts, fmt.Errorf("%w: %q", ErrPosition, text)
	}
	for i, f := range fields {
		if parts[i], err = strconv.ParseInt(f, 10, 64); err != nil || parts[i] < 0 {
			return parts, fmt.Errorf("%w: %q", ErrPosition, text)
		}
	}
	return parts, nil
}
