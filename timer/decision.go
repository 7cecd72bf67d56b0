package timer

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Action is what the leader decided to do with a staged record.
type Action uint8

// The actions of this version. Replay refuses others: they change what is pending.
const (
	// ActionDeliver: append the record to the partition log once it is due. If it has an id, it
	// takes the place of the pending record of that id.
	ActionDeliver Action = 0
	// ActionCancel: drop the pending record of the id in Terms.Cancel; the record itself is never
	// shown.
	ActionCancel Action = 1
)

// DecisionFlags say more about a decision.
type DecisionFlags uint8

const (
	// FlagControl: the record had control headers. Its delivery has the time of delivery as
	// timestamp and says when it was due; others keep their timestamp.
	FlagControl DecisionFlags = 1 << iota
	// FlagDueNow: the record was due when it was appended.
	FlagDueNow
)

// Decision is what the leader wrote with a staged record. Replay reads nothing else of the record:
// no header, no configuration, no clock.
type Decision struct {
	Action    Action
	Flags     DecisionFlags
	Codec     batch.Codec // of the batch that the producer sent
	Appended  UnixMs      // the leader's append time
	Due       UnixMs
	Timestamp UnixMs // the producer's timestamp, or Appended where the topic asks for that
	terms     []byte // encoded Terms; empty: none
	id        []byte // that it takes or cancels; only while it is made
}

// setTerms adds the terms to a decision that is made.
func (d *Decision) setTerms(t Terms) error {
	if t.isNone() {
		return nil
	}
	d.terms = t.append(nil)
	d.id = t.ID
	if t.Cancel != nil {
		d.id = t.Cancel
	}
	if len(d.terms) > termTextMax {
		return errTermsTooLong
	}
	return nil
}

// Terms returns what most records do not have.
func (d *Decision) Terms() (Terms, error) { return termsOf(d.terms) }

const (
	// A decision without terms has version 1.
	decisionVersion      = 1
	decisionVersionTerms = 2
	// decisionBytes is the size of the value of the decision's header, or of what follows the terms
	// in it. It is fixed, so that the decision is found from the record's end without a walk over
	// the record.
	decisionBytes = 32
	// decisionHeaderBytes is the size of the whole header without terms.
	decisionHeaderBytes = 4 + decisionBytes
	// termsLengthBytes is the size of the terms' length, between terms and decision.
	termsLengthBytes = 2

	decisionCRCBytes = 4
)

// decisionPrefix is what stands before the value: the header's key "_d" and the value's length.
var decisionPrefix = [4]byte{2 << 1, '_', 'd', decisionBytes << 1}

