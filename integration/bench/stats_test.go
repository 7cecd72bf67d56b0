package main

import (
	"bytes"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{4, 1, 9, 2}, 3}} {
		if got := medianFloat(test.values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
	}
}

func TestQuantile(t *testing.T) {
	var ds []time.Duration
	for i := range 1000 {
		ds = append(ds, time.Duration(i))
	}
	for _, test := range []struct {
		q    float64
		want time.Duration
	}{{0, 0}, {0.5, 500}, {0.99, 990}, {1, 999}} {
		if got := quantile(ds, test.q); got != test.want {
			t.Errorf("quantile %v is %v, want %v", test.q, got, test.want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("quantile of nothing is %v", got)
	}
}

func TestMiddleRun(t *testing.T) {
	var samples []sample
	for _, rate := range []float64{10, 30, 20} {
		samples = append(samples, sample{records: rate, elapsed: time.Second})
	}
	if got := middle(samples).rate(); got != 20 {
		t.Errorf("the middle run has %v/s, want 20", got)
	}
}

// TestContents wants values of the exact size that differ from one another.
func TestContents(t *testing.T) {
	b := &bench{values: map[int][][]byte{}}
	for _, size := range []int{100, 1024} {
		values := b.contents(size)
		for _, v := range values {
			if len(v) != size {
				t.Fatalf("a value of %d bytes, want %d", len(v), size)
			}
		}
		if bytes.Equal(values[0], values[1]) {
			t.Errorf("two values of %d bytes are equal", size)
		}
	}
}
