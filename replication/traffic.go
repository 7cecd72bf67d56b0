package replication

import "sync/atomic"

// traffic counts what goes through a partition. It is added to once for each batch or answer, never
// for a record.
type traffic struct {
	bytesIn, recordsIn            atomic.Int64
	bytesOut, recordsOut          atomic.Int64
	deletedBytes, deletedSegments atomic.Int64
}

// Traffic is what went through partitions since the start.
type Traffic struct {
	BytesIn, RecordsIn   int64 // accepted, into either log; duplicates are not counted again
	BytesOut, RecordsOut int64 // put into answers
	DeletedBytes         int64 // by retention and DeleteRecords
	DeletedSegments      int64
}

func (t *traffic) appended(bytes, records int) {
	t.bytesIn.Add(int64(bytes))
	t.recordsIn.Add(int64(records))
}

func (t *traffic) deleted(bytes int64, segments int) {
	t.deletedBytes.Add(bytes)
	t.deletedSegments.Add(int64(segments))
}

// addTo adds the counts to a sum.
func (t *traffic) addTo(sum *Traffic) {
	sum.BytesIn += t.bytesIn.Load()
	sum.RecordsIn += t.recordsIn.Load()
	sum.BytesOut += t.bytesOut.Load()
	sum.RecordsOut += t.recordsOut.Load()
	sum.DeletedBytes += t.deletedBytes.Load()
	sum.DeletedSegments += t.deletedSegments.Load()
}

// add adds other counts.
func (t *Traffic) add(o Traffic) {
	t.BytesIn += o.BytesIn
	t.RecordsIn += o.RecordsIn
	t.BytesOut += o.BytesOut
	t.RecordsOut += o.RecordsOut
	t.DeletedBytes += o.DeletedBytes
	t.DeletedSegments += o.DeletedSegments
}

// Served counts what an answer to a client holds of the partition.
func (p *Partition) Served(bytes, records int) {
	p.traffic.bytesOut.Add(int64(bytes))
	p.traffic.recordsOut.Add(int64(records))
}
