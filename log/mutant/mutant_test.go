package mutant

import (
	"regexp"
	"testing"
)

func TestNames(t *testing.T) {
	seen := make(map[Name]bool)
	for _, n := range All() {
		if seen[n] || !regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`).MatchString(string(n)) {
			t.Errorf("name %q is taken or not in kebab case", n)
		}
		seen[n] = true
	}
}

// TestOn holds in both builds: without the tag mutants nothing is ever on.
func TestOn(t *testing.T) {
	for _, n := range All() {
		t.Setenv("CHRONOS_MUTANT", string(n))
		for _, other := range All() {
			if got, want := On(other), withTag && n == other; got != want {
				t.Errorf("with %s, On(%s) = %v, want %v", n, other, got, want)
			}
		}
	}
	t.Setenv("CHRONOS_MUTANT", "")
	if On("") {
		t.Error("no name, no fault")
	}
}
