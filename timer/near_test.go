package timer

import "testing"

// TestABurstLeavesNoMemoryBehind: what a burst took is given back when it is over.
func TestABurstLeavesNoMemoryBehind(t *testing.T) {
	w := newWorld(t, Options{})
	waits := make([]UnixMs, 1000)
	for i := range waits {
		waits[i] = 100
	}
	for range 30 {
		w.stage(waits...)
	}
	w.idle()
	if got := w.s.Stats().NearBytes; got <= idleBytesMax {
		t.Fatalf("%d records take %d bytes: too few to show anything", 30*len(waits), got)
	}
	w.advance(100)
	w.idle()
	if got := w.s.Stats(); got.Pending != 0 || got.NearBytes > idleBytesMax {
		t.Fatalf("%d pending records, %d bytes held after the burst", got.Pending, got.NearBytes)
	}
}
