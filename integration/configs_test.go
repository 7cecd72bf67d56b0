package integration

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// topicConfig returns what kadm is told of one config of a topic.
func topicConfig(t *testing.T, admin *kadm.Client, topic, name string) kadm.Config {
	t.Helper()
	all, err := admin.DescribeTopicConfigs(testContext(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all[0].Configs {
		if c.Key == name {
			return c
		}
	}
	t.Fatalf("%s is not among the %d configs", name, len(all[0].Configs))
	return kadm.Config{}
}

func setConfigs(t *testing.T, admin *kadm.Client, topic string, changes ...kadm.AlterConfig) error {
	t.Helper()
	out, err := admin.AlterTopicConfigs(testContext(t), changes, topic)
	if err != nil {
		t.Fatal(err)
	}
	return out[0].Err
}

// TestConfigsAreChanged changes configs of a live topic with both APIs, sees them take effect at
// the next append, and finds them after a kill.
func TestConfigsAreChanged(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{})
	topic := createTopic(t, server.Addr(), 1)
	cl := newClient(t, server.Addr(), kgo.DefaultProduceTopic(topic), kgo.DisableIdempotentWrite(),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	admin := kadm.NewClient(cl)
	send := func(size int) error {
		r := kgo.Record{Key: []byte("k"), Value: []byte(strings.Repeat("v", size))}
		return cl.ProduceSync(testContext(t), &r).FirstErr()
	}
	if err := send(5000); err != nil {
		t.Fatal(err)
	}
	err := setConfigs(t, admin, topic, kadm.AlterConfig{Op: kadm.SetConfig, Name: "max.message.bytes", Value: new("1000")},
		kadm.AlterConfig{Op: kadm.AppendConfig, Name: "cleanup.policy", Value: new("compact")})
	if err != nil {
		t.Fatal(err)
	}
	if err := send(5000); !errors.Is(err, kerr.MessageTooLarge) {
		t.Fatalf("after max.message.bytes=1000 a record of 5,000 bytes gave %v", err)
	}
	if err := send(500); err != nil {
		t.Fatal(err)
	}
	err = setConfigs(t, admin, topic, kadm.AlterConfig{Op: kadm.SetConfig, Name: "retention.ms", Value: new("-2")})
	if !errors.Is(err, kerr.InvalidConfig) {
		t.Fatalf("retention.ms=-2 gave %v", err)
	}
	server.Kill()
	server.Up()
	if c := topicConfig(t, admin, topic, "cleanup.policy"); c.MaybeValue() != "delete,compact" ||
		c.Source != kmsg.ConfigSourceDynamicTopicConfig || len(c.Synonyms) != 2 {
		t.Errorf("cleanup.policy after a kill: %+v", c)
	}
	if err := send(5000); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("after a kill a record of 5,000 bytes gave %v", err)
	}
	// The older API replaces all configs.
	out, err := admin.AlterTopicConfigsState(testContext(t),
		[]kadm.AlterConfig{{Name: "segment.ms", Value: new("5000")}}, topic)
	if err != nil || out[0].Err != nil {
		t.Fatal(err, out)
	}
	if c := topicConfig(t, admin, topic, "max.message.bytes"); c.MaybeValue() != "1048588" ||
		c.Source != kmsg.ConfigSourceDefaultConfig {
		t.Errorf("max.message.bytes is still %+v", c)
	}
	if err := send(5000); err != nil {
		t.Error(err)
	}
}

// TestAppendsFollowConfigs: what a producer is told under min.insync.replicas and
// cleanup.policy=compact.
func TestAppendsFollowConfigs(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1, "min.insync.replicas", "2", "cleanup.policy", "compact")
	c := dial(t, addr)
	now := time.Now().UnixMilli()
	keyed := harness.Record("v")
	keyed.Key = []byte("k")
	raw := encode(t, harness.PlainBatch(now, keyed))
	if out := produceRaw(t, c, topic, raw); out.ErrorCode != kerr.NotEnoughReplicas.Code {
		t.Errorf("min.insync.replicas=2 on one node gave code %d, %s", out.ErrorCode, text(out.ErrorMessage))
	}
	admin := kadm.NewClient(newClient(t, addr))
	reset := kadm.AlterConfig{Op: kadm.DeleteConfig, Name: "min.insync.replicas"}
	if err := setConfigs(t, admin, topic, reset); err != nil {
		t.Fatal(err)
	}
	mustProduceRaw(t, c, topic, raw)
	out := produceRaw(t, c, topic, encode(t, harness.PlainBatch(now, keyed, harness.Record("no key"), keyed,
		harness.Record("none either"))))
	if out.ErrorCode != kerr.InvalidRecord.Code || len(out.ErrorRecords) != 2 ||
		out.ErrorRecords[0].RelativeOffset != 1 || out.ErrorRecords[1].RelativeOffset != 3 {
		t.Fatalf("records without a key gave %+v", out)
	}
	want := "Compacted topic cannot accept message without key in topic partition " + topic + "-0."
	if got := out.ErrorRecords[1].ErrorMessage; got == nil || *got != want {
		t.Errorf("the record's error is %s", text(got))
	}
}

