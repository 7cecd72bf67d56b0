package kafkaproto_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// memoryLog is one partition of the offsets topic in memory.
type memoryLog struct {
	mu struct {
		sync.Mutex
		records []groups.Record
	}
}

// done is a write that is durable at once.
type done struct{}

func (done) Done() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (done) Err() error { return nil }

func (l *memoryLog) Append(records []groups.Record) (groups.Pending, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.records = append(l.mu.records, records...)
	return done{}, nil
}

func (l *memoryLog) Replay(fn func(key, value []byte) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.mu.records {
		if err := fn(r.Key, r.Value); err != nil {
			return err
		}
	}
	return nil
}

// startServer serves a data directory over the loopback.
func startServer(t *testing.T) string {
	t.Helper()
	m, err := replication.Open(replication.Options{
		DataDir: t.TempDir(), Clock: clock.Real(), OnFailure: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := groups.Open(groups.Options{
		OpenLog: func(int32) (groups.OffsetsLog, error) { return new(memoryLog), nil },
		Clock:   clock.Real(), InitialRebalanceDelay: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := kafkaproto.NewServer(kafkaproto.Options{Listener: listener, Replicas: m, Groups: c})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// It ends when the cleanup below drains the server, and is waited for there.
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, err := range []error{s.Drain(ctx), <-served, c.Close(), m.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
	})
	return s.Addr().String()
}

func client(t *testing.T, seed string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append(opts, kgo.SeedBrokers(seed), kgo.AllowAutoTopicCreation())
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestWithFranz is the whole path under a real client: idempotent batches in every codec, a group
// that reads them in order, and a record for later that comes later.
func TestWithFranz(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	seed := startServer(t)
	const perCodec = 500
	codecs := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	want := 0
	for _, codec := range codecs {
		cl := client(t, seed, kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(codec))
		for range perCodec {
			cl.Produce(ctx, &kgo.Record{Value: fmt.Appendf(nil, "%06d", want)}, func(r *kgo.Record, err error) {
				if err != nil {
					t.Errorf("%s: %v", r.Value, err)
				}
			})
			want++
		}
		if err := cl.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	later := client(t, seed, kgo.DefaultProduceTopic("t"))
	began := time.Now()
	err := later.ProduceSync(ctx, &kgo.Record{
		Value:   []byte("later"),
		Headers: []kgo.RecordHeader{{Key: "chronos-schedule-delay", Value: []byte("500ms")}},
	}).FirstErr()
	if err != nil {
		t.Fatal(err)
	}

	consumer := client(t, seed, kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	got := 0
	for got <= want {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("after %d records: %v", got, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			expected := fmt.Sprintf("%06d", got)
			if got == want {
				expected = "later"
			}
			if string(r.Value) != expected || r.Offset != int64(got) {
				t.Fatalf("record %d: %q at offset %d", got, r.Value, r.Offset)
			}
			got++
		})
	}
	if early := time.Since(began); early < 500*time.Millisecond {
		t.Errorf("the record for later came after %v", early)
	}
	if err := consumer.CommitUncommittedOffsets(ctx); err != nil {
		t.Error(err)
	}
}
