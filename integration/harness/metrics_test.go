package harness

import (
	"errors"
	"testing"
)

func TestMetrics(t *testing.T) {
	m, err := ParseMetrics("# HELP a things\n# TYPE a counter\na{api=\"x y\"} 3\na{api=\"z\"} 4.5\n" +
		"b 1e+06\nab 7\n\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"a": 7.5, "b": 1e6, "ab": 7} {
		if got, err := m.Sum(name); err != nil || got != want {
			t.Errorf("%s is %v, %v; want %v", name, got, err, want)
		}
	}
	if _, err := m.Sum("c"); !errors.Is(err, ErrNoMetric) {
		t.Errorf("an absent metric reads as %v", err)
	}
	if _, err := ParseMetrics("a three"); err == nil {
		t.Error("a value that is no number was accepted")
	}
}
