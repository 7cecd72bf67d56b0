package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// compressible is long and repeats itself, so that every codec makes it smaller: clients send a
// batch plain when a codec does not help.
var compressible = strings.Repeat("the same words again and again; ", 40)

// TestKgoCodecs writes with every codec, reads back, and looks at the codec bits of the batches
// that the server stored.
func TestKgoCodecs(t *testing.T) {
	t.Parallel()
	const count = 50
	for _, codec := range codecs {
		t.Run(codec.name, func(t *testing.T) {
			t.Parallel()
			addr := sharedAddr(t)
			topic := createTopic(t, addr, 1)
			cl := newClient(t, addr, kgo.DefaultProduceTopic(topic),
				kgo.ProducerBatchCompression(codec.kgo))
			produceSync(t, cl, numbered(count)...)
			for _, b := range storedBatches(t, addr, topic, count) {
				if got := kgo.CompressionCodecType(b.Attributes & harness.CodecBits); got != codec.code {
					t.Errorf("batch at %d is stored with codec %d, want %d",
						b.FirstOffset, got, codec.code)
				}
				if b.ProducerID < 0 {
					t.Errorf("batch at %d has no producer id: kgo writes idempotently", b.FirstOffset)
				}
			}
			for i, r := range consume(t, addr, topic, count) {
				if want := numberedValue(i); string(r.Value) != want || r.Offset != int64(i) {
					t.Fatalf("record %d is %.20q at offset %d", i, r.Value, r.Offset)
				}
			}
		})
	}
}

// TestKgoWithoutIdempotence writes with acks of the leader alone and with none.
func TestKgoWithoutIdempotence(t *testing.T) {
	t.Parallel()
	for _, acks := range []struct {
		name string
		acks kgo.Acks
	}{{"leader", kgo.LeaderAck()}, {"none", kgo.NoAck()}, {"all", kgo.AllISRAcks()}} {
		t.Run(acks.name, func(t *testing.T) {
			t.Parallel()
			addr := sharedAddr(t)
			topic := createTopic(t, addr, 1)
			cl := newClient(t, addr, kgo.DefaultProduceTopic(topic),
				kgo.DisableIdempotentWrite(), kgo.RequiredAcks(acks.acks))
			produceSync(t, cl, numbered(20)...)
			for i, r := range storedRecords(t, addr, topic, 20) {
				if string(r.Value) != numberedValue(i) {
					t.Fatalf("record %d is %.20q", i, r.Value)
				}
			}
		})
	}
}

// TestKgoAutoCreate writes to a topic that does not exist.
func TestKgoAutoCreate(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := topicName(t)
	cl := newClient(t, addr, kgo.DefaultProduceTopic(topic), kgo.AllowAutoTopicCreation())
	produceSync(t, cl, numbered(1)...)
	if got := consume(t, addr, topic, 1); string(got[0].Value) != numberedValue(0) {
		t.Fatalf("read %.20q", got[0].Value)
	}
}

// TestKgoGroupResumes reads half as one member, commits and leaves; the next member goes on
// exactly where the commit stands.
func TestKgoGroupResumes(t *testing.T) {
	t.Parallel()
	const count, first = 100, 37
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	produceSync(t, newClient(t, addr, kgo.DefaultProduceTopic(topic)), numbered(count)...)
	ctx := testContext(t)

	one := newClient(t, addr, groupOpts(topic)...)
	read := poll(ctx, t, one, first)
	if err := one.CommitRecords(ctx, read[len(read)-1].Record); err != nil {
		t.Fatalf("commit: %v", err)
	}
	one.Close()

	two := newClient(t, addr, groupOpts(topic)...)
	read = append(read, poll(ctx, t, two, count-first)...)
	for i, r := range read {
		if r.Offset != int64(i) || string(r.Value) != numberedValue(i) {
			t.Fatalf("record %d is %.20q at offset %d", i, r.Value, r.Offset)
		}
	}
	if err := two.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatalf("commit the rest: %v", err)
	}
	admin := kadm.NewClient(newClient(t, addr))
	offsets, err := admin.FetchOffsets(ctx, topic)
	if err != nil {
		t.Fatalf("fetch offsets: %v", err)
	}
	if got, ok := offsets.Lookup(topic, 0); !ok || got.At != count {
		t.Fatalf("the group stands at %v, want %d", got, count)
	}
}

// TestKgoGroupRebalances lets a second member join: both must end up with partitions, and after
// one of them leaves, the other must have them all again.
func TestKgoGroupRebalances(t *testing.T) {
	t.Parallel()
	const partitions = 4
	addr := sharedAddr(t)
	topic := createTopic(t, addr, partitions)
	ctx := testContext(t)
	one, owned := joinGroup(ctx, t, addr, topic)
	defer one.Close()
	awaitOwned(ctx, t, owned, func(n int) bool { return n == partitions })
	two, ownedByTwo := joinGroup(ctx, t, addr, topic)
	awaitOwned(ctx, t, ownedByTwo, func(n int) bool { return n > 0 && n < partitions })
	awaitOwned(ctx, t, owned, func(n int) bool { return n > 0 && n < partitions })
	two.Close()
	awaitOwned(ctx, t, owned, func(n int) bool { return n == partitions })
}

// joinGroup starts a member that polls by itself and reports how many partitions it owns after
// each change.
func joinGroup(
	ctx context.Context, t *testing.T, addr, topic string,
) (*kgo.Client, <-chan int) {
	t.Helper()
	changes := make(chan int, 64) // more than the rebalances of one test
	owned := 0                    // kgo calls the two hooks one at a time
	change := func(by int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			owned += by * len(parts[topic])
			changes <- owned
		}
	}
	cl := newClient(t, addr, append(groupOpts(topic),
		kgo.OnPartitionsAssigned(change(1)), kgo.OnPartitionsRevoked(change(-1)),
		kgo.OnPartitionsLost(change(-1)))...)
	// Closing the client ends this goroutine; the client's cleanup closes it at the latest.
	go func() {
		for !cl.PollFetches(ctx).IsClientClosed() && ctx.Err() == nil {
			continue
		}
	}()
	return cl, changes
}

func awaitOwned(ctx context.Context, t *testing.T, owned <-chan int, enough func(int) bool) {
	t.Helper()
	last := -1
	for !enough(last) {
		select {
		case last = <-owned:
		case <-ctx.Done():
			t.Fatalf("the member owns %d partitions: %v", last, ctx.Err())
		}
	}
}

func groupOpts(topic string) []kgo.Opt {
	return []kgo.Opt{
		kgo.ConsumerGroup(topic), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}
}

// numbered returns records whose values tell their number.
func numbered(n int) []*kgo.Record {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Value: []byte(numberedValue(i))}
	}
	return records
}

func numberedValue(i int) string { return fmt.Sprintf("%06d %s", i, compressible) }

func produceSync(t *testing.T, cl *kgo.Client, records ...*kgo.Record) {
	t.Helper()
	if err := cl.ProduceSync(testContext(t), records...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
}
