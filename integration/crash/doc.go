// Package crash breaks the logs of a node at every file operation and in every byte, and asks an
// oracle that shares no code with package log whether something that was acknowledged is gone or
// something is served that nobody wrote.
//
// A history is a few dozen operations of every class (see classes) on a few logs with one
// committer, over a file system in memory. Before each operation that changes a file, and between
// any two operations of the history, the power is cut on a copy of the file system that keeps 0,
// 50 or 100 % of what was not synced, and the logs are opened on what is left; before each change
// of a file by that recovery the power is cut again. TestEveryPoint tries every point of some
// histories, TestPoints some points of thousands, TestFewPoints the same few every time.
//
// TestEveryFault lets each write, sync and name operation of a history fail in turn, with EIO and
// for want of space. The tests of torn writes and of damage leave every prefix of the last batch,
// and zero each block and flip bits of each kind of file.
//
// A failure prints its seed. Run one seed alone, with every point, by
//
//	go test ./integration/crash -run 'TestPoints$' -crash.seed=N
//
// A commit of several logs runs in several goroutines, so a seed may need a few repetitions.
package crash
