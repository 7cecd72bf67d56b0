package timer

// Applied says how far the index of a partition has followed the two logs. It is written together
// with the entries, so that what survives a crash is always a consistent prefix.
type Applied struct {
	Staging   Offset // every staged batch below this staging offset is in the index
	Visible   Offset // every delivery below this partition-log offset is out of the index
	SettledTo Offset // every delivery below it has its settlement below Staging
	Low       Key    // no entry is below it: where a seek starts, past what deletes left behind
	Pending   int64  // entries in the index
	// OwedFrom is a staging offset: no entry below it was due already at its append. A start looks
	// from there on for records that producers wait for.
	OwedFrom Offset
}

// Change is one atomic step of an index: entries come, entries go, and Applied says why. Removals
// take effect before additions.
type Change struct {
	Add    []Entry
	Remove []Key
	// RemoveFrom and RemoveTo delete the keys in [RemoveFrom, RemoveTo) at once, beside Remove.
	// Equal keys mean no range.
	RemoveFrom, RemoveTo Key
	// Applied is stored unless it is nil. A rebuild leaves it out until its last change: an index
	// without it is rebuilt again.
	Applied *Applied
}

// Index keeps the pending records of all partitions in due order. Partitions do not see each
// other; calls for one partition must not overlap, calls for different partitions may. What Apply
// took is durable only after Flush or Close, or when the index chose to write it out; a crash
// keeps a prefix of the changes.
type Index interface {
	// Load returns how far the partition's entries follow the logs; ok is false when the index
	// knows nothing of the partition or did not finish building it.
	Load(p PartitionNumber) (a Applied, ok bool, err error)
	// Apply makes one change.
	Apply(p PartitionNumber, c *Change) error
	// Scan calls fn with at most limit entries whose key is not below from, in order, until fn
	// returns false.
	Scan(p PartitionNumber, from Key, limit int, fn func(e Entry) bool) error
	// Has says whether the key is there. Recovery asks, so that Pending stays exact.
	Has(p PartitionNumber, k Key) (bool, error)
	// Drop deletes everything of the partition.
	Drop(p PartitionNumber) error
	// Flush makes all changes so far durable.
	Flush() error
}
