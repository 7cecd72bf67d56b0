package clients

import (
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// kafkaGoClient has no idempotent producer.
var kafkaGoClient = client{
	name:      "kafka-go",
	produce:   kafkaGoProduce,
	consume:   kafkaGoConsume,
	groupRead: kafkaGoGroupRead,
	scheduled: []int64{-1, 0, 1},
}

var kafkaGoCodecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func kafkaGoProduce(t *testing.T, topic string, o produceOptions, messages []message) []int64 {
	t.Helper()
	var done struct {
		sync.Mutex
		offsets []int64
	}
	// The default transport caches metadata for seconds: it would not know a topic just made.
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	w := &kafka.Writer{
		Transport: transport,
		Addr:      kafka.TCP(serverAddr(t)), Topic: topic, RequiredAcks: kafka.RequireAll,
		Compression: kafkaGoCodecs[o.codec], BatchSize: len(messages), MaxAttempts: 1,
		BatchTimeout: 50 * time.Millisecond,
		Completion: func(written []kafka.Message, _ error) {
			done.Lock()
			defer done.Unlock()
			for _, m := range written {
				done.offsets = append(done.offsets, m.Offset)
			}
		},
	}
	var all []kafka.Message
	for _, m := range messages {
		km := kafka.Message{Value: []byte(m.value)}
		if m.key != "" {
			km.Key = []byte(m.key)
		}
		for _, h := range m.headers {
			km.Headers = append(km.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
		}
		all = append(all, km)
	}
	if err := w.WriteMessages(testContext(t), all...); err != nil {
		t.Fatalf("write: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Fatalf("close the writer: %v", err)
	}
	return done.offsets
}

func kafkaGoConsume(t *testing.T, topic string, n int) []message {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{serverAddr(t)}, Topic: topic, MaxWait: 250 * time.Millisecond,
	})
	defer func() { _ = r.Close() }() // nothing is committed
	if err := r.SetOffset(kafka.FirstOffset); err != nil {
		t.Fatalf("go to the start: %v", err)
	}
	ctx := testContext(t)
	var all []message
	for len(all) < n {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("read %d of %d: %v", len(all), n, err)
		}
		all = append(all, fromKafkaGo(m))
	}
	return all
}

func kafkaGoGroupRead(t *testing.T, topic string, n int) []message {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{serverAddr(t)}, GroupID: topic, Topic: topic,
		StartOffset: kafka.FirstOffset, MaxWait: 250 * time.Millisecond,
	})
	ctx := testContext(t)
	var all []message
	for len(all) < n {
		m, err := r.FetchMessage(ctx)
		if err != nil {
			t.Fatalf("read %d of %d as a member: %v", len(all), n, err)
		}
		all = append(all, fromKafkaGo(m))
		if len(all) < n {
			continue
		}
		if err := r.CommitMessages(ctx, m); err != nil {
			t.Fatalf("commit: %v", err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatalf("leave: %v", err)
	}
	return all
}

func fromKafkaGo(m kafka.Message) message {
	out := message{
		key: string(m.Key), value: string(m.Value), offset: m.Offset,
		timestamp: m.Time, at: time.Now(),
	}
	for _, h := range m.Headers {
		out.headers = append(out.headers, [2]string{h.Key, string(h.Value)})
	}
	return out
}
