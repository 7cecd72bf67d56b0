// Command mutants shows that the tests can fail: it breaks the server in each way that log/mutant
// names, and for each a named test has to notice.
//
// Every package is built once with the build tag mutants, so a test that fails later fails for
// what it saw, not for a build error. First each named test runs with no fault switched on and must
// pass; then it runs once for each fault that is its to find and must fail by its own verdict: a
// skip, a time-out or a crash of the test binary before the verdict does not count. What a test
// printed that does not pass with no fault, or comes to no verdict with it, goes to stderr whole:
// the seed to find out why is in it. Tests that run the built server find it, built with the same
// tag, through CHRONOS_BIN.
package main
