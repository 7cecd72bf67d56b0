// Package timer keeps schedules: records that wait in a partition's staging log until they are due
// and are then appended to its partition log, exactly once and never early.
//
// The pure half turns bytes into bytes: Stage makes the staged batch that an accepted client batch
// becomes, with the leader's decision in every record; a settlement batch says which positions were
// delivered; a delivery batch is built from staged records. FORMAT.md shows their bytes.
//
// The other half is the Schedule of one partition. It follows the staging log's high watermark,
// keeps the order of all pending records in an Index on disk (derived: it can be deleted and is
// rebuilt from the two logs) and the near future in memory (package timer/wheel), and hands due
// records to its Sink as batches. DESIGN.md has the promise, the owners of all state, the clock
// rules, and what a crash after each step leaves.
package timer
