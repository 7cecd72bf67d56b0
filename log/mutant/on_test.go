//go:build mutants

package mutant

const withTag = true
