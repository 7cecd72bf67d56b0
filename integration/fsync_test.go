package integration

import (
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// TestFsyncModes writes and schedules in every mode and kills the server: a process that dies
// takes nothing with it that was acknowledged, in none of them.
func TestFsyncModes(t *testing.T) {
	t.Parallel()
	const count = 100
	for _, mode := range []string{"batch", "every_event", "periodic"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, harness.Options{
				Args: []string{"--fsync-mode", mode, "--fsync-interval", "20ms"},
			})
			topic := createTopic(t, s.Addr(), 1)
			cl := newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic))
			due := time.Now().Add(ahead).UnixMilli()
			for i := range count {
				r := &kgo.Record{Value: []byte(numberedValue(i))}
				if i == 0 {
					r.Headers = []kgo.RecordHeader{
						{Key: headerTs, Value: strconv.AppendInt(nil, due, 10)},
					}
				}
				produceSync(t, cl, r)
			}
			s.Restart()
			got := consume(t, s.Addr(), topic, count)
			for i, r := range got {
				// The scheduled one, written first, arrives last.
				if want := numberedValue((i + 1) % count); string(r.Value) != want {
					t.Fatalf("record %d is %.20q, want %.20q", i, r.Value, want)
				}
			}
			last := got[count-1]
			if headerMs(t, last.Record, headerScheduledFor) != due || last.at.UnixMilli() < due {
				t.Errorf("due %d, arrived %d with %q", due, last.at.UnixMilli(), last.Headers)
			}
		})
	}
}
