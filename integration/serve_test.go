package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// TestServeStartsQuickly wants the server ready within a second of its start. Other tests share
// the machine, so the best of a few starts counts.
func TestServeStartsQuickly(t *testing.T) {
	t.Parallel()
	const tries, limit = 5, time.Second
	s := harness.Start(t, harness.Options{})
	best := s.Process().ReadyAfter()
	for range tries - 1 {
		s.Restart()
		best = min(best, s.Process().ReadyAfter())
	}
	if best > limit {
		t.Errorf("ready %s after its start, want %s at most", best, limit)
	}
	t.Logf("ready after %s", best)
}

// TestStopAndStart stops cleanly with records delivered and pending, and finds all of them again:
// topics with their ids, offsets, the producer window, what is due later.
func TestStopAndStart(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{})
	if code, body := s.Health(); code != 200 || strings.TrimSpace(body) != "OK" {
		t.Errorf("/health answers %d %q", code, body)
	}
	topic := createTopic(t, s.Addr(), 1)
	cl := newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic))
	due := time.Now().Add(2 * ahead)
	produceSync(t, cl, &kgo.Record{Value: []byte("later"), Headers: []kgo.RecordHeader{
		{Key: headerTs, Value: strconv.AppendInt(nil, due.UnixMilli(), 10)},
	}})
	produceSync(t, cl, &kgo.Record{Value: []byte("now")})
	s.Stop()
	s.Up()
	produceSync(t, cl, &kgo.Record{Value: []byte("after")}) // with the next sequence
	got := consume(t, s.Addr(), topic, 3)
	for i, want := range []string{"now", "after", "later"} {
		if string(got[i].Value) != want || got[i].Offset != int64(i) {
			t.Errorf("record %d is %q at offset %d, want %q", i, got[i].Value, got[i].Offset, want)
		}
	}
	if at := headerMs(t, got[2].Record, headerScheduledFor); at != due.UnixMilli() {
		t.Errorf("due %d after the restart, want %d", at, due.UnixMilli())
	}
}

// TestRebuiltIndex deletes the schedule index of a killed server: it is derived, so the rebuilt
// one delivers every pending record once, at its own time, and none again.
func TestRebuiltIndex(t *testing.T) {
	t.Parallel()
	const count = 50
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), 1)
	cl := newClient(t, s.Addr(), kgo.DefaultProduceTopic(topic))
	base := time.Now().Add(2 * ahead).UnixMilli()
	var records []*kgo.Record
	for i := range count {
		due := base + int64(i*10)
		if i%2 == 0 {
			due = int64(1_600_000_000_000 + i) // delivered before the kill
		}
		records = append(records, &kgo.Record{Headers: []kgo.RecordHeader{
			{Key: headerTs, Value: strconv.AppendInt(nil, due, 10)},
		}, Value: strconv.AppendInt(nil, due, 10)})
	}
	produceSync(t, cl, records...)
	s.Kill()
	if err := os.RemoveAll(filepath.Join(s.DataDir(), "index")); err != nil {
		t.Fatal(err)
	}
	s.Up()
	seen := map[string]bool{}
	for _, r := range consume(t, s.Addr(), topic, count) {
		due := header(t, r.Record, headerScheduledFor)
		if string(r.Value) != due || seen[due] {
			t.Errorf("record with due %s delivered for %s, seen before: %v", r.Value, due, seen[due])
		}
		seen[due] = true
		if ms := headerMs(t, r.Record, headerScheduledFor); r.at.UnixMilli() < ms {
			t.Errorf("due %d arrived %d", ms, r.at.UnixMilli())
		}
	}
	produceSync(t, cl, &kgo.Record{Value: []byte("fence"), Headers: []kgo.RecordHeader{
		{Key: headerDelay, Value: []byte(fence)},
	}})
	all := storedRecords(t, s.Addr(), topic, count+1)
	if last := all[count]; string(last.Value) != "fence" {
		t.Errorf("the last record is %q: something was delivered again", last.Value)
	}
}

// TestSecondServerIsRefused starts a second server on a data directory in use: it must exit at
// once and name the process that holds it.
func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{})
	launch, _, err := harness.ServeLaunch(s.DataDir())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(testContext(t), launch.Binary, launch.Args...).CombinedOutput()
	if err == nil {
		t.Fatalf("a second server on %s exited with code 0", s.DataDir())
	}
	for _, want := range []string{s.DataDir(), strconv.Itoa(s.Process().Pid())} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the refusal does not name %s:\n%s", want, out)
		}
	}
}

// TestBadFlag misspells a flag: the start fails with a line that names it and the nearest one.
func TestBadFlag(t *testing.T) {
	t.Parallel()
	launch, _, err := harness.ServeLaunch(t.TempDir(), "--fsync-mod", "batch")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(testContext(t), launch.Binary, launch.Args...).CombinedOutput()
	if err == nil {
		t.Fatal("an unknown flag was accepted")
	}
	for _, want := range []string{"fsync-mod", "fsync-mode"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the refusal does not name %s:\n%s", want, out)
		}
	}
}
