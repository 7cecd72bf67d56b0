package timer

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/recur"
)

// Terms are the parts of a decision that most records do not have. They lie in the decision, copied
// from the record's headers when it was accepted, so that replay never reads headers.
type Terms struct {
	// ID names the record among those that wait in its partition; empty: it has no name.
	ID []byte
	// Cancel is the id whose pending record goes; the record itself is never shown. Only with
	// ActionCancel.
	Cancel []byte
	// Expire: from then on the record is dropped instead of delivered; never: no such time.
	Expire UnixMs
	// Recur makes the record one that is delivered again and again.
	Recur Recurrence
	// TimeHeader is the topic's own header for the due time, if the record had it: the delivery
	// leaves it out, as it does with control headers. Empty: it had none.
	TimeHeader []byte
}

// Recurrence says when a recurring record is delivered. The zero value is a record that is not.
type Recurrence struct {
	Cron  string        // cron expression; empty: by Every
	Tz    string        // its zone; empty: UTC
	Every time.Duration // in whole ms; 0: by Cron
	Count int32         // most deliveries; 0: no limit
	Until UnixMs        // no delivery is scheduled after it; never: no limit
}

// HasUntil says whether there is a time after which no delivery is scheduled.
func (r *Recurrence) HasUntil() bool { return r.Until != never }

// rule computes the next time from the one before.
type rule interface {
	NextAfterDelivery(prev, now UnixMs) (next UnixMs, ok bool)
}

// rule returns the rule by which the next time is computed.
func (r Recurrence) rule() (rule, error) {
	if r.Cron == "" {
		return recur.Every(r.Every), nil
	}
	return recur.Parse(r.Cron, r.Tz)
}

// next returns when occurrence n is scheduled, if occurrence n-1 was scheduled at before and was
// delivered by now: after an outage there is one delivery to catch up with, then the next one to
// come. ok is false when the record has had its last delivery.
func (r Recurrence) next(n Occurrence, before, now UnixMs) (due UnixMs, ok bool, err error) {
	if r.Count > 0 && int64(n) >= int64(r.Count) || n == math.MaxInt32 {
		return 0, false, nil
	}
	rule, err := r.rule()
	if err != nil {
		return 0, false, err
	}
	due, ok = rule.NextAfterDelivery(before, now)
	return due, ok && due <= r.Until, nil
}

// The parts of encoded terms, as bits of their first byte. They follow in this order.
const (
	termID byte = 1 << iota
	termCancel
	termExpire
	termCron
	termEvery
	termTimeHeader

	termsAll = termTimeHeader<<1 - 1
)

// noTerms are the terms of most records.
var noTerms = Terms{Expire: never, Recur: Recurrence{Until: never}}

// HasExpire says whether the record expires.
func (t *Terms) HasExpire() bool { return t.Expire != never }

// isNone says whether a record has no terms at all, as most have.
func (t *Terms) isNone() bool {
	return t.ID == nil && t.Cancel == nil && t.Expire == never && t.Recur.Cron == "" &&
		t.Recur.Every == 0 && t.TimeHeader == nil
}

// termTextMax bounds one text of the terms: it came in a header whose record is within a batch.
const termTextMax = math.MaxUint16

var errTermsTooLong = fmt.Errorf("%w: its control headers are too long together; they may have"+
	" 65,535 bytes", batch.ErrInvalid)

// append appends the encoded terms, nothing if there are none.
func (t *Terms) append(dst []byte) []byte {
	at := len(dst)
	dst = append(dst, 0)
	text := func(bit byte, p []byte) {
		dst[at] |= bit
		dst = binary.AppendUvarint(dst, uint64(len(p)))
		dst = append(dst, p...)
	}
	if len(t.ID) > 0 {
		text(termID, t.ID)
	}
	if len(t.Cancel) > 0 {
		text(termCancel, t.Cancel)
	}
	if t.Expire != never {
		dst[at] |= termExpire
		dst = binary.AppendVarint(dst, int64(t.Expire))
	}
	switch r := &t.Recur; {
	case r.Cron != "":
		text(termCron, []byte(r.Cron))
		text(termCron, []byte(r.Tz))
	case r.Every > 0:
		dst[at] |= termEvery
		dst = binary.AppendUvarint(dst, uint64(r.Every.Milliseconds()))
	}
	if dst[at]&(termCron|termEvery) != 0 {
		dst = binary.AppendUvarint(dst, uint64(t.Recur.Count))
		dst = binary.AppendVarint(dst, int64(t.Recur.Until))
	}
	if len(t.TimeHeader) > 0 {
		text(termTimeHeader, t.TimeHeader)
	}
	if dst[at] == 0 {
		return dst[:at]
	}
	return dst
}

// termsOf reads what append wrote. Its byte slices alias p.
func termsOf(p []byte) (Terms, error) {
	t := noTerms
	if len(p) == 0 {
		return t, nil
	}
	d := varintReader{p: p}
	has := d.one()
	if has&termID != 0 {
		t.ID = d.text(termTextMax)
	}
	if has&termCancel != 0 {
		t.Cancel = d.text(termTextMax)
	}
	if has&termExpire != 0 {
		t.Expire = UnixMs(d.signed())
	}
	if has&termCron != 0 {
		t.Recur.Cron = string(d.text(termTextMax))
		t.Recur.Tz = string(d.text(termTextMax))
	}
	if has&termEvery != 0 {
		t.Recur.Every = time.Duration(d.unsigned(everyMsMax)) * time.Millisecond
	}
	if has&(termCron|termEvery) != 0 {
		t.Recur.Count = int32(d.unsigned(math.MaxInt32))
		t.Recur.Until = UnixMs(d.signed())
	}
	if has&termTimeHeader != 0 {
		t.TimeHeader = d.text(termTextMax)
	}
	both := termCron | termEvery
	if d.bad || len(d.p) != 0 || has&^termsAll != 0 || has&both == both {
		return noTerms, fmt.Errorf("%w: its terms %x; start the version that wrote it, or a newer one",
			ErrBadDecision, p[:min(len(p), 32)])
	}
	return t, nil
}

// everyMsMax keeps a recurrence's period within a time.Duration.
const everyMsMax = math.MaxInt64 / uint64(time.Millisecond)

// termsFrom takes from a record's control headers what replay needs.
func termsFrom(c *batch.Control) Terms {
	t := noTerms
	t.ID, t.Cancel = c.ID, c.Cancel
	if c.HasExpire {
		t.Expire = c.Expire
	}
	t.Recur.Cron, t.Recur.Tz, t.Recur.Every = string(c.Cron), string(c.Tz), c.Every
	t.Recur.Count = c.Count
	if c.HasUntil {
		t.Recur.Until = c.Until
	}
	return t
}
