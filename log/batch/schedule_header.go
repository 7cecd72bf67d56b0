package batch

import (
	"strconv"
	"unicode/utf8"
)

// The headers that a producer sets. Names are compared byte for byte, as Kafka does:
// all are lower case.
const (
	HeaderScheduleTs       = "chronos-schedule-ts"
	HeaderScheduleDelay    = "chronos-schedule-delay"
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
