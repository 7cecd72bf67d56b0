// Package batch reads and writes Kafka record batches of format v2 in place.
//
// A Batch is a byte slice that holds one whole batch; its accessors read the
// 61-byte header without decoding or allocating, because a broker looks at a few
// fields of a batch and then moves its bytes untouched. Everything that looks
// deeper comes in two strengths:
//
//   - CheckFromClient, CheckStored: the header, the length and the CRC.
//   - WalkControl, Reader: every record's framing, byte for byte.
//
// Bytes from a client are hostile until both have passed: lengths are compared
// with what is left before they are used, varints have a longest form, and
// inflating stops at a limit that the caller names. Nothing here allocates by a
// length that the input merely claims.
//
// Layout of a batch (all integers big-endian; bytes 0 to 20 lie outside the CRC, so
// that a broker can stamp the offset and the leader epoch without hashing again):
//
//	 0 baseOffset int64         21 attributes int16       51 producerEpoch int16
//	 8 batchLength int32 (n-12) 23 lastOffsetDelta int32  53 baseSequence int32
//	12 leaderEpoch int32        27 baseTimestamp int64    57 recordCount int32
//	16 magic int8 (2)           35 maxTimestamp int64     61 records, maybe compressed
//	17 crc uint32 (CRC32C of [21, n))                     43 producerId int64
//
// Attributes: bits 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete
// horizon. Kafka leaves bits 7-15 unused and every client ignores them; ours are bit
// 14 (AttrMark, a delivery of the scheduler in a partition log) and bits 8-9 (Kind,
// staging logs only). CheckFromClient refuses all of them, so that only our own
// appends can set them.
//
// The package is also the only reader of the control headers that schedule a record
// (ParseControl). It keeps no state but pools of buffers and codecs, knows no clock,
// and is safe for concurrent use as far as values are not shared.
package batch
