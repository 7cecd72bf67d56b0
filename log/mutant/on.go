//go:build mutants

package mutant

import "os"

// On reports whether the fault n is switched on: CHRONOS_MUTANT is read at each call, so that a
// test can set it for itself.
func On(n Name) bool { return n != "" && os.Getenv("CHRONOS_MUTANT") == string(n) }
