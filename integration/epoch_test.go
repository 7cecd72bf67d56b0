package integration

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// TestEpochRisesAtEveryStart looks at the leader epoch that positions begin with. If it stayed the
// same over a start, a staged batch that a crash took back and the one that got its offset
// afterwards would share a name, and the first one's delivery would count for the second.
func TestEpochRisesAtEveryStart(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), 1)
	starts := []func(){
		func() {}, // as it was started above
		s.Restart, // after SIGKILL
		func() { s.Stop(); s.Up() },
	}
	last := -1
	for i, start := range starts {
		start()
		cl := newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic))
		past := time.Now().Add(-time.Second).UnixMilli()
		produceSync(t, cl, &kgo.Record{Value: []byte("due"), Headers: []kgo.RecordHeader{
			{Key: headerTs, Value: strconv.AppendInt(nil, past, 10)},
		}})
		got := consume(t, s.Addr(), topic, i+1)[i]
		text, _, _ := strings.Cut(header(t, got.Record, headerPosition), ".")
		epoch, err := strconv.Atoi(text)
		if err != nil || epoch <= last {
			t.Errorf("start %d: leader epoch %q after %d", i+1, text, last)
		}
		last = epoch
	}
}
