// Package vfs is the file system as ChronosDB sees it: Pebble's interface, so that the schedule
// index runs on it, plus what a log needs and Pebble does not (positional writes without append
// mode, truncation, atomic replacement of a small file).
//
// Three file systems implement [FS]:
//
//   - [OS], the machine's own.
//   - [NewCrash], in memory, which knows for every byte, length and name whether it was synced,
//     and can show what a power cut leaves of the rest.
//   - [NewFaulty], which wraps either of the two and makes chosen operations fail or wait.
//
// The three rules that code on top has to keep, and that the crash file system punishes: written
// bytes are durable after a sync of the file; a name (new, renamed or removed) is durable after a
// sync of its directory; after a failed sync nothing is known, however well the next one goes.
package vfs
