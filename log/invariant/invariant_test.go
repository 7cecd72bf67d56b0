package invariant

import "testing"

func caught(f func()) (text any) {
	defer func() { text = recover() }()
	f()
	return nil
}

func TestCheck(t *testing.T) {
	tests := []struct {
		name string
		f    func()
		want any
	}{
		{"kept", func() { Check(true, "append at %d, want %d", 7, 7) }, nil},
		{
			"broken", func() { Check(false, "append at %d, want %d", 7, 9) },
			"invariant broken: append at 7, want 9",
		},
		{"unreachable", func() { Unreachable("kind %q", "x") }, `invariant broken: kind "x"`},
	}
	for _, tt := range tests {
		if got := caught(tt.f); got != tt.want {
			t.Errorf("%s: panics with %v, want %v", tt.name, got, tt.want)
		}
	}
}
