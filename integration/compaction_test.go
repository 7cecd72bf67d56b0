package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// The topic of TestKcatReadsACompactedTopic.
const (
	compactedKeys   = 10
	compactedRounds = 20
	// compactedMost is how many records are left at most: the last of each key, those of the active
	// segment, and one at the end of each pass.
	compactedMost = 40
)

// TestKcatReadsACompactedTopic reads a topic to its end while and after it is compacted, and again
// after a kill. kcat -e ends at the high watermark only.
func TestKcatReadsACompactedTopic(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{Args: []string{"--compaction-check-interval", "20ms"}})
	topic := createTopic(t, s.Addr(), 1, "cleanup.policy", "compact",
		"internal.segment.bytes", "16384", "min.cleanable.dirty.ratio", "0.01",
		"delete.retention.ms", "0")
	last := map[string]string{}
	for round := range compactedRounds {
		// Each round is another idempotent producer, whose last batch compaction keeps, empty.
		cl := newClient(t, s.Addr(), kgo.ProducerBatchCompression(codecs[round%len(codecs)].kgo),
			kgo.DefaultProduceTopic(topic))
		for k := range compactedKeys {
			key, value := fmt.Sprint("k", k), fmt.Sprintf("%d-%s", round, noise(2000))
			r := &kgo.Record{Key: []byte(key), Value: []byte(value)}
			if round == compactedRounds-2 && k%2 == 0 {
				r.Value = nil // the last of these keys is a tombstone
				value = ""
			} else if round == compactedRounds-1 && k%2 == 0 {
				continue
			}
			if err := cl.ProduceSync(testContext(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			last[key] = value
		}
		if round%7 == 6 {
			readCompacted(t, s, topic)
		}
	}
	end := compactedRounds*compactedKeys - compactedKeys/2
	left := awaitCompacted(t, s, topic)
	checkCompacted(t, left, last, end)
	s.Kill()
	s.Up()
	checkCompacted(t, awaitCompacted(t, s, topic), last, end)
}

// noise returns text that does not compress to nothing.
func noise(n int) string {
	var b strings.Builder
	for x := uint64(n); b.Len() < n; {
		x = x*6364136223846793005 + 1442695040888963407
		b.WriteString(strconv.FormatUint(x, 36))
	}
	return b.String()[:n]
}

// compactedLine is a record as kcat prints it.
type compactedLine struct {
	offset     int
	key, value string
}

// readCompacted reads the whole topic.
func readCompacted(t *testing.T, s *harness.Server, topic string) (all []compactedLine) {
	t.Helper()
	out := harness.Kcat(t, s.Addr(), "", "-C", "-t", topic, "-o", "beginning", "-e", "-q",
		"-f", "%o %k %s\n").Stdout
	next := 0
	for line := range strings.Lines(out) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 3)
		offset, err := strconv.Atoi(fields[0])
		if err != nil || len(fields) != 3 || offset < next {
			t.Fatalf("kcat printed %.100q after offset %d", line, next-1)
		}
		next = offset + 1
		all = append(all, compactedLine{offset, fields[1], fields[2]})
	}
	return all
}

// awaitCompacted reads until little is left.
func awaitCompacted(t *testing.T, s *harness.Server, topic string) []compactedLine {
	t.Helper()
	for ctx := testContext(t); ; {
		all := readCompacted(t, s, topic)
		if len(all) <= compactedMost {
			return all
		}
		select {
		case <-time.After(clientRetry):
		case <-ctx.Done():
			t.Fatalf("%d records are left", len(all))
		}
	}
}

// checkCompacted compares the last value of each key, and the end.
func checkCompacted(t *testing.T, all []compactedLine, last map[string]string, end int) {
	t.Helper()
	got := map[string]string{}
	for _, line := range all {
		got[line.key] = line.value
	}
	for key, value := range last {
		if got[key] != value { // a tombstone that is gone reads as none
			t.Errorf("the last value of %s is %.20q, want %.20q", key, got[key], value)
		}
	}
	if n := len(all); n == 0 || all[n-1].offset != end-1 {
		t.Errorf("%d records, not up to %d", n, end-1)
	}
}

// TestCommittedOffsetsAreCompacted commits one partition's offset once and another's many times, and
// lets compaction have __consumer_offsets. Both are there after a kill.
func TestCommittedOffsetsAreCompacted(t *testing.T) {
	t.Parallel()
	const commits, most = 100, 30
	s := harness.Start(t, harness.Options{Args: []string{"--compaction-check-interval", "20ms"}})
	topic := createTopic(t, s.Addr(), 2)
	admin := kadm.NewClient(newClient(t, s.Addr()))
	commit := func(partition int32, at int64) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{
			Topic: topic, Partition: partition, At: at, LeaderEpoch: -1, Metadata: noise(2000),
		})
		if err := admin.CommitAllOffsets(testContext(t), "readers", offsets); err != nil {
			t.Fatal(err)
		}
	}
	commit(0, 7)
	set := []kadm.AlterConfig{
		{Name: "internal.segment.bytes", Value: kadm.StringPtr("16384")},
		{Name: "min.cleanable.dirty.ratio", Value: kadm.StringPtr("0.01")},
	}
	altered, err := admin.AlterTopicConfigs(testContext(t), set, "__consumer_offsets")
	if err != nil || altered[0].Err != nil {
		t.Fatal(err, altered)
	}
	for i := range int64(commits) {
		commit(1, i)
	}
	for ctx := testContext(t); ; {
		removed, err := s.Metrics().Sum("chronos_compaction_removed_records_total")
		if err != nil {
			t.Fatal(err)
		}
		if removed > commits-most {
			break
		}
		select {
		case <-time.After(clientRetry):
		case <-ctx.Done():
			t.Fatalf("compaction has removed %v of %d commits", removed, commits)
		}
	}
	for range 2 {
		got, err := admin.FetchOffsets(testContext(t), "readers")
		if err != nil {
			t.Fatal(err)
		}
		first, _ := got.Lookup(topic, 0)
		second, _ := got.Lookup(topic, 1)
		if first.At != 7 || second.At != commits-1 || first.Metadata != noise(2000) {
			t.Errorf("committed are %d and %d, want 7 and %d", first.At, second.At, commits-1)
		}
		s.Kill()
		s.Up()
	}
}
