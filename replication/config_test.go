package replication

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// set changes one config of the node's topic; "" returns it to its default.
func (n *node) set(name, value string) {
	n.t.Helper()
	set := map[string]*string{name: &value}
	if value == "" {
		set[name] = nil
	}
	if err := n.SetConfigs(n.topic.ID, set); err != nil {
		n.t.Fatal(err)
	}
}

// keyed builds a batch of records with those keys; "" is none.
func (n *node) keyed(keys ...string) batch.Batch {
	n.t.Helper()
	now := batch.UnixMs(n.clock.Now().UnixMilli())
	b := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: now}.NoProducer())
	for i, key := range keys {
		f := batch.RecordFields{TimestampMs: now, Value: fmt.Append(nil, "v", i)}
		if key != "" {
			f.Key = []byte(key)
		}
		if err := b.Append(f); err != nil {
			n.t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func TestMinInsyncReplicas(t *testing.T) {
	n := startNode(t)
	send := func(all bool) error {
		b := n.batch(-1, -1, rec{value: "a"})
		_, err := n.part().Append(context.Background(), b, AppendOptions{AllReplicas: all})
		return err
	}
	n.set(metadata.ConfigMinInsyncReplicas, "2")
	err := send(true)
	want := "The size of the current ISR : 1 is insufficient to satisfy the min.isr requirement of 2 " +
		"for partition t-0"
	if !errors.Is(err, ErrNotEnoughReplicas) || !strings.Contains(err.Error(), want) {
		t.Fatalf("acks=all gave %v", err)
	}
	if err := send(false); err != nil {
		t.Fatalf("acks=1 gave %v", err)
	}
	n.set(metadata.ConfigMinInsyncReplicas, "")
	if err := send(true); err != nil {
		t.Fatalf("after the change acks=all gave %v", err)
	}
	n.idle()
	n.wantValues("a", "a")
}

// TestCompactedTopicWantsKeys refuses a whole batch for its records without key, plain and
// compressed and with schedules switched off, from the next append after the change on.
func TestCompactedTopicWantsKeys(t *testing.T) {
	for _, enable := range []string{"true", "false"} {
		n := startNode(t)
		n.set(metadata.ConfigScheduleEnable, enable)
		if _, err := n.try(n.keyed("", "a"), nil); err != nil {
			t.Fatal(err)
		}
		n.set(metadata.ConfigCleanupPolicy, "compact")
		packed, err := batch.Recompress(n.keyed("a", "", "b", ""), batch.Zstd, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []batch.Batch{n.keyed("a", "", "b", ""), packed} {
			_, err := n.try(b, nil)
			var keyless *KeylessError
			if !errors.As(err, &keyless) || !errors.Is(err, ErrKeyless) {
				t.Fatalf("got %v", err)
			}
			want := "Compacted topic cannot accept message without key in topic partition t-0."
			if !slices.Equal(keyless.Records, []int{1, 3}) || keyless.Count != 2 ||
				keyless.Sentence() != want {
				t.Fatalf("got %+v: %s", keyless, keyless.Sentence())
			}
		}
		// A scheduled record would be delivered without a key: it is judged at acceptance.
		if _, err := n.try(n.batch(5, 0, rec{"later", at(1000)}), nil); !errors.Is(err, ErrKeyless) {
			t.Fatalf("a scheduled record without a key gave %v", err)
		}
		if _, err := n.try(n.keyed("a", "b"), nil); err != nil {
			t.Fatal(err)
		}
		n.set(metadata.ConfigCleanupPolicy, "delete")
		if _, err := n.try(n.keyed(""), nil); err != nil {
			t.Fatal(err)
		}
		n.idle()
		n.wantValues("v0", "v1", "v0", "v1", "v0")
	}
}

func TestKeylessRecordsAreBounded(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigCleanupPolicy, "compact,delete")
	_, err := n.try(n.keyed(make([]string, 500)...), nil)
	var keyless *KeylessError
	if !errors.As(err, &keyless) || keyless.Count != 500 || len(keyless.Records) != keylessRecordsMax {
		t.Fatalf("got %v", err)
	}
}

// TestPendingOutlivesCompaction: what was accepted without a key before the topic became compacted
// is delivered all the same.
func TestPendingOutlivesCompaction(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(5, 0, rec{"later", at(1000)}))
	n.idle()
	n.set(metadata.ConfigCleanupPolicy, "compact")
	n.clock.Advance(time.Second)
	n.idle()
	n.wantValues("later")
}

// TestCompressionLevels: a change of codec or level is used by the next append.
func TestCompressionLevels(t *testing.T) {
	n := startNode(t)
	rng := rand.New(rand.NewPCG(1, 2))
	text := ""
	for len(text) < 100_000 {
		text += fmt.Sprintf("user-%d clicked on item-%d; ", rng.IntN(500), rng.IntN(5000))
	}
	size := func() int64 {
		before := n.part().log.Size()
		n.append(n.batch(-1, -1, rec{value: text}))
		n.idle()
		return n.part().log.Size() - before
	}
	plain := size()
	for codec, level := range map[string][2]string{"gzip": {"1", "9"}, "zstd": {"1", "22"}, "lz4": {"1", "17"}} {
		n.set(metadata.ConfigCompressionType, codec)
		n.set("compression."+codec+".level", level[0])
		low := size()
		n.set("compression."+codec+".level", level[1])
		if high := size(); low >= plain || high >= low {
			t.Errorf("%s: %d bytes plain, %d at level %s, %d at %s", codec, plain, low, level[0], high, level[1])
		}
	}
	n.set(metadata.ConfigCompressionType, "uncompressed")
	if got := size(); got != plain {
		t.Errorf("uncompressed: %d bytes, plain %d", got, plain)
	}
}

// aged builds a batch of records whose timestamps lie so far from now.
func (n *node) aged(offsets ...time.Duration) batch.Batch {
	n.t.Helper()
	stamp := func(d time.Duration) batch.UnixMs { return batch.UnixMs(n.clock.Now().Add(d).UnixMilli()) }
	b := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: stamp(offsets[0])}.NoProducer())
	for _, d := range offsets {
		if err := b.Append(batch.RecordFields{TimestampMs: stamp(d), Value: []byte("a")}); err != nil {
			n.t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// TestTimestampLimits: each record's timestamp is compared with now, plain and compressed, from the
// next append on, and not at all where the server's time replaces it.
func TestTimestampLimits(t *testing.T) {
	const hour = time.Hour
	n := startNode(t)
	send := func(want bool, offsets ...time.Duration) {
		t.Helper()
		packed, err := batch.Recompress(n.aged(offsets...), batch.Zstd, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []batch.Batch{n.aged(offsets...), packed} {
			_, err := n.try(b, nil)
			if (err == nil) != want || err != nil && !errors.Is(err, ErrInvalidTimestamp) {
				t.Errorf("%v from now, %v: got %v", offsets, b.Codec(), err)
			}
		}
	}
	send(true, 0, hour, -100_000*hour) // the defaults
	send(false, 0, hour+time.Millisecond, 0)
	n.set(metadata.ConfigTimestampAfterMax, "0")
	send(true, 0, -hour)
	send(false, 0, time.Millisecond)
	n.set(metadata.ConfigTimestampBeforeMax, "60000")
	send(true, -time.Minute)
	send(false, 0, -time.Minute-time.Millisecond, 0)
	n.set(metadata.ConfigTimestampType, "LogAppendTime")
	send(true, hour, -hour, 100*hour)
	n.set(metadata.ConfigTimestampType, "")
	send(false, hour)
}

// TestLogAppendTime: the server's time stands in the answer and in the batch, compressed or not, and
// producers' times are kept again once the config is back.
func TestLogAppendTime(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigTimestampType, "LogAppendTime")
	packed, err := batch.Recompress(n.aged(-time.Hour, 0), batch.Gzip, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	now := batch.UnixMs(n.clock.Now().UnixMilli())
	for i, b := range []batch.Batch{n.aged(-time.Hour, 0), packed, n.aged(-time.Hour, 0)} {
		want := now
		if i == 2 {
			n.set(metadata.ConfigTimestampType, "CreateTime")
			want = -1
		}
		ack := n.append(b)
		n.idle()
		if r, err := ack.Result(); err != nil || r.LogAppendTime != want {
			t.Errorf("batch %d: the answer says %d, %v; want %d", i, r.LogAppendTime, err, want)
		}
	}
	var stamps []batch.UnixMs
	err = n.part().ReadAll(0, func(b batch.Batch) error {
		r, err := batch.NewReader(b, 1<<20)
		if err != nil {
			return err
		}
		defer r.Close()
		for {
			rec, ok, err := r.Next()
			if err != nil || !ok {
				return err
			}
			stamps = append(stamps, b.Timestamp(rec))
		}
	})
	hourAgo := now - batch.UnixMs(time.Hour.Milliseconds())
	if want := []batch.UnixMs{now, now, now, now, hourAgo, now}; err != nil || !slices.Equal(stamps, want) {
		t.Errorf("stored timestamps %v, want %v; %v", stamps, want, err)
	}
}

// TestIndexInterval: entries lie as far apart as index.interval.bytes says, from the next append on.
func TestIndexInterval(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigInternalSegmentBytes, "1000000")
	entries := func() int64 {
		for range 40 {
			n.append(n.batch(-1, -1, rec{value: strings.Repeat("x", 200)}))
		}
		n.idle()
		before := n.part().log.Segments()
		if err := n.part().log.Roll(); err != nil {
			t.Fatal(err)
		}
		if err := n.part().checkpoint(); err != nil {
			t.Fatal(err)
		}
		names, err := n.fs.List(n.part().dir)
		if err != nil {
			t.Fatal(err)
		}
		names = slices.DeleteFunc(names, func(s string) bool { return !strings.HasSuffix(s, ".index") })
		slices.Sort(names)
		info, err := n.fs.Stat(n.fs.PathJoin(n.part().dir, names[before-1]))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	wide := entries()
	n.set(metadata.ConfigIndexInterval, "300")
	if narrow := entries(); wide == 0 || narrow < 5*wide {
		t.Errorf("40 batches have an index of %d bytes, with index.interval.bytes=300 one of %d", wide, narrow)
	}
}

// TestSegmentConfigs: segment.ms, its jitter and max.compaction.lag.ms roll at the next append.
func TestSegmentConfigs(t *testing.T) {
	n := startNode(t)
	grow := func(after time.Duration) int {
		n.clock.Advance(after)
		n.append(n.batch(-1, -1, rec{value: "a"}))
		n.idle()
		return n.part().log.Segments()
	}
	if got := grow(0); got != 1 {
		t.Fatalf("%d segments", got)
	}
	n.set(metadata.ConfigSegmentMs, "10000")
	if got := grow(9999 * time.Millisecond); got != 1 {
		t.Fatalf("before segment.ms: %d segments", got)
	}
	if got := grow(time.Millisecond); got != 2 {
		t.Fatalf("at segment.ms: %d segments", got)
	}
	// max.compaction.lag.ms counts only where the topic is compacted, which refuses keyless records.
	n.set(metadata.ConfigMaxCompactionLag, "10")
	if got := grow(20 * time.Millisecond); got != 2 {
		t.Fatalf("not compacted: %d segments", got)
	}
	n.set(metadata.ConfigCleanupPolicy, "compact")
	if _, err := n.try(n.keyed("k"), nil); err != nil || n.part().log.Segments() != 3 {
		t.Fatalf("at max.compaction.lag.ms: %d segments, %v", n.part().log.Segments(), err)
	}
}

// TestConfigsReachAStageThatIsBeingMade changes a config while the first scheduled record makes the
// staging log: the change holds for that log, too.
func TestConfigsReachAStageThatIsBeingMade(t *testing.T) {
	n := startNode(t)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	changed := 0
	disk := vfs.NewFaulty(n.fs, vfs.Fault{Op: vfs.OpOpen, Glob: "recovery-point", Before: func(path string) {
		if strings.Contains(path, stagingDir) {
			changed++
			n.set(metadata.ConfigInternalSegmentBytes, "1000000")
		}
	}})
	var err error
	n.Manager, err = Open(Options{DataDir: "/data", FS: disk, Clock: n.clock, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		n.append(n.batch(-1, -1, rec{value: strings.Repeat("x", 5000), delay: at(1 << 30)}))
	}
	n.idle()
	if got := n.part().stage.Load().log.Segments(); got != 1 || changed == 0 {
		t.Errorf("%d segments of 50 kB; the limit was raised to 1 MB, %d times", got, changed)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSegmentJitter: with jitter, segments are sealed at different ages, never above segment.ms.
func TestSegmentJitter(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigSegmentMs, "1000")
	n.set(metadata.ConfigSegmentJitter, "900")
	ages := map[int]bool{}
	age, segments := 0, 1
	for range 400 {
		n.append(n.batch(-1, -1, rec{value: "a"}))
		n.idle()
		if now := n.part().log.Segments(); now > segments {
			if age > 1000 || age < 100 {
				t.Fatalf("a segment was sealed at the age of %d ms", age)
			}
			ages[age], age, segments = true, 0, now
		}
		age += 50
		n.clock.Advance(50 * time.Millisecond)
	}
	if len(ages) < 4 {
		t.Fatalf("segments were sealed at the ages %v ms only", ages)
	}
}

// TestConfigsSurviveARestart: what was changed is in force after a restart, before any request.
func TestConfigsSurviveARestart(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigCleanupPolicy, "compact")
	n.set(metadata.ConfigMinCleanableRatio, "0.25")
	n.set(metadata.ConfigMaxMessageBytes, "10")
	n.set(metadata.ConfigMaxMessageBytes, "")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n.open()
	c := n.part().Config()
	if !c.CleanupCompact || c.CleanupDelete || c.MinCleanableDirtyRatio != 0.25 || c.MaxMessageBytes != 1048588 {
		t.Fatalf("after a restart: %+v", c)
	}
	if _, err := n.try(n.keyed(""), nil); !errors.Is(err, ErrKeyless) {
		t.Fatalf("got %v", err)
	}
}

func TestIgnoredConfigsWarn(t *testing.T) {
	n := startNode(t)
	core, logged := observer.New(zap.WarnLevel)
	n.Manager.o.Logger = zap.New(core)
	n.set(metadata.ConfigMessageFormatVersion, "2.8")
	n.set(metadata.ConfigRetentionMs, "5")
	got := logged.FilterField(zap.String("config", "message.format.version")).Len()
	if got != 1 || logged.Len() != 1 {
		t.Fatalf("logged %v", logged.All())
	}
}

func TestValidateOnlyChangesNothing(t *testing.T) {
	n := startNode(t)
	change := func(value string) error {
		return n.ChangeConfigs(n.topic.ID, func(now map[string]string) (map[string]*string, error) {
			if now[metadata.ConfigInternalSegmentBytes] != "16384" {
				t.Errorf("the change sees %v", now)
			}
			return map[string]*string{metadata.ConfigRetentionMs: &value}, nil
		}, true)
	}
	if err := change("77"); err != nil {
		t.Fatal(err)
	}
	if err := change("x"); !errors.Is(err, metadata.ErrInvalidConfig) {
		t.Fatalf("got %v", err)
	}
	if got := n.Image().TopicByID(n.topic.ID).Config.RetentionMs; got != 604800000 {
		t.Fatalf("retention.ms is %d", got)
	}
}

// TestMinCompactionLag: what is younger is left alone, by the config of the moment.
func TestMinCompactionLag(t *testing.T) {
	n := startNode(t)
	n.compacted()
	n.set(metadata.ConfigMinCompactionLag, "3600000")
	n.fill(10)
	n.CompactAll()
	if m := n.Metrics().Compaction; m.RemovedRecords != 0 {
		t.Fatalf("records of ten seconds were compacted: %+v", m)
	}
	n.clock.Advance(time.Hour)
	n.CompactAll()
	removed := n.Metrics().Compaction.RemovedRecords
	if removed == 0 {
		t.Fatal("nothing was compacted after the lag")
	}
	n.fill(10)
	n.CompactAll()
	if got := n.Metrics().Compaction.RemovedRecords; got != removed {
		t.Fatalf("%d records removed, before %d, although they are young", got, removed)
	}
	n.set(metadata.ConfigMinCompactionLag, "")
	n.CompactAll()
	if got := n.Metrics().Compaction.RemovedRecords; got <= removed {
		t.Error("nothing was compacted without the lag")
	}
}

// TestDeleteRetention: a tombstone stays so long after a compaction has met it.
func TestDeleteRetention(t *testing.T) {
	n := startNode(t)
	n.compacted()
	n.set(metadata.ConfigMinCleanableRatio, "0")
	n.set(metadata.ConfigDeleteRetention, "10000000")
	tombstones := func() (count int) {
		n.fill(4) // so that a segment with it is closed
		n.CompactAll()
		for _, v := range n.values() {
			if v == "" {
				count++
			}
		}
		return count
	}
	n.append(n.keyedFrom(-1, -1, "gone", "", nil))
	if got := tombstones(); got != 1 {
		t.Fatalf("%d tombstones, want the one", got)
	}
	n.clock.Advance(9_000 * time.Second)
	if got := tombstones(); got != 1 {
		t.Fatalf("%d tombstones before delete.retention.ms", got)
	}
	n.clock.Advance(1_000 * time.Second)
	if got := tombstones(); got != 0 {
		t.Fatalf("%d tombstones after delete.retention.ms", got)
	}
}

// TestRetentionBytes: at least so much stays, by the config of the moment.
func TestRetentionBytes(t *testing.T) {
	n := startNode(t)
	n.fill(10)
	size := n.part().log.Size()
	retain := func(bytes string) int64 {
		n.set(metadata.ConfigRetentionBytes, bytes)
		if err := n.Retain(); err != nil {
			t.Fatal(err)
		}
		return n.part().log.Size()
	}
	for _, all := range []string{"", "-1", "-77", "1000000"} {
		if got := retain(all); got != size {
			t.Fatalf("retention.bytes=%s keeps %d of %d bytes", all, got, size)
		}
	}
	if got := retain("50000"); got < 50_000 || got >= 50_000+17_000 {
		t.Errorf("retention.bytes=50000 keeps %d bytes in segments of 16 KiB", got)
	}
	if retain("0"); n.part().log.Segments() != 1 {
		t.Errorf("retention.bytes=0 keeps %d segments", n.part().log.Segments())
	}
}

// TestSegmentBytes: from the next append on, no segment grows beyond it.
func TestSegmentBytes(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigInternalSegmentBytes, "")
	n.set(metadata.ConfigSegmentBytes, "1048576")
	grow := func() int {
		before := n.part().log.Segments()
		for range 30 {
			n.append(n.batch(-1, -1, rec{value: strings.Repeat("x", 100_000)}))
		}
		n.idle()
		return n.part().log.Segments() - before
	}
	if got := grow(); got != 2 {
		t.Errorf("3 MB began %d more segments of 1 MiB, want 2", got)
	}
	n.set(metadata.ConfigSegmentBytes, "2147483647")
	if got := grow(); got != 0 {
		t.Errorf("3 MB began %d more segments of 2 GiB", got)
	}
	n.restart()
	n.set(metadata.ConfigSegmentBytes, "1048576")
	if got := grow(); got != 3 {
		t.Errorf("3 MB began %d more segments after the limit was lowered, want 3", got)
	}
}
