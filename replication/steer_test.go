package replication

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// send appends a record with headers given as name, value, name, value.
func (n *node) send(p *Partition, key, value string, headers ...string) {
	n.t.Helper()
	now := clock.ToMs(n.clock.Now())
	b := batch.NewBuilder(batch.BuilderOptions{
		BaseTimestamp: now, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	})
	f := batch.RecordFields{TimestampMs: now, Key: []byte(key), Value: []byte(value)}
	for i := 0; i < len(headers); i += 2 {
		f.Headers = append(f.Headers, batch.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	if err := b.Append(f); err != nil {
		n.t.Fatal(err)
	}
	raw, err := b.Build(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := p.Append(context.Background(), raw, AppendOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

// list returns all of a filter in pages of a size.
func (n *node) list(f PendingFilter, limit int) (all []PendingRecord) {
	n.t.Helper()
	f.Limit = limit
	for range 1000 {
		page, next, err := n.ListPending(f)
		if err != nil {
			n.t.Fatal(err)
		}
		if len(page) > limit {
			n.t.Fatalf("a page of %d has %d", limit, len(page))
		}
		all = append(all, page...)
		if next == "" {
			return all
		}
		f.Cursor = next
	}
	n.t.Fatal("the list never ends")
	return nil
}

func positions(all []PendingRecord) (out []string) {
	for _, r := range all {
		out = append(out, fmt.Sprintf("%s-%d/%s", r.Topic, r.Partition, r.Position))
	}
	return out
}

func (n *node) steer(verb SteerVerb, r PendingRecord, due timer.UnixMs) SteerResult {
	n.t.Helper()
	res, err := n.Steer(context.Background(), r.Topic, r.Partition, verb, r.Position, due)
	if err != nil {
		n.t.Fatal(err)
	}
	return res
}

// stageMany stages 31 records in two topics.
func stageMany(t *testing.T) *node {
	n := startNode(t)
	other, err := n.CreateTopic(TopicSpec{Name: "a", Partitions: 3, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		p, err := n.Partition(other.ID, int32(i))
		if err != nil {
			t.Fatal(err)
		}
		for j := range 10 * i {
			n.send(p, "k"+strconv.Itoa(j%3), "v", batch.HeaderScheduleDelay, strconv.Itoa(1000+j%7))
		}
	}
	n.send(n.part(), "key", "value", batch.HeaderScheduleDelay, "60000", "mine", "x",
		batch.HeaderScheduleID, "one")
	n.idle()
	return n
}

func TestPendingIsListedInPages(t *testing.T) {
	n, want := stageMany(t), 31
	all := n.list(PendingFilter{Partition: -1}, 1000)
	if len(all) != want {
		t.Fatalf("%d are listed, want %d", len(all), want)
	}
	for i, r := range all[1:] {
		if b := all[i]; b.Topic == r.Topic && b.Partition == r.Partition && b.Due > r.Due {
			t.Fatalf("%v is before %v", b, r)
		}
	}
	for _, limit := range []int{1, 3, 7, 29} {
		if got := n.list(PendingFilter{Partition: -1}, limit); !slices.Equal(positions(got),
			positions(all)) {
			t.Fatalf("in pages of %d: %v, want %v", limit, positions(got), positions(all))
		}
	}
	for _, limit := range []int{1, 4, 1000} {
		if got := n.list(PendingFilter{Topic: "a", Partition: 2, Key: []byte("k1")}, limit); len(got) != 7 {
			t.Fatalf("%d have the key", len(got))
		}
	}
	now := clock.ToMs(n.clock.Now())
	f := PendingFilter{Partition: -1, DueFrom: now + 1002, DueTo: now + 1004}
	for _, r := range n.list(f, 2) {
		if r.Due < f.DueFrom || r.Due >= f.DueTo {
			t.Fatalf("%v is not in the range", r)
		}
		want--
	}
	if want != 31-9 {
		t.Fatalf("%d are not in the range", want)
	}
	named := n.list(PendingFilter{Partition: -1, ID: "one"}, 10)
	if len(named) != 1 || named[0].ID != "one" || string(named[0].Key) != "key" || named[0].Bytes != 8 {
		t.Fatalf("named: %+v", named)
	}
	got, err := n.GetPending("t", 0, named[0].Position)
	if err != nil || string(got.Value) != "value" || len(got.Headers) != 3 || got.Headers[1].Key != "mine" {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestPendingIsCounted(t *testing.T) {
	n := stageMany(t)
	now := clock.ToMs(n.clock.Now())
	counts, err := n.CountPending("")
	if err != nil || len(counts) != 3 || counts[1].Pending != 20 || counts[2].Topic != "t" ||
		counts[2].NextDue > now+60_000 {
		t.Fatalf("counts %+v, %v", counts, err)
	}
	for _, scans := range []int{1_000_000, 8} {
		buckets, err := n.histogram("", now, scans)
		if err != nil {
			t.Fatal(err)
		}
		sum := int64(0)
		for _, b := range buckets {
			sum += b.Pending
		}
		// 1000 ms is within a second, 1001 to 1006 and 60000 ms are within a minute.
		if sum != 31 || scans > 8 && (buckets[1].Pending != 2+3 || buckets[2].Pending != 26) {
			t.Fatalf("histogram %+v", buckets)
		}
	}
}

func TestBadQuestionsAboutPending(t *testing.T) {
	n := startNode(t)
	n.send(n.part(), "k", "v", batch.HeaderScheduleDelay, "1000")
	n.idle()
	ctx := context.Background()
	_, _, err1 := n.ListPending(PendingFilter{Partition: -1, Limit: 0})
	_, _, err2 := n.ListPending(PendingFilter{Partition: -1, Limit: 1, Cursor: "rubbish"})
	_, _, err3 := n.ListPending(PendingFilter{Topic: "none", Partition: -1, Limit: 1})
	_, _, err4 := n.ListPending(PendingFilter{Topic: "t", Partition: 1, Limit: 1})
	_, err5 := n.GetPending("t", 0, timer.Position{Epoch: 1, Offset: 99})
	_, err6 := n.GetPending("none", 0, timer.Position{})
	_, err7 := n.CountPending("none")
	_, err8 := n.PendingHistogram("none", 0)
	_, err9 := n.Steer(ctx, "t", 7, SteerCancel, timer.Position{}, 0)
	err10 := n.PauseTopic(ctx, "none", true)
	r := n.list(PendingFilter{Partition: -1}, 10)[0]
	_, err11 := n.Steer(ctx, "t", 0, SteerMove, r.Position, 1<<60)
	for i, c := range []struct{ got, want error }{
		{err1, ErrBadFilter},
		{err2, ErrBadCursor},
		{err3, metadata.ErrUnknownTopic},
		{err4, ErrUnknownPartition},
		{err5, ErrNotPending},
		{err6, metadata.ErrUnknownTopic},
		{err7, metadata.ErrUnknownTopic},
		{err8, metadata.ErrUnknownTopic},
		{err9, ErrUnknownPartition},
		{err10, metadata.ErrUnknownTopic},
		{err11, ErrInvalidDue},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%d: %v, want %v", i+1, c.got, c.want)
		}
	}
}

func TestSteeringSurvivesACrash(t *testing.T) {
	n := startNode(t)
	for i := range 5 {
		n.send(n.part(), "k", "v"+strconv.Itoa(i), batch.HeaderScheduleDelay, strconv.Itoa(10_000+i))
	}
	n.send(n.part(), "k", "again", batch.HeaderScheduleDelay, "20000",
		batch.HeaderScheduleEvery, "5000", batch.HeaderScheduleID, "r")
	n.idle()
	now := clock.ToMs(n.clock.Now())
	all := n.list(PendingFilter{Topic: "t", Partition: 0}, 10)
	for _, c := range []struct {
		verb SteerVerb
		r    int
		due  timer.UnixMs
		done bool
	}{
		{SteerCancel, 0, 0, true},
		{SteerCancel, 0, 0, false},
		{SteerMove, 0, now + 1, false},
		{SteerMove, 1, now + 60_000, true},
		{SteerMove, 1, now + 60_000, true}, // it is so already
		{SteerNow, 2, 0, true},
		{SteerMove, 5, now + 22_000, true},
	} {
		if got := n.steer(c.verb, all[c.r], c.due); got.Done != c.done || got.Done == (got.Reason != "") {
			t.Fatalf("%+v: %+v", c, got)
		}
	}
	n.powerCut()
	n.idle()
	n.wantValues("v2")
	if got := n.steer(SteerNow, all[2], 0); got.Done {
		t.Fatal("what was delivered is delivered again")
	}
	n.clock.Advance(22 * time.Second)
	n.idle()
	n.wantValues("v2", "v3", "v4", "again")
	left := n.list(PendingFilter{Topic: "t", Partition: 0}, 10)
	if len(left) != 2 || left[0].ID != "r" || left[0].Due != now+25_000 || left[1].Due != now+60_000 {
		t.Fatalf("left: %+v", left)
	}
	// A recurring record is cancelled by any of its positions.
	if got := n.steer(SteerMove, all[5], now+30_000); got.Done {
		t.Fatal("an occurrence that was delivered is moved")
	}
	if got := n.steer(SteerCancel, all[5], 0); !got.Done {
		t.Fatalf("%+v", got)
	}
	n.powerCut()
	n.clock.Advance(time.Hour)
	n.idle()
	n.wantValues("v2", "v3", "v4", "again", "v1")
}

func TestPauseOfATopicSurvivesACrash(t *testing.T) {
	n := startNode(t)
	ctx := context.Background()
	for range 2 {
		if err := n.PauseTopic(ctx, "t", true); err != nil {
			t.Fatal(err)
		}
	}
	n.powerCut()
	n.send(n.part(), "k", "soon", batch.HeaderScheduleDelay, "10")
	n.send(n.part(), "k", "now", batch.HeaderScheduleTs, "1000000000000")
	n.clock.Advance(time.Minute)
	n.idle()
	n.wantValues()
	counts, err := n.CountPending("t")
	if err != nil || len(counts) != 1 || !counts[0].Paused || counts[0].Pending != 2 {
		t.Fatalf("%+v, %v", counts, err)
	}
	if err := n.PauseTopic(ctx, "t", false); err != nil {
		t.Fatal(err)
	}
	n.idle()
	n.wantValues("now", "soon")
}

// With goroutines: orders come from many sides while records are delivered.
func TestSteeringWhileDeliveriesRun(t *testing.T) {
	dir := t.TempDir()
	m, err := Open(Options{DataDir: dir, OnFailure: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, Manager: m, clock: clock.NewManual(time.Now())}
	n.topic, err = n.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	const records = 60
	p := n.part()
	for i := range records {
		due := clock.ToMs(time.Now()) + 50 + timer.UnixMs(i)
		n.send(p, "k", strconv.Itoa(i), batch.HeaderScheduleTs, strconv.FormatInt(int64(due), 10))
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	gone := n.cancelAll(ctx, records)
	for _, pause := range []bool{true, false} {
		if err := m.PauseTopic(ctx, "t", pause); err != nil {
			t.Fatal(err)
		}
	}
	shown := n.values()
	for w := NewWatcher(); len(shown) < records-len(gone); shown = n.values() {
		p.Watch(w, batch.Offset(len(shown)))
		select {
		case <-w.C():
		case <-ctx.Done():
			t.Fatalf("%d are shown and %d cancelled, of %d", len(shown), len(gone), records)
		}
	}
	if len(shown)+len(gone) != records {
		t.Errorf("%d are shown and %d cancelled, of %d", len(shown), len(gone), records)
	}
	for _, v := range shown {
		if gone[v] {
			t.Errorf("%s was cancelled and is shown", v)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// cancelAll tries to cancel each of the first records three times, from four sides at once, and
// returns those for which it was done.
func (n *node) cancelAll(ctx context.Context, records int) map[string]bool {
	t, epoch := n.t, n.part().LeaderEpoch()
	cancelled := make(chan string, 3*records)
	done := make(chan struct{})
	for w := range 4 {
		go func() { // ends when it has tried all of its records
			defer func() { done <- struct{}{} }()
			for i := w; i < records; i += 4 {
				at := timer.Position{Epoch: epoch, Offset: timer.Offset(i)}
				for range 3 {
					res, err := n.Steer(ctx, "t", 0, SteerCancel, at, 0)
					if err != nil {
						t.Error(err)
						return
					}
					if res.Done {
						cancelled <- strconv.Itoa(i)
					}
				}
			}
		}()
	}
	for range 4 {
		<-done
	}
	close(cancelled)
	gone := map[string]bool{}
	for v := range cancelled {
		if gone[v] {
			t.Errorf("%s was cancelled twice", v)
		}
		gone[v] = true
	}
	return gone
}
