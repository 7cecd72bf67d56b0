package batch

import "math/bits"

// controlKind is a set of control headers, each of which is one bit.
type controlKind uint16

const (
	kindTs controlKind = 1 << iota
	kindDelay
	kindID
	kindCancel
	kindExpire
	kindCron
	kindEvery
	kindTz
	kindCount
	kindUntil
	kindMessageID

	// kindTime are the answers to the question when the record is due, of which there is one.
	kindTime = kindTs | kindDelay | kindCron
	// kindRecurring are the answers to the question when it is due again.
	kindRecurring = kindCron | kindEvery
)

// controlHeaders are the names of the kinds, in the order of their bits.
var controlHeaders = [...]string{
	HeaderScheduleTs, HeaderScheduleDelay, HeaderScheduleID, HeaderScheduleCancel,
	HeaderScheduleExpireTs, HeaderScheduleCron, HeaderScheduleEvery, HeaderScheduleTz,
	HeaderScheduleCount, HeaderScheduleUntil, HeaderMessageID,
}

// header returns the name of the first kind of a set.
func (k controlKind) header() string { return controlHeaders[bits.TrailingZeros16(uint16(k))] }

// kindOf returns the kind of a control header, or 0 if it is not known.
func (names ControlNames) kindOf(name []byte) controlKind {
	if names.Ts != "" && string(name) == names.Ts {
		return kindTs
	}
	switch string(name) {
	case HeaderScheduleTs:
		return kindTs
	case HeaderScheduleDelay:
		return kindDelay
	case HeaderScheduleID:
		return kindID
	case HeaderScheduleCancel:
		return kindCancel
	case HeaderScheduleExpireTs:
		return kindExpire
	case HeaderScheduleCron:
		return kindCron
	case HeaderScheduleEvery:
		return kindEvery
	case HeaderScheduleTz:
		return kindTz
	case HeaderScheduleCount:
		return kindCount
	case HeaderScheduleUntil:
		return kindUntil
	case HeaderMessageID:
		return kindMessageID
	default:
		return 0
	}
}

// seenHeaders are the control headers of one record, as far as it has been read.
type seenHeaders struct {
	names ControlNames
	kinds controlKind
	ts    []byte // ts is the name under which kindTs came.
}

// add notes a header. It refuses one that is there already, and a second order for the due time:
// which of two to follow would be a guess.
func (s *seenHeaders) add(kind controlKind, name []byte) error {
	if s.kinds&kind != 0 {
		return refuse(name, "is there twice; write it once")
	}
	if other := s.kinds & kindTime; other != 0 && kind&kindTime != 0 {
		return refuse(name, "comes with "+s.nameOf(other)+"; write one of the two")
	}
	s.kinds |= kind
	if kind == kindTs {
		s.ts = name
	}
	return nil
}

// nameOf returns the first name of a set as the record has it.
func (s *seenHeaders) nameOf(kinds controlKind) string {
	if kinds&kindTs != 0 {
		return printable(s.ts)
	}
	return kinds.header()
}

// check refuses headers that contradict each other, or that mean nothing without another.
func (s *seenHeaders) check() error {
	if s.kinds&^(kindTs|kindDelay) == 0 {
		return nil // The common case.
	}
	for _, c := range contradictions {
		if with := s.kinds & c.with; with != 0 && s.kinds&c.kind != 0 {
			return refuse([]byte(c.kind.header()), "comes with "+s.nameOf(with)+"; "+c.instead)
		}
	}
	for _, d := range dependencies {
		if s.kinds&d.kind != 0 && s.kinds&d.on == 0 {
			return refuse([]byte(d.kind.header()), d.reason)
		}
	}
	return nil
}

// contradictions are the headers that may not come with any of others, and what to do instead.
var contradictions = [...]struct {
	kind, with controlKind
	instead    string
}{
	{
		kindCancel, kindTime | kindEvery | kindID | kindExpire | kindCount | kindUntil | kindTz,
		"write the cancel in a record of its own, which schedules nothing",
	},
	{kindEvery, kindCron, "write one of the two"},
	{
		kindExpire, kindRecurring,
		"write " + HeaderScheduleUntil + ", which ends a recurring record",
	},
}

// dependencies are the headers that mean nothing without one of others.
var dependencies = [...]struct {
	kind, on controlKind
	reason   string
}{
	{
		kindTz, kindCron, "comes without " + HeaderScheduleCron + ", the only one that needs a zone; " +
			"write the zone into the time itself, or leave it out",
	},
	{kindCount, kindRecurring, "comes without" + wantRecurring},
	{kindUntil, kindRecurring, "comes without" + wantRecurring},
}

const wantRecurring = " a recurrence that it could end; write " + HeaderScheduleCron + " or " +
	HeaderScheduleEvery + " beside it, or leave it out"

// unknownReason is the sentence for a header that begins like a control header and is none.
// A slip of the keyboard must not make a record that waits into one that does not.
func unknownReason(name string) string {
	if near := nearestHeader(name); near != "" {
		return "is not a known header; write " + near
	}
	return "is not a known header; write " + HeaderScheduleTs + " or " + HeaderScheduleDelay +
		", or leave it out"
}
