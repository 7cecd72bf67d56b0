// Package metadata holds what a cluster knows about itself: its identity, its topics with their
// ids, partitions and configs, and the blocks of producer ids that were handed out.
//
// It changes in one way only. A Command is appended to a command log, made durable, and then
// applied to the one deterministic State; the result is a new immutable Image, which readers load
// without a lock and may keep as long as they like. On one node the command log is a local log.Log
// (Store); a replicated log can take its place without touching State or any reader of an Image.
//
// Determinism is the rule that makes this work: Apply reads nothing but the State and the Command.
// Everything random or timed (a new topic id, a cluster id) is chosen by the proposer and travels
// inside the command.
//
// A crash leaves one of two things: the command is in the log, and the next start applies it, or it
// is not, and nobody was told that it happened. Every SnapshotEvery commands the State is written
// to a snapshot file (tmp, fsync, rename, fsync of the directory) and the log before it is dropped;
// a crash between the two leaves commands that the snapshot already contains, which are skipped by
// their offset.
package metadata