// TestRecordsAreDeleted deletes up to an offset and up to the high watermark, over a kill; what is
// scheduled is delivered all the same.
func TestRecordsAreDeleted(t *testing.T) {
	t.Parallel()
	server := harness.Start(t, harness.Options{})
	topic := createTopic(t, server.Addr(), 1)
	cl := newClient(t, server.Addr(), kgo.DefaultProduceTopic(topic))
	admin := kadm.NewClient(cl)
	produceSync(t, cl, numbered(20)...)
	later := &kgo.Record{Value: []byte("later"), Headers: []kgo.RecordHeader{
		{Key: "chronos-schedule-delay", Value: []byte("3s")},
	}}
	if err := cl.ProduceSync(testContext(t), later).FirstErr(); err != nil {
		t.Fatal(err)
	}
	deleteTo := func(to int64) (int64, error) {
		offsets := kadm.Offsets{}
		offsets.AddOffset(topic, 0, to, -1)
		out, err := admin.DeleteRecords(testContext(t), offsets)
		if err != nil {
			t.Fatal(err)
		}
		one, _ := out.Lookup(topic, 0)
		return one.LowWatermark, one.Err
	}
	if low, err := deleteTo(7); low != 7 || err != nil {
		t.Fatalf("low watermark %d, %v", low, err)
	}
	if _, err := deleteTo(1000); !errors.Is(err, kerr.OffsetOutOfRange) {
		t.Fatalf("beyond the end: %v", err)
	}
	server.Kill()
	server.Up()
	start, err := admin.ListStartOffsets(testContext(t), topic)
	if o, _ := start.Lookup(topic, 0); err != nil || o.Offset != 7 {
		t.Fatalf("after a kill the log starts at %d, %v", o.Offset, err)
	}
	low, err := deleteTo(-1)
	if err != nil || low < 20 {
		t.Fatalf("low watermark %d, %v", low, err)
	}
	reader := newClient(t, server.Addr(), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Second)
	defer cancel()
	if low > 20 {
		t.Skip("the machine was so slow that the scheduled record was deleted, too")
	}
	records := reader.PollRecords(ctx, 1).Records()
	if len(records) != 1 || string(records[0].Value) != "later" || records[0].Offset != 20 {
		t.Fatalf("consumers see %v", records)
	}
}

// TestLogDirsAreDescribed: sizes, the volume, and the path.
func TestLogDirsAreDescribed(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 2)
	cl := newClient(t, addr, kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := cl.ProduceSync(testContext(t), &kgo.Record{Partition: 1, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	set := kadm.TopicsSet{}
	set.Add(topic, 0, 1)
	all, err := kadm.NewClient(cl).DescribeAllLogDirs(testContext(t), set)
	if err != nil {
		t.Fatal(err)
	}
	for _, dirs := range all {
		for path, dir := range dirs {
			empty, _ := dir.Topics.Lookup(topic, 0)
			one, ok := dir.Topics.Lookup(topic, 1)
			if dir.Err != nil || !ok || empty.Size != 0 || one.Size < 62 || one.OffsetLag != 0 || one.IsFuture {
				t.Errorf("%s: %+v, %+v, %+v", path, dir.Err, empty, one)
			}
			if !filepath.IsAbs(path) {
				t.Errorf("the path %q is relative", path)
			}
		}
	}
}
