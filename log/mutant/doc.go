// Package mutant names deliberate faults, each at one place in the code, that the crash and
// delivery tests must notice.
//
// A test that cannot fail proves nothing. With the build tag mutants, the environment variable
// CHRONOS_MUTANT switches on one fault by its name (for example CHRONOS_MUTANT=no-fsync), and the
// test runs are expected to fail. Without the tag, [On] is constant false and the compiler drops
// the faulty branch, so that a released binary cannot be told to misbehave.
package mutant
