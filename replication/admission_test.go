package replication

import (
	"context"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// limited returns a node whose topic has configs.
func limited(t *testing.T, configs ...string) *node {
	t.Helper()
	n := startNode(t)
	set := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		set[configs[i]] = &configs[i+1]
	}
	if err := n.SetConfigs(n.topic.ID, set); err != nil {
		t.Fatal(err)
	}
	return n
}

// stage stages one batch of records that wait for a minute.
func (n *node) stage(values ...string) error {
	var recs []rec
	for _, v := range values {
		recs = append(recs, rec{v, at(60_000)})
	}
	_, err := n.try(n.batch(-1, -1, recs...), nil)
	return err
}

func TestNoMoreWaitThanTheTopicLets(t *testing.T) {
	n := limited(t, metadata.ConfigScheduleMaxPending, "5")
	want := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	want(n.stage("1", "2"), nil)
	want(n.stage("3", "4"), nil) // the first is not followed yet
	want(n.stage("5", "6"), ErrTooManyPending)
	n.idle()
	want(n.stage("5", "6"), ErrTooManyPending)
	n.send(n.part(), "k", "named", batch.HeaderScheduleDelay, "60000", batch.HeaderScheduleID, "x")
	n.idle()
	want(n.stage("7"), ErrTooManyPending)
	// What makes no more is taken: a replacement, a cancel, what is due at once, and plain records.
	n.send(n.part(), "k", "again", batch.HeaderScheduleDelay, "60000", batch.HeaderScheduleID, "x")
	n.send(n.part(), "k", "now", batch.HeaderScheduleTs, "1000000000000")
	n.append(n.batch(-1, -1, rec{value: "plain"}))
	n.idle()
	n.wantValues("plain", "now")
	want(n.stage("7"), ErrTooManyPending)
	n.send(n.part(), "k", "", batch.HeaderScheduleCancel, "x")
	n.idle()
	want(n.stage("7"), nil)
	n.restart()
	want(n.stage("8"), ErrTooManyPending)
	n.clock.Advance(time.Minute)
	n.idle()
	want(n.stage("8", "9", "10", "11", "12"), nil)
	if err := n.PauseTopic(context.Background(), "t", true); err != nil {
		t.Fatal(err)
	}
	_, err := n.try(n.batch(-1, -1, rec{"due", at(0)}), nil)
	want(err, ErrTooManyPending) // nothing is delivered now
	most := strconv.FormatInt(math.MaxInt64, 10)
	if err := n.SetConfigs(n.topic.ID, map[string]*string{metadata.ConfigScheduleMaxPending: &most}); err != nil {
		t.Fatal(err)
	}
	want(n.stage("13"), nil)
}

func TestArrivingKeepsCount(t *testing.T) {
	var a arriving
	for i := range 3 * arrivingMax {
		a.add(batch.Offset(i+1), 2)
	}
	if len(a.batches) > arrivingMax || a.records != 6*arrivingMax {
		t.Fatalf("%d batches, %d records", len(a.batches), a.records)
	}
	a.followed(10)
	if a.records != 6*arrivingMax-20 {
		t.Fatalf("%d records", a.records)
	}
	a.followed(3*arrivingMax - 1)
	if a.records == 0 {
		t.Fatal("the last one is not followed")
	}
	a.followed(3 * arrivingMax)
	if a.records != 0 {
		t.Fatalf("%d records", a.records)
	}
}

func TestATopicsOwnHeaderForTheTime(t *testing.T) {
	n := limited(t, metadata.ConfigScheduleHeaderTs, "deliver-at")
	ms := strconv.FormatInt(n.clock.Now().UnixMilli()+1000, 10)
	n.send(n.part(), "k", "v", "deliver-at", ms, "mine", "x")
	n.idle()
	n.wantValues()
	n.clock.Advance(time.Second)
	n.idle()
	n.wantValues("v")
	var names []string
	err := n.part().ReadAll(0, func(b batch.Batch) error {
		r, err := batch.NewReader(b, 1<<20)
		if err != nil {
			return err
		}
		defer r.Close()
		record, _, err := r.Next()
		if err != nil {
			return err
		}
		return record.EachHeader(func(key, _ []byte) bool {
			names = append(names, string(key))
			return true
		})
	})
	if err != nil || len(names) != 4 || names[0] != "mine" {
		t.Fatalf("headers %v, %v", names, err)
	}
	// A time that cannot be read is refused, as in the header of ours.
	now := n.clock.Now().UnixMilli()
	b := batch.NewBuilder(batch.BuilderOptions{
		BaseTimestamp: batch.UnixMs(now), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	})
	if err := b.Append(batch.RecordFields{
		TimestampMs: batch.UnixMs(now), Headers: []batch.Header{{Key: "deliver-at", Value: []byte("soon")}},
	}); err != nil {
		t.Fatal(err)
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	var refused *batch.RecordError
	if _, err := n.try(raw, nil); !errors.As(err, &refused) {
		t.Fatalf("a bad time: %v", err)
	}
	for _, name := range []string{"chronos-schedule-delay", string(make([]byte, 256))} {
		set := map[string]*string{metadata.ConfigScheduleHeaderTs: &name}
		if err := n.SetConfigs(n.topic.ID, set); !errors.Is(err, metadata.ErrInvalidConfig) {
			t.Errorf("name %.30q: %v", name, err)
		}
	}
}
