package main

import (
	"os"
	"testing"
)

// TestNoScreen: a device that nobody looks at is no terminal, so what is printed for a person there
// is not left out elsewhere.
func TestNoScreen(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if isTerminal(null) {
		t.Errorf("%s counts as a terminal", os.DevNull)
	}
}
