// Package journal is the commit journal of a data directory: one write and one fdatasync make a
// commit of any number of logs durable. The segments are written behind it.
//
// A [Journal] is a few files of equal size that are filled one after the other and used again.
// Their blocks are written with zeros before the first use, because to overwrite blocks that a
// file system has assigned and written already takes 0.1 ms off every fdatasync: it has nothing of
// its own to commit. All writes go past the page cache, in multiples of 4 KiB.
//
// # Words
//
//   - A commit record is one [Journal.Commit]: entries of several logs under one checksum.
//   - An entry holds a log's bytes (inline), or says of bytes that went to the segment directly
//     which batches they are (by reference).
//   - The sequence counts commit records without a gap, over all files and restarts.
//   - The generation counts uses of files. A file's salt, a random number that goes into all of
//     its checksums, is new in each generation.
//
// # Promises
//
//   - What Commit has returned without error is replayed after any crash, until it is released.
//   - Only such records are replayed, and perhaps one more: the one that was under way.
//   - A record of an earlier generation is never taken for one of the current: generation, sequence
//     and position are inside the checksum, and so is the salt, which no client can know.
//   - Damage is told from a torn tail by what follows it: an intact record behind a bad one means
//     that the bad one was durable, and so does the header of a file that was begun later. That is
//     a [CorruptError] with file and byte, and nothing is cut. Each record says how many before it
//     are needed, so that one that is missing at the very beginning is noticed too, and damage in
//     those that were released is not held against anybody.
//   - The very last record has nothing behind it: if it rots before the next commit, a
//     [Journal.Confirm] or a clean stop, and the process dies as well, it looks torn.
//   - A failed write or fdatasync is final. A disk that has no room for one more file is not: the
//     files that there are go on, and one more is tried again when a commit needs it.
//
// # What a crash leaves
//
//	file being made      a file without a valid header: made again
//	header being written one of the two copies is whole, with the old generation or the new one;
//	                     a new generation is used only after both copies are durable
//	record being written a torn tail: the scan ends before it
//	Release              nothing: the file is begun anew later, and its header says what was released
//	Recovered            files of another size are removed behind a mark, which goes when the first
//	                     header is durable that says more: sequences never begin anew
//	Close                the mark of a clean stop is there, and says that no file has to be read
//
// # Speed
//
// BenchmarkCommit, files that were used before; 2 cores of an AMD EPYC, ext4, 2026-11-24. The
// machine was busy with other work (load 8), so that these are upper bounds; three runs each.
//
//	bytes of a record   best, median of a commit   at the best
//	4 KiB               0.16, 0.28 ms               25 MB/s
//	64 KiB              0.36, 0.39 ms              180 MB/s
//	1 MiB               2.8, 3.9 ms                372 MB/s
//
// FORMAT.md of package log has the bytes.
package journal
