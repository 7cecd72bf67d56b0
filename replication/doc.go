// Package replication owns partitions: who leads them, what is in their two logs, and when an
// offset counts.
//
// A Manager opens a data directory, holds the cluster metadata (package metadata) and one Partition
// for each partition of each topic. A Partition owns a partition log, its hidden staging log with
// the schedule over it (package timer), one producer window that judges a batch before it goes to
// either log, the gate that keeps a producer's own batches a prefix across the two logs, the high
// watermarks and the leader epoch.
//
// On one node a partition is a leader with one replica. That is the same path as in a cluster: the
// high watermark is the lowest flushed end of the in-sync replicas, here of one.
//
// DESIGN.md in this folder has the states, the order of steps and what a crash after each leaves.
//
// Lock order: schedule -> Partition.mu -> log. Nobody calls into a schedule while holding
// Partition.mu, except for Advance, which takes no lock.
package replication
