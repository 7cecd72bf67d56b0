package batch

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// The headers that a producer sets. Names are compared byte for byte, as Kafka does:
// all are lower case.
const (
	HeaderScheduleTs    = "chronos-schedule-ts"
	HeaderScheduleDelay = "chronos-schedule-delay"

	// The ones below are reserved and refused until a later version serves them: a
	// record that asks for something must not be taken as one that does not.
	HeaderScheduleID       = "chronos-schedule-id"
	HeaderScheduleCancel   = "chronos-schedule-cancel"
	HeaderScheduleExpireTs = "chronos-schedule-expire-ts"
	HeaderScheduleCron     = "chronos-schedule-cron"
	HeaderScheduleEvery    = "chronos-schedule-every"
	HeaderScheduleTz       = "chronos-schedule-tz"
	HeaderScheduleCount    = "chronos-schedule-count"
	HeaderScheduleUntil    = "chronos-schedule-until"
	HeaderMessageID        = "chronos-message-id"
)

// The headers that the server adds at delivery. From a client they are plain headers.
const (
	HeaderScheduledFor = "chronos-scheduled-for"
	HeaderCreatedAt    = "chronos-created-at"
	HeaderPosition     = "chronos-position"
)

const (
	controlPrefix    = "chronos-schedule-"
	controlFirstByte = 'c'

	// maxShownBytes bounds what a refusal repeats of a client's bytes.
	maxShownBytes = 64
)

// IsControlHeader says whether a header of that name is an order to the server: any
// chronos-schedule- header, known or not, and chronos-message-id. Such headers are
// removed at delivery, so that a copy of the record is not scheduled again.
func IsControlHeader(name []byte) bool {
	if len(name) < len(controlPrefix) || name[0] != controlFirstByte {
		return false
	}
	return string(name[:len(controlPrefix)]) == controlPrefix || string(name) == HeaderMessageID
}

// IsServerHeader says whether the server adds a header of that name at delivery.
func IsServerHeader(name []byte) bool {
	switch string(name) {
	case HeaderScheduledFor, HeaderCreatedAt, HeaderPosition:
		return true
	default:
		return false
	}
}

// ControlNames are a topic's own names for control headers. The zero value is a topic
// that has none.
type ControlNames struct {
	// Ts means the same as chronos-schedule-ts, for producers that have a header of
	// their own (topic config chronos.schedule.header.ts). Empty is none.
	Ts string
}

// Match is IsControlHeader for this topic.
func (names ControlNames) Match(name []byte) bool {
	return IsControlHeader(name) || names.Ts != "" && string(name) == names.Ts
}

// firstByte is what a header's name must begin with to be worth a Match.
func (names ControlNames) firstByte() byte {
	if names.Ts == "" {
		return controlFirstByte
	}
	return names.Ts[0]
}

// Control is what a record's control headers ask for.
type Control struct {
	// HasTs says that Due is set; HasDelay that Delay is. Never both.
	HasTs, HasDelay bool
	// Due is the time of chronos-schedule-ts. It may be past: then it is due now.
	Due UnixMs
	// Delay is the duration of chronos-schedule-delay: not negative, and in whole
	// milliseconds, rounded up, because nothing may be delivered early.
	Delay time.Duration
}

// DueAt returns when the record is due if the leader appends it at now.
func (c Control) DueAt(now UnixMs) UnixMs {
	if c.HasTs {
		return c.Due
	}
	return now.Add(c.Delay)
}

// ParseControl reads the control headers of a record. present says whether it has any.
// The error is a *ControlError, whose sentence says what to write instead, or an
// ErrInvalid when the headers' framing is broken. How far in the future a due time may
// lie is not judged here.
func ParseControl(r Record, names ControlNames) (c Control, present bool, err error) {
	at := 0
	first := names.firstByte()
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
		if err := c.apply(name, value, names); err != nil {
			return Control{}, true, err
		}
	}
	return c, present, nil
}

// apply takes one control header in.
func (c *Control) apply(name, value []byte, names ControlNames) error {
	switch {
	case string(name) == HeaderScheduleTs, names.Ts != "" && string(name) == names.Ts:
		return c.applyTs(name, value)
	case string(name) == HeaderScheduleDelay:
		return c.applyDelay(name, value)
	default:
		return refuse(name, unknownReason(string(name)))
	}
}

func (c *Control) applyTs(name, value []byte) error {
	if err := c.checkSingle(name, c.HasTs); err != nil {
		return err
	}
	due, reason := parseDue(value)
	if reason != "" {
		return refuse(name, reason)
	}
	c.HasTs, c.Due = true, due
	return nil
}

func (c *Control) applyDelay(name, value []byte) error {
	if err := c.checkSingle(name, c.HasDelay); err != nil {
		return err
	}
	delay, reason := parseDelay(value)
	if reason != "" {
		return refuse(name, reason)
	}
	c.HasDelay, c.Delay = true, delay
	return nil
}

// checkSingle refuses a second order for the due time: which of two to follow would be
// a guess.
func (c *Control) checkSingle(name []byte, again bool) error {
	if again {
		return refuse(name, "is there twice; write it once")
	}
	if c.HasTs || c.HasDelay {
		return refuse(name, "comes with the other one of "+HeaderScheduleTs+" and "+
			HeaderScheduleDelay+"; write one of the two")
	}
	return nil
}

// unknownReason tells a header that a later version will serve from a misspelt one.
func unknownReason(name string) string {
	switch name {
	case HeaderScheduleID, HeaderScheduleCancel, HeaderScheduleExpireTs, HeaderScheduleCron,
		HeaderScheduleEvery, HeaderScheduleTz, HeaderScheduleCount, HeaderScheduleUntil,
		HeaderMessageID:
		return "is not supported by this version; leave it out"
	default:
		return "is not a known header; write " + HeaderScheduleTs + " or " + HeaderScheduleDelay
	}
}

// refuse builds the error for a header, whose name comes from a client.
func refuse(name []byte, reason string) error {
	return &ControlError{Header: printable(name), Reason: reason}
}

// printable returns client bytes fit for a log line: bounded, and quoted unless they
// are plain text.
func printable(p []byte) string {
	if len(p) <= maxShownBytes && isPlain(p) {
		return string(p)
	}
	return quoted(p)
}

// quoted returns client bytes in quotes, bounded.
func quoted(p []byte) string {
	if len(p) <= maxShownBytes {
		return strconv.QuoteToASCII(string(p))
	}
	cut := maxShownBytes
	for cut > maxShownBytes-utf8.UTFMax && !utf8.RuneStart(p[cut]) {
		cut--
	}
	return strconv.QuoteToASCII(string(p[:cut])) + "..."
}

// isPlain says whether p is printable ASCII without spaces or quotes.
func isPlain(p []byte) bool {
	for _, c := range p {
		if c <= ' ' || c >= 0x7f || c == '"' {
			return false
		}
	}
	return len(p) > 0
}
