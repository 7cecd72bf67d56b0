package kafkaproto

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronosdb/chronosdb/log"
)

// TestStagesOfAProduce lets a batch wait for its commit, and its answer for a client that is slow to
// read.
func TestStagesOfAProduce(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		h.replicas.Auto = false
		id := h.topic("slow")
		p := h.dial()
		p.send(1, produceTo(id, 1, oneBatch(t, 10)))
		<-time.After(30 * time.Millisecond)
		h.replicas.Of("slow", 0).Commit()
		<-time.After(7 * time.Millisecond)
		p.expect(1)
		synctest.Wait()
		m := h.server.Metrics()
		for stage, want := range [produceStages]time.Duration{0, 0, 30 * time.Millisecond, 7 * time.Millisecond} {
			wantLatency(t, ProduceStage(stage).String(), m.ProduceLatency[stage], want)
		}
		wantLatency(t, "Produce", m.RequestLatency["Produce"], 37*time.Millisecond)
		if n := m.RequestLatency["Fetch"].Count; n != 0 {
			t.Errorf("%d fetches were counted", n)
		}
	})
}

// TestStagesOfAFetch lets a fetch wait for an answer before it, and then for data.
func TestStagesOfAFetch(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("empty")
		p := h.dial()
		p.send(1, fetchFrom(id, 0, 40), fetchFrom(id, 0, 500))
		p.expect(1)
		p.expect(2)
		synctest.Wait()
		m := h.server.Metrics()
		for stage, want := range [fetchStages]time.Duration{
			40 * time.Millisecond, 540 * time.Millisecond, 0, 0,
		} {
			got := m.FetchLatency[stage]
			if got.Count != 2 || got.Sum != want {
				t.Errorf("stage %v: %d fetches took %v in all, want 2 and %v", FetchStage(stage), got.Count,
					got.Sum, want)
			}
		}
		got := m.RequestLatency["Fetch"]
		if want := (40 + 540) * time.Millisecond; got.Count != 2 || got.Sum != want {
			t.Errorf("%d fetches took %v in all, want 2 and %v", got.Count, got.Sum, want)
		}
	})
}

func wantLatency(t *testing.T, what string, got log.LatencySnapshot, want time.Duration) {
	t.Helper()
	if got.Count != 1 || got.Sum != want {
		t.Errorf("%s: %d requests took %v, want one and %v", what, got.Count, got.Sum, want)
	}
}

// BenchmarkStages is what the figures of one Produce request cost, whatever is in it: the looks at
// the clock and all that is counted.
func BenchmarkStages(b *testing.B) {
	o := Options{}
	o.EnsureDefaults()
	s := stages{all: make([]log.Latency, 2)}
	answers := make([]made, 0, pendingMax)
	b.ReportAllocs()
	for b.Loop() {
		read := o.Clock.Now()
		times := requestTimes{read: read, began: read, appended: o.Clock.Now()}
		s.begun(produceKey, times)
		began := o.Clock.Now()
		now := o.Clock.Now()
		s.answered(produceKey, times, turn{began, now, 0})
		answers = append(answers[:0], made{produceKey, read, now})
		s.sent(answers, o.Clock.Now())
	}
}
