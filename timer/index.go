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
	Paused   bool // an operator has paused the deliveries
}

// Change is one atomic step of an index: entries come, entries go, and Applied says why. Removals
// take effect before additions.
type Change struct {
	Add    []Entry
	Update []Entry // that are there already, with other flags
	Remove []Key
	Names  []Name
	Places []Place
	// RemoveFrom and RemoveTo delete the keys in [RemoveFrom, RemoveTo) at once, beside Remove.
	// Equal keys mean no range.
	RemoveFrom, RemoveTo Key
	// Applied is stored unless it is nil. A rebuild leaves it out until its last change: an index
	// without it is rebuilt again.
	Applied *Applied
}

// reset empties the change and keeps its buffers.
func (c *Change) reset() {
	*c = Change{
		Add: c.Add[:0], Update: c.Update[:0], Remove: c.Remove[:0], Names: c.Names[:0],
		Places: c.Places[:0],
	}
}

// Name says which entry has an id.
type Name struct {
	ID   string
	Key  Key
	Gone bool // no entry has it any more; Key means nothing
}

// Place is the key of an entry whose due time is not the one of its decision: one that recurs, from
// its second occurrence on, or was moved. For all others the staging log has it.
type Place struct {
	Key       Key
	Scheduled UnixMs // what its rule said, if it recurs; Key.Due may be another time
	Gone      bool   // the entry is there no more; only Key.Position means something
}

// Index keeps the pending records of all partitions in due order. Partitions do not see each
// other; changes of one partition must not overlap, those of different partitions may, and what
// only reads may come at any time: it sees all of a change or nothing. What Apply
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
	// Get returns the entry of a key; ok is false if it is not there.
	Get(p PartitionNumber, k Key) (e Entry, ok bool, err error)
	// Named returns the key of the entry that has an id; ok is false if none has.
	Named(p PartitionNumber, id string) (k Key, ok bool, err error)
	// Place returns the place of a record, by the position of its first occurrence; ok is false if
	// it is where its decision says, or not there.
	Place(p PartitionNumber, first Position) (pl Place, ok bool, err error)
	// Drop deletes everything of the partition.
	Drop(p PartitionNumber) error
	// Flush makes all changes so far durable.
	Flush() error
}
