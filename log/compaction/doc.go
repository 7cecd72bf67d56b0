// Package compaction decides what compaction keeps of a log, batch by batch. It knows nothing of
// files: package log feeds it and writes what it returns.
//
// A pass has two halves, as in Kafka's Cleaner. A [Mapper] reads the batches that were not
// compacted yet and notes the last offset of each key in an [OffsetMap] of fixed size. A [Filter]
// then reads all batches from the log's start and returns what is left of each. When the map is
// full, the pass ends at the record that did not fit, and the next pass goes on there.
//
// The rules are those of Kafka 3.9's core/src/main/scala/kafka/log/LogCleaner.scala (Cleaner and
// CleanedTransactionMetadata) and clients' MemoryRecords.filterTo, with two that are stricter. Of
// what was compacted, the last batch keeps a record: some clients cannot read past empty batches
// at the end of a log. And a tombstone gets its delete horizon only from a pass whose map reaches
// beyond its batch, which is the pass that removes all older records of its key.
package compaction
