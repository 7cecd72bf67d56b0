package batch

import (
	"bytes"
	"testing"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// TestReturnedBufferIsPoisoned looks at buffers through a view that has outlived them.
func TestReturnedBufferIsPoisoned(t *testing.T) {
	if !invariant.Enabled {
		t.Skip("buffers are only poisoned with -tags invariants or -race")
	}
	for _, n := range []int{0, 1, 2, 3, 1000, 1 << 16, maxPooledBytes + 1} {
		p := make([]byte, n/2, n)
		view := p[:n]
		putBuffer(&p)
		if got := bytes.Count(view, []byte{poisonByte}); got != n {
			t.Errorf("%d of %d bytes are poisoned", got, n)
		}
	}
}
