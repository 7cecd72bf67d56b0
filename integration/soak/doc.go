// Command soak runs a built server under mixed load for minutes and demands that nothing grows and
// nothing is lost.
//
// The load: producers of plain and scheduled records to several topics whose segments roll and are
// deleted by size, keyed records to a compacted topic, a consumer group for each topic whose
// members come and go, and topics that are made, used and deleted. Every few seconds the server's
// resident memory, goroutines, file descriptors and bytes on disk are looked at; after a warm-up
// they must stay within named bounds of what they were. At the end every acknowledged record was
// read by its group, in order, never twice under different offsets, never before it was due, and
// the compacted topic holds the last value of each key.
//
//	make soak ARGS=-minutes=2
package main
