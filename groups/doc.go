// Package groups is the coordinator of classic consumer groups: who is in a
// group, which generation it is in, which bytes its leader assigned to whom, and
// which offsets it committed.
//
// # Shape
//
// A group belongs to one partition of the offsets topic, found by PartitionFor.
// Each such partition is one shard, and a shard has one mutex: whoever holds it
// owns every group of the shard. The group itself (classic) is a plain value
// without locks, clocks or goroutines: a transition takes the request and the
// time, changes the group, and leaves what must happen outside (answers, records
// to store) in an effects value that the shard carries out after it has let go
// of the mutex. That is why an answer is never given under a lock, and why the
// whole protocol can be tested as a table.
//
// # Durability
//
// Two things are stored, in Kafka's own record formats: an offset per group,
// topic and partition, and one record per group with its generation, members and
// assignments. A commit, and the assignment of a new generation, are answered only
// after the log says that the record is durable, and become visible only then, in
// the order of the log, so that a replay yields what was there before. What is not
// stored, as in Kafka, is a rebalance in progress: after a restart a group is Stable
// or Empty, and its members find their way back with their next heartbeat.
//
// # Time
//
// Every group computes the one moment at which it needs attention next (session
// timeouts, the end of a rebalance, members that never joined) and its shard keeps
// at most one timer for it. A heartbeat only moves a deadline; it arms nothing.
package groups
