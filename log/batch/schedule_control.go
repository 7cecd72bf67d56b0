package batch

import (
	"bytes"
	"math"
	"strconv"
	"time"
)

// maxIDBytes is the longest id of a record: the ids of all that is pending are held in an
// index, and a digest is shorter.
const maxIDBytes = 255

// Control is what a record's control headers ask for. Its slices alias the record.
//
// What stands together in a Control that ParseControl has returned makes sense together:
// at most one of HasTs, HasDelay and Cron; Every without Cron; Tz with Cron; a count or an
// until with Cron or Every, an expiry without them; Cancel alone or with a MessageID.
type Control struct {
	// HasTs says that Due is set, by chronos-schedule-ts or the topic's own header for it;
	// HasDelay that Delay is; and so on. A Due of long ago is sound: then it is due now.
	HasTs, HasDelay, HasExpire, HasCount, HasUntil bool
	// Due is the time of chronos-schedule-ts.
	Due UnixMs
	// Delay is the duration of chronos-schedule-delay: not negative, and in whole
	// milliseconds, rounded up, because nothing may be delivered early.
	Delay time.Duration
	// Expire is the time behind which the record is not to be delivered any more.
	Expire UnixMs

	// Every is the interval of a recurring record, in whole milliseconds, rounded up, and
	// at least MinEvery; 0 is none. The first occurrence is at DueAt.
	Every time.Duration
	// Until is the time behind which a recurring record has no occurrence any more.
	Until UnixMs
	// Count is the number of occurrences of a recurring record, at least 1.
	Count int32
	// Cron is the text of chronos-schedule-cron, not empty and not looked at; nil is none.
	// Tz is the name of the zone in which it is meant, likewise; nil is UTC.
	Cron, Tz []byte

	// ID names the pending record, Cancel the one that is to go: 1 to 255 bytes each; nil
	// is none.
	ID, Cancel []byte
	// MessageID is what a repeated record is known by, likewise.
	MessageID []byte
}

// Recurs says whether the record is delivered more than once.
func (c *Control) Recurs() bool { return c.Every > 0 || c.Cron != nil }

// DueAt returns when the record is due first if the leader appends it at now. An interval
// without a ts or a delay must pass once before (a delay of 0 makes it begin at once). The
// first time of a Cron is for the caller to compute; DueAt returns now.
func (c *Control) DueAt(now UnixMs) UnixMs {
	switch {
	case c.HasTs:
		return c.Due
	case c.HasDelay:
		return now.Add(c.Delay)
	default:
		return now.Add(c.Every)
	}
}

// Check refuses a record that can never be delivered, judged by when it is due first if the
// leader appends it at now: one that expires no later, or whose until lies before. An end
// that is over at now already is no contradiction unless the ts is later still, because a
// producer's retry may come late: such a record is for the caller to settle as expired. So
// is the until of a Cron to be compared with its first time.
//
// The error is a *ControlError.
func (c *Control) Check(now UnixMs) error {
	due := c.DueAt(now)
	judged := now // judged is the latest end that was over already.
	if c.HasTs {
		judged = math.MinInt64 // An end before the ts was wrong when it was written.
	}
	if c.HasExpire && c.Expire <= due && c.Expire > judged {
		return refuse([]byte(HeaderScheduleExpireTs), endReason(c.Expire, due))
	}
	if c.HasUntil && c.Until < due && c.Until > judged && c.Cron == nil {
		return refuse([]byte(HeaderScheduleUntil), endReason(c.Until, due))
	}
	return nil
}

// endReason is the sentence for an end before the record is due.
func endReason(end, due UnixMs) string {
	return strconv.FormatInt(int64(end), 10) + " is not after the time at which the record is due, " +
		strconv.FormatInt(int64(due), 10) + "; write a later one, or leave it out"
}

// ParseControl reads the control headers of a record. present says whether it has any.
// The error is a *ControlError, whose sentence says what to write instead, or an
// ErrInvalid when the headers' framing is broken. How far in the future a due time may
// lie is not judged here, nor what a cron or a zone mean.
func ParseControl(r Record, names ControlNames) (c Control, present bool, err error) {
	at := 0
	first := names.firstByte()
	seen := seenHeaders{names: names}
	for i := range r.Headers.Count {
		var name, value []byte
		if name, value, at = headerAt(r.Headers.Bytes, at); at < 0 {
			return Control{}, present, invalid("header %d of %d is broken", i, r.Headers.Count)
		}
		if len(name) == 0 || name[0] != controlFirstByte && name[0] != first {
			continue
		}
		if !names.Match(name) {
			continue
		}
		present = true
		if err := c.apply(name, value, &seen); err != nil {
			return Control{}, true, err
		}
	}
	if err := seen.check(); err != nil {
		return Control{}, true, err
	}
	return c, present, nil
}

// apply takes one control header in.
func (c *Control) apply(name, value []byte, seen *seenHeaders) error {
	kind := seen.names.kindOf(name)
	if kind == 0 {
		return refuse(name, unknownReason(string(name)))
	}
	if err := seen.add(kind, name); err != nil {
		return err
	}
	if reason := c.set(kind, value); reason != "" {
		return refuse(name, reason)
	}
	return nil
}

// set takes the value of one control header in, or returns the sentence for its refusal.
func (c *Control) set(kind controlKind, v []byte) (reason string) {
	switch kind {
	case kindTs:
		c.HasTs = true
		c.Due, reason = parseDue(v)
	case kindDelay:
		c.HasDelay = true
		c.Delay, reason = parseDelay(v)
	case kindExpire:
		c.HasExpire = true
		c.Expire, reason = parseEnd(v)
	case kindUntil:
		c.HasUntil = true
		c.Until, reason = parseEnd(v)
	case kindCount:
		c.HasCount = true
		c.Count, reason = parseCount(v)
	case kindEvery:
		c.Every, reason = parseEvery(v)
	case kindCron:
		c.Cron, reason = parseText(v, "a cron like 30 9 * * MON-FRI")
	case kindTz:
		c.Tz, reason = parseText(v, "an IANA zone like Europe/Berlin")
	case kindID:
		c.ID, reason = parseID(v)
	case kindCancel:
		c.Cancel, reason = parseID(v)
	default: // What is left is kindMessageID.
		c.MessageID, reason = parseID(v)
	}
	return reason
}

// parseText takes any text that is not empty.
func parseText(v []byte, want string) ([]byte, string) {
	if len(v) == 0 {
		return nil, "has no value; write " + want
	}
	return v, ""
}

// parseID takes 1 to maxIDBytes bytes of any kind.
func parseID(v []byte) ([]byte, string) {
	switch {
	case len(v) == 0:
		return nil, "has no value; write 1 to 255 bytes"
	case len(v) > maxIDBytes:
		return nil, "has " + strconv.Itoa(len(v)) + " bytes; write 1 to 255, a digest of a longer one"
	default:
		return v, ""
	}
}

// parseCount reads a positive decimal number.
func parseCount(v []byte) (int32, string) {
	const want = "a number from 1 to 2147483647"
	switch {
	case len(v) == 0:
		return 0, "has no value; write " + want
	case !allDigits(v):
		return 0, quoted(v) + " is not a whole number; write " + want
	}
	digits := bytes.TrimLeft(v, "0")
	if len(digits) == 0 {
		return 0, quoted(v) + " would deliver nothing; write " + want + ", or leave the record out"
	}
	if len(digits) > maxDecimalDigits || decimal(digits) > math.MaxInt32 {
		return 0, quoted(v) + " is too large; write " + want + ", or leave it out for no end"
	}
	return int32(decimal(digits)), ""
}