// headerBytes is the size of the decision's whole header.
func (d *Decision) headerBytes() int {
	if len(d.terms) == 0 {
		return decisionHeaderBytes
	}
	value := len(d.terms) + termsLengthBytes + decisionBytes
	return 3 + varintBytes(int64(value)) + value
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// deliverFrom is the time that orders the record among those that wait: when it is due, but not
// before it was there. A time in the past is due now, so such records are delivered in the order in
// which they came, also among those of a batch that never asked for a time.
func (d Decision) deliverFrom() UnixMs { return max(d.Due, d.Appended) }

// append appends the decision's header to a record, whose body (what follows the length) starts at
// body, and with it the checksum of the whole body before the checksum.
func (d Decision) append(rec []byte, body int) []byte {
	be := binary.BigEndian
	if len(d.terms) == 0 {
		rec = append(rec, decisionPrefix[:]...)
		rec = append(rec, decisionVersion)
	} else {
		rec = append(rec, decisionPrefix[:3]...)
		rec = appendVarint(rec, int64(len(d.terms)+termsLengthBytes+decisionBytes))
		rec = append(rec, d.terms...)
		rec = be.AppendUint16(rec, uint16(len(d.terms)))
		rec = append(rec, decisionVersionTerms)
	}
	rec = append(rec, byte(d.Action), byte(d.Flags), byte(d.Codec))
	rec = be.AppendUint64(rec, uint64(d.Appended))
	rec = be.AppendUint64(rec, uint64(d.Due))
	rec = be.AppendUint64(rec, uint64(d.Timestamp))
	return be.AppendUint32(rec, crc32.Checksum(rec[body:], castagnoli))
}

// decisionOf reads the decision at the end of a staged record. It trusts the record's bytes: they
// were checked by the batch's CRC, or by checkRecord. The decision's terms alias rec.
func decisionOf(rec []byte) (Decision, error) {
	at := len(rec) - decisionBytes
	if at < len(decisionPrefix) {
		return Decision{}, fmt.Errorf("%w: the record does not end in one", ErrBadDecision)
	}
	v := rec[at:]
	d := Decision{
		Action:    Action(v[1]),
		Flags:     DecisionFlags(v[2]),
		Codec:     batch.Codec(v[3]),
		Appended:  UnixMs(binary.BigEndian.Uint64(v[4:])),
		Due:       UnixMs(binary.BigEndian.Uint64(v[12:])),
		Timestamp: UnixMs(binary.BigEndian.Uint64(v[20:])),
	}
	switch v[0] {
	case decisionVersion:
		if [4]byte(rec[at-len(decisionPrefix):at]) != decisionPrefix {
			return Decision{}, fmt.Errorf("%w: the record does not end in one", ErrBadDecision)
		}
	case decisionVersionTerms:
		var ok bool
		if d.terms, ok = termsBefore(rec[:at]); !ok {
			return Decision{}, fmt.Errorf("%w: the record does not end in one", ErrBadDecision)
		}
	default:
		return Decision{}, fmt.Errorf("%w: version %d, this server knows %d; start the version"+
			" that wrote it, or a newer one", ErrBadDecision, v[0], decisionVersionTerms)
	}
	if d.Action > ActionCancel || d.Flags&^(FlagControl|FlagDueNow) != 0 ||
		d.Codec < batch.None || d.Codec > batch.Zstd {
		return Decision{}, fmt.Errorf("%w: action %d, flags %#x, codec %d; start the version that"+
			" wrote it, or a newer one", ErrBadDecision, d.Action, d.Flags, d.Codec)
	}
	return d, nil
}

// termsBefore finds the terms at the end of rec, which ends before the fixed part of a decision.
func termsBefore(rec []byte) (terms []byte, ok bool) {
	at := len(rec) - termsLengthBytes
	if at < 0 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(rec[at:]))
	value := int64(n + termsLengthBytes + decisionBytes)
	prefix := 3 + varintBytes(value)
	if n == 0 || at < n+prefix {
		return nil, false
	}
	var want [3 + binary.MaxVarintLen64]byte
	copy(want[:], decisionPrefix[:3])
	binary.PutVarint(want[3:], value)
	return rec[at-n : at], string(rec[at-n-prefix:at-n]) == string(want[:prefix])
}

// checkRecord verifies a staged record that was read alone by the checksum of its own, and returns
// its decision.
func checkRecord(rec []byte) (Decision, error) {
	n, at := binary.Varint(rec)
	if at <= 0 || n != int64(len(rec)-at) {
		return Decision{}, fmt.Errorf("%w: %d bytes were read, the record says %d", ErrBadDecision,
			len(rec), n)
	}
	sumAt := len(rec) - decisionCRCBytes
	if sumAt < at {
		return Decision{}, fmt.Errorf("%w: the record has only %d bytes", ErrBadDecision, len(rec))
	}
	want := binary.BigEndian.Uint32(rec[sumAt:])
	if got := crc32.Checksum(rec[at:sumAt], castagnoli); got != want {
		return Decision{}, fmt.Errorf("%w: CRC32C of the record is %08x, it says %08x",
			ErrBadDecision, got, want)
	}
	return decisionOf(rec)
}
