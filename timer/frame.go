package timer

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/chronosdb/chronosdb/log/batch"
)

// frame is what the header of a batch built here says, but for what follows from its bytes.
type frame struct {
	attributes    int16
	count         int
	baseTimestamp UnixMs
	maxTimestamp  UnixMs
	producer      batch.ProducerID
	epoch         batch.ProducerEpoch
	sequence      batch.Sequence
}

// beginBatch appends room for a header.
func beginBatch(dst []byte) []byte {
	var header [batch.HeaderBytes]byte
	return append(dst, header[:]...)
}

// seal writes the header of the batch whose records lie behind the room of beginBatch, with base
// offset 0 and no leader epoch: Append stamps both.
func (f frame) seal(p []byte) batch.Batch {
	be := binary.BigEndian
	be.PutUint64(p[0:], 0)
	be.PutUint32(p[8:], uint32(len(p)-12))
	p[16] = 2 // magic
	be.PutUint32(p[23:], uint32(f.count-1))
	be.PutUint64(p[27:], uint64(f.baseTimestamp))
	be.PutUint64(p[35:], uint64(f.maxTimestamp))
	be.PutUint64(p[43:], uint64(f.producer))
	be.PutUint16(p[51:], uint16(f.epoch))
	be.PutUint32(p[53:], uint32(f.sequence))
	be.PutUint32(p[57:], uint32(f.count))
	b := batch.Batch(p)
	b.SetLeaderEpoch(batch.NoLeaderEpoch)
	b.SetAttributes(f.attributes)
	b.SealCRC()
	return b
}

// noProducer returns f without a producer.
func (f frame) noProducer() frame {
	f.producer, f.epoch, f.sequence = batch.NoProducerID, batch.NoProducerEpoch, batch.NoSequence
	return f
}

// sealValue makes a batch of a staging log with one record that has a value only, stamped with the
// time now.
func sealValue(kind batch.Kind, now UnixMs, value []byte) batch.Batch {
	p := beginBatch(make([]byte, 0, batch.HeaderBytes+len(value)+16))
	p = appendVarint(p, int64(3+1+bytesBytes(value)+1))
	p = append(p, 0, 0, 0) // attributes, timestamp delta, offset delta
	p = appendBytes(p, nil)
	p = appendBytes(p, value)
	p = appendVarint(p, 0)
	f := frame{attributes: kind.Attributes(), count: 1, baseTimestamp: now, maxTimestamp: now}
	return f.noProducer().seal(p)
}

var (
	errNotOfKind    = errors.New("it is not a batch of one record of that kind")
	errBrokenRecord = errors.New("its record is broken")
)

// valueOfKind reads what sealValue wrote, from a batch whose CRC was checked.
func valueOfKind(b batch.Batch, kind batch.Kind) ([]byte, error) {
	if b.Kind() != kind || b.Codec() != batch.None || b.Count() != 1 {
		return nil, errNotOfKind
	}
	rec, n, err := batch.ParseRecord(b.Records())
	if err != nil || n != len(b.Records()) {
		return nil, errBrokenRecord
	}
	return rec.Value, nil
}

// appendVarint appends v in the zigzag form that records use.
func appendVarint(dst []byte, v int64) []byte { return binary.AppendVarint(dst, v) }

// varintBytes returns how many bytes appendVarint takes for v.
func varintBytes(v int64) int {
	u := uint64(v)<<1 ^ uint64(v>>63)
	return (bits.Len64(u|1) + 6) / 7
}

// appendBytes appends p behind its length; nil is null.
func appendBytes(dst, p []byte) []byte {
	if p == nil {
		return append(dst, 1) // length -1
	}
	dst = appendVarint(dst, int64(len(p)))
	return append(dst, p...)
}

// bytesBytes returns how many bytes appendBytes takes for p.
func bytesBytes(p []byte) int {
	if p == nil {
		return 1
	}
	return varintBytes(int64(len(p))) + len(p)
}
