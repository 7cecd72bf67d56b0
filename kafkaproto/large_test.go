package kafkaproto

import (
	"bytes"
	"testing"
)

// TestLargestFrameFits: by default the largest request is admitted, and what is charged for it is
// what it takes, also while its buffer grows.
func TestLargestFrameFits(t *testing.T) {
	b := newBudget(RequestMemoryDefault)
	for _, n := range []int{1 << 20, 5 << 20, 33 << 20, 70 << 20, MaxRequestBytesDefault} {
		for _, grant := range []int{grantBytesMin, n} {
			c := b.claim(newShare(), produceKey, n, grant)
			if !c.try() {
				t.Fatalf("a request of %d bytes is not admitted", n)
			}
			real := int64(bufferBytes(n) + growingBytes(n, grant))
			if c.bytes < real && c.bytes < b.large.bytes {
				t.Errorf("%d bytes are charged for a request of %d that takes %d", c.bytes, n, real)
			}
			c.shrink(c.bytes - c.growing)
			if c.bytes < int64(bufferBytes(n)) {
				t.Errorf("%d bytes stay charged for a buffer of %d", c.bytes, bufferBytes(n))
			}
			c.release()
			if held := b.inFlight.Load(); held != 0 {
				t.Fatalf("%d bytes are still charged", held)
			}
		}
	}
}

// TestGrowingIsFollowed: what a frame outgrows is what growingBytes says.
func TestGrowingIsFollowed(t *testing.T) {
	for _, n := range []int{1000, 20_000, 3 << 20, 7 << 20} {
		frame := frameWith(produceKey, n)
		r := readerOf(bytes.NewReader(frame))
		f, err := r.read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := cap(f.bytes); got != bufferBytes(len(frame)-lengthBytes) {
			t.Errorf("a frame of %d bytes lies in %d", n, got)
		}
	}
}

// TestIdleBuffersAreBounded: whatever sizes come, the pool keeps little of what is not used.
func TestIdleBuffersAreBounded(t *testing.T) {
	var p bufferPool
	var used [][]byte
	for _, size := range bufferClasses {
		for range 3 {
			used = append(used, p.get(size))
		}
	}
	for _, b := range used {
		p.put(b)
		sum := 0
		for _, idle := range p.large.idle {
			sum += cap(idle)
		}
		if sum != p.large.bytes || sum > largeIdleBytesMax {
			t.Fatalf("%d idle bytes, counted %d", sum, p.large.bytes)
		}
	}
	largest := bufferClasses[len(bufferClasses)-1]
	again := p.get(largest)
	if cap(again) != largest || p.large.bytes != 0 {
		t.Fatalf("the largest buffer was not used again: %d bytes are idle", p.large.bytes)
	}
	p.put(again)
	if p.get(largeBytes); p.large.bytes > largeStaleBytesMax {
		t.Errorf("another size leaves %d idle bytes", p.large.bytes)
	}
}

// TestPoisonReachesEveryByte, whatever the size of the buffer.
func TestPoisonReachesEveryByte(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 1000, 4 << 10} {
		b := make([]byte, n)
		if poison(b); bytes.Count(b, []byte{0xDB}) != n {
			t.Errorf("%d of %d bytes are poisoned", bytes.Count(b, []byte{0xDB}), n)
		}
	}
}
