package integration

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// TestKillKeepsCommits kills the server after a group committed: the next member goes on at the
// commit, and a member that lived through the kill can commit again.
func TestKillKeepsCommits(t *testing.T) {
	t.Parallel()
	const count, first, second = 60, 20, 15
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), 1)
	produceSync(t, newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic)), numbered(count)...)
	ctx := testContext(t)

	one := newClient(t, s.Addr(), groupOpts(topic)...)
	read := poll(ctx, t, one, first)
	if err := one.CommitRecords(ctx, read[first-1].Record); err != nil {
		t.Fatalf("commit: %v", err)
	}
	s.Restart()
	read = append(read, poll(ctx, t, one, second)...)
	if err := one.CommitRecords(ctx, read[len(read)-1].Record); err != nil {
		t.Fatalf("commit after the kill: %v", err)
	}
	one.Close()
	s.Restart()
	two := newClient(t, s.Addr(), groupOpts(topic)...)
	read = append(read, poll(ctx, t, two, count-first-second)...)
	for i, r := range read {
		if r.Offset != int64(i) || string(r.Value) != numberedValue(i) {
			t.Fatalf("record %d is %.20q at offset %d", i, r.Value, r.Offset)
		}
	}
}
