//go:build !mutants

package mutant

const withTag = false
