package clients

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCompactedTopic reads a compacted topic to its end, with every client: over gaps between and
// within batches, and over batches without records.
func TestCompactedTopic(t *testing.T) {
	t.Parallel()
	const keys, rounds = 10, 15
	each(t, func(t *testing.T, c client) {
		topic := createTopic(t, "cleanup.policy", "compact", "internal.segment.bytes", "16384",
			"min.cleanable.dirty.ratio", "0.01")
		for round := range rounds {
			var sent []message
			for k := range keys {
				sent = append(sent, message{
					key: fmt.Sprint("k", k), value: fmt.Sprint(round, strings.Repeat("-", 1000)),
				})
			}
			// Most of these producers are done: compaction keeps their last batches, empty.
			o := produceOptions{codec: codecNames[round%2], idempotent: c.idempotent}
			c.produce(t, topic, o, sent)
		}
		left := awaitCompacted(t, topic, 3*keys)
		got := c.consume(t, topic, len(left))
		last := map[string]string{}
		for i, m := range got {
			if m.offset != left[i] {
				t.Fatalf("message %d is at offset %d, want %d", i, m.offset, left[i])
			}
			last[m.key] = m.value[:2]
		}
		for k := range keys {
			if v := last[fmt.Sprint("k", k)]; v != fmt.Sprint(rounds-1) {
				t.Errorf("the last value of k%d is of round %q", k, v)
			}
		}
		if end := endOffset(t, topic); len(left) == 0 || left[len(left)-1] != end-1 {
			t.Errorf("read up to %d of %d", left[len(left)-1], end)
		}
	})
}

// awaitCompacted waits until at most that many records are left, and nothing changes any more, and
// returns their offsets.
func awaitCompacted(t *testing.T, topic string, most int) []int64 {
	t.Helper()
	var before []int64
	for ctx := testContext(t); ; {
		var left []int64
		for _, b := range storedBatches(t, topic) {
			for _, r := range b.Records {
				left = append(left, b.FirstOffset+r.OffsetDelta)
			}
		}
		if len(left) <= most && fmt.Sprint(left) == fmt.Sprint(before) {
			return left
		}
		before = left
		select {
		case <-time.After(200 * time.Millisecond): // four looks of the cleaner
		case <-ctx.Done():
			t.Fatalf("%d records are left", len(left))
		}
	}
}
