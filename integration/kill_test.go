package integration

import (
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/history"
)

// valueOf is the content of a record in the kill loops: it names itself, so that what is read can
// be judged without the server's help.
func valueOf(w history.Write, padding string) []byte {
	return fmt.Appendf(nil, "%d %d %d %s", w.Producer, w.Number, w.DueMs, padding)
}

// readOf is the inverse of valueOf, for a consumed record.
func readOf(t *testing.T, r arrival) history.Read {
	t.Helper()
	read := history.Read{
		Partition: r.Partition, Offset: r.Offset,
		StampMs: r.Timestamp.UnixMilli(), ArrivedMs: r.at.UnixMilli(),
	}
	_, err := fmt.Sscanf(string(r.Value), "%d %d %d", &read.Producer, &read.Number, &read.DueMs)
	if err != nil {
		t.Fatalf("record at %d of partition %d is not ours: %.40q: %v",
			r.Offset, r.Partition, r.Value, err)
	}
	return read
}

// readAll reads every partition of a topic from its start to its high watermark.
func readAll(t *testing.T, addr, topic string) []history.Read {
	t.Helper()
	ends, err := kadm.NewClient(newClient(t, addr)).ListEndOffsets(testContext(t), topic)
	if err != nil || ends.Error() != nil {
		t.Fatalf("list end offsets: %v, %v", err, ends.Error())
	}
	total := 0
	ends.Each(func(o kadm.ListedOffset) { total += int(o.Offset) })
	reads := make([]history.Read, 0, total)
	for _, r := range consume(t, addr, topic, total) {
		reads = append(reads, readOf(t, r))
	}
	return reads
}

// ledger collects what producers were told. Its goal channel lets a test act after so many
// acknowledgements.
type ledger struct {
	mu struct {
		sync.Mutex
		acked  []history.Write
		failed error
		goal   int
		met    chan struct{} // closed once the goal is met
	}
}

// promise returns a kgo promise that books a write.
func (l *ledger) promise(w history.Write) func(*kgo.Record, error) {
	return func(_ *kgo.Record, err error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if err != nil {
			l.mu.failed = fmt.Errorf("producer %d number %d: %w", w.Producer, w.Number, err)
		} else {
			l.mu.acked = append(l.mu.acked, w)
		}
		if l.mu.met != nil && (len(l.mu.acked) >= l.mu.goal || l.mu.failed != nil) {
			close(l.mu.met)
			l.mu.met = nil
		}
	}
}

// after returns a channel that is closed once n more writes are acknowledged, or one failed.
func (l *ledger) after(n int) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	met := make(chan struct{})
	l.mu.goal, l.mu.met = len(l.mu.acked)+n, met
	return met
}

// result returns all acknowledged writes and the last failure.
func (l *ledger) result() ([]history.Write, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]history.Write(nil), l.mu.acked...), l.mu.failed
}

// judge fails the test with each check's error.
func judge(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}
