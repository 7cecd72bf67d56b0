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
	// ActionDeliver: append the record to the partition log once it is due.
	ActionDeliver Action = 0
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
}

const (
	decisionVersion = 1
	// decisionBytes is the size of the value of the decision's header. It is fixed, so that the
	// decision is found from the record's end without a walk over the record.
	decisionBytes = 32
	// decisionHeaderBytes is the size of the whole header.
	decisionHeaderBytes = 4 + decisionBytes

	decisionCRCBytes = 4
)

// decisionPrefix is what stands before the value: the header's key "_d" and the value's length.
var decisionPrefix = [4]byte{2 << 1, '_', 'd', decisionBytes << 1}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// deliverFrom is the time that orders the record among those that wait: when it is due, but not
// before it was there. A time in the past is due now, so such records are delivered in the order in
// which they came, also among those of a batch that never asked for a time.
func (d Decision) deliverFrom() UnixMs { return max(d.Due, d.Appended) }

// append appends the decision's header to a record, whose body (what follows the length) starts at
// body, and with it the checksum of the whole body before the checksum.
func (d Decision) append(rec []byte, body int) []byte {
	be := binary.BigEndian
	rec = append(rec, decisionPrefix[:]...)
	rec = append(rec, decisionVersion, byte(d.Action), byte(d.Flags), byte(d.Codec))
	rec = be.AppendUint64(rec, uint64(d.Appended))
	rec = be.AppendUint64(rec, uint64(d.Due))
	rec = be.AppendUint64(rec, uint64(d.Timestamp))
	return be.AppendUint32(rec, crc32.Checksum(rec[body:], castagnoli))
}

// decisionOf reads the decision at the end of a staged record. It trusts the record's bytes: they
// were checked by the batch's CRC, or by checkRecord.
func decisionOf(rec []byte) (Decision, error) {
	at := len(rec) - decisionHeaderBytes
	if at < 1 || [4]byte(rec[at:]) != decisionPrefix {
		return Decision{}, fmt.Errorf("%w: the record does not end in one", ErrBadDecision)
	}
	v := rec[at+len(decisionPrefix):]
	if v[0] != decisionVersion {
		return Decision{}, fmt.Errorf("%w: version %d, this server knows %d; start the version"+
			" that wrote it, or a newer one", ErrBadDecision, v[0], decisionVersion)
	}
	d := Decision{
		Action:    Action(v[1]),
		Flags:     DecisionFlags(v[2]),
		Codec:     batch.Codec(v[3]),
		Appended:  UnixMs(binary.BigEndian.Uint64(v[4:])),
		Due:       UnixMs(binary.BigEndian.Uint64(v[12:])),
		Timestamp: UnixMs(binary.BigEndian.Uint64(v[20:])),
	}
	if d.Action != ActionDeliver || d.Flags&^(FlagControl|FlagDueNow) != 0 ||
		d.Codec < batch.None || d.Codec > batch.Zstd {
		return Decision{}, fmt.Errorf("%w: action %d, flags %#x, codec %d; start the version that"+
			" wrote it, or a newer one", ErrBadDecision, d.Action, d.Flags, d.Codec)
	}
	return d, nil
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
