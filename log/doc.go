// Package log keeps the records of one partition in segment files, byte for byte as they came.
//
// A [Log] is a folder of segments. Each holds Kafka v2 record batches back to back; only the base
// offset and the leader epoch of a batch are stamped, and both lie outside its CRC. [Log.Append]
// writes, [Log.Flush] makes durable, [Log.Read] reads without taking the append lock. A
// [Committer] flushes many logs with as few waits as it can: it is the group commit.
//
// # Promises
//
//   - What [Log.Flush] has reported as flushed survives any crash, or the log refuses to open and
//     names the damaged file. It is never cut silently.
//   - A record that recovery returns was appended: recovery never invents, reorders or duplicates.
//   - A failed write or fdatasync is final. Linux forgets a failed page after it has told of it
//     once, so a later fdatasync that succeeds proves nothing: the log answers [ErrFailed] until
//     the process has ended. Only a full disk is not final: the batch is cut, the log goes on.
//   - An index file is a hint. Any of them can be deleted, or damaged, and is rebuilt.
//
// # Offsets
//
// start <= recovery point <= flushed end <= end. All four only move up, but for [Log.Truncate].
// Below the recovery point Open reads nothing; between it and the flushed end Open reads and
// checks everything, and damage is [CorruptError]; beyond the flushed end a torn tail is cut.
//
// FORMAT.md shows every byte on disk, DESIGN.md the owners of all state and what a crash at each
// step leaves behind.
package log
