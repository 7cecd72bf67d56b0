// Package invariant states what the code promises about itself.
//
// A broken promise is a bug of ours, never a fault of the disk or of a client: those are returned
// as errors. After a broken promise the state in memory is not to be trusted, so the process ends
// and recovery, which is tested, starts from the durable state.
//
// [Check] is for conditions that cost next to nothing and is always on. Checks that cost more (a
// walk over a list, a second checksum) go behind [Enabled], which is constant, so that a normal
// build drops them. This is the only package that calls panic.
package invariant
