package replication

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
)

// TestADeliveryNeedsNoReservation: who waits at the gate holds memory, and a delivery opens the gate.
func TestADeliveryNeedsNoReservation(t *testing.T) {
	n := startNode(t)
	p := n.part()
	n.append(n.batch(5, 0, rec{"now", at(-10)})) // due now, staged
	small, err := log.NewBuffers(log.BuffersOptions{UndrainedBytesMax: 8192})
	if err != nil {
		t.Fatal(err)
	}
	p.deps.buffers = small // nothing undrained in it: only reservations count
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	appended := make(chan error, 1)
	b := n.batch(5, 1, rec{value: string(make([]byte, 8100))})
	go func() {
		_, err := p.Append(ctx, append(batch.Batch(nil), b...), AppendOptions{})
		appended <- err
	}()
	for small.Stats().ReservedBytes == 0 {
		runtime.Gosched()
	}
	idle := make(chan error, 1)
	go func() { idle <- n.RunUntilIdle() }()
	select {
	case err := <-appended:
		t.Logf("appended: %v", err)
	case <-time.After(3 * time.Second):
		t.Errorf("the producer waits at the gate, the delivery for memory: %+v", small.Stats())
		cancel()
		<-appended
	}
	<-idle
}
