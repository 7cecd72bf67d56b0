package history

// Key names one record: a producer and its number.
type Key struct {
	Producer int
	Number   int
}

// Write is one record whose acknowledgement reached its producer.
type Write struct {
	Key
	Partition int32
	DueMs     int64 // Unix ms; 0 for a record without a schedule
}

// Read is one record as a consumer saw it.
type Read struct {
	Key
	Partition int32
	Offset    int64
	DueMs     int64 // Unix ms, from the record's own content; 0 without a schedule
	StampMs   int64 // the record's timestamp, Unix ms
	ArrivedMs int64 // when the consumer had it, Unix ms; 0 where nobody watched
}
