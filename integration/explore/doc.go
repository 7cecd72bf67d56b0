// Package explore breaks a node in every way that a power cut can, and asks an oracle that knows
// nothing of the server whether a promise was broken.
//
// One history is a few thousand random operations on a replication.Manager without goroutines of
// its own, over a file system whose power can be cut between any two syncs and a clock that the
// test moves: producers with and without ids write plain, scheduled and mixed batches, retry,
// change logs and vanish; the clock runs and steps back; commits, deliveries, retention,
// checkpoints and config changes come in any order; the node is stopped, killed, cut off, cut off
// again while it starts, and robbed of its index. A power cut loses what was not synced, or part
// of it; a kill, at any file operation, leaves it for a later power cut to lose. In some histories
// the disk fails as well: a sync ends in an error and its bytes never get there, or there is no
// space. Package oracle keeps the history and judges each answer and each read.
//
// TestEveryCrashPoint cuts short histories at each of their syncs in turn. TestFewHistories is a
// first look that takes seconds, and finds every fault that log/mutant names. Directed tests next
// to them count in the file system what a start reads after a clean stop and after a kill.
//
// A failure prints its seed and the last operations. Run one seed alone with
//
//	go test ./integration/explore -run 'TestHistories$' -explore.seed=N
//
// with -explore.faults for one on a disk that fails.
//
// The index's database has goroutines of its own, so a seed that fails may need a few repetitions
// (-count) to fail again.
package explore
