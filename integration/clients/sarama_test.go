package clients

import (
	"context"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

var saramaClient = client{
	name:       "sarama",
	produce:    saramaProduce,
	consume:    saramaConsume,
	groupRead:  saramaGroupRead,
	idempotent: true,
	scheduled:  []int64{-1, 0, 1},
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4,
	"zstd": sarama.CompressionZSTD,
}

func saramaConfig() *sarama.Config {
	c := sarama.NewConfig()
	c.Metadata.Retry.Backoff = 50 * time.Millisecond
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Retry.Max = 0 // what it would retry, a test wants to see
	c.Consumer.MaxWaitTime = 250 * time.Millisecond
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	return c
}

func saramaDial(t *testing.T) sarama.Client {
	t.Helper()
	cl, err := sarama.NewClient([]string{serverAddr(t)}, saramaConfig())
	if err != nil {
		t.Fatalf("make a sarama client: %v", err)
	}
	t.Cleanup(func() { _ = cl.Close() })
	return cl
}

func saramaProduce(t *testing.T, topic string, o produceOptions, messages []message) []int64 {
	t.Helper()
	config := saramaConfig()
	config.Producer.Compression = saramaCodecs[o.codec]
	config.Producer.Flush.Messages = len(messages)
	if o.idempotent {
		config.Producer.Idempotent = true
		config.Producer.Retry.Max = 1 // sarama refuses 0 here; the end offset shows a retry
		config.Net.MaxOpenRequests = 1
	}
	producer, err := sarama.NewSyncProducer([]string{serverAddr(t)}, config)
	if err != nil {
		t.Fatalf("make a producer: %v", err)
	}
	defer func() { _ = producer.Close() }() // everything is answered by then
	var all []*sarama.ProducerMessage
	for _, m := range messages {
		pm := &sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(m.value)}
		if m.key != "" {
			pm.Key = sarama.StringEncoder(m.key)
		}
		for _, h := range m.headers {
			pm.Headers = append(pm.Headers, sarama.RecordHeader{
				Key: []byte(h[0]), Value: []byte(h[1]),
			})
		}
		all = append(all, pm)
	}
	if err := producer.SendMessages(all); err != nil {
		t.Fatalf("send: %v", err)
	}
	var offsets []int64
	for _, pm := range all {
		offsets = append(offsets, pm.Offset)
	}
	return offsets
}

func saramaConsume(t *testing.T, topic string, n int) []message {
	t.Helper()
	consumer, err := sarama.NewConsumerFromClient(saramaDial(t))
	if err != nil {
		t.Fatalf("make a consumer: %v", err)
	}
	defer func() { _ = consumer.Close() }() // its client is closed by the test
	pc, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		t.Fatalf("consume: %v", err)
	}
	defer func() { _ = pc.Close() }()
	ctx := testContext(t)
	var all []message
	for len(all) < n {
		select {
		case m := <-pc.Messages():
			all = append(all, fromSarama(m))
		case <-ctx.Done():
			t.Fatalf("read %d of %d: %v", len(all), n, ctx.Err())
		}
	}
	return all
}

func fromSarama(m *sarama.ConsumerMessage) message {
	out := message{
		key: string(m.Key), value: string(m.Value), offset: m.Offset,
		timestamp: m.Timestamp, at: time.Now(),
	}
	for _, h := range m.Headers {
		out.headers = append(out.headers, [2]string{string(h.Key), string(h.Value)})
	}
	return out
}

// saramaReader is a group member that reads a number of messages, commits and leaves.
type saramaReader struct {
	want int
	read []message
	done context.CancelFunc
}

// Setup is called when the member has its partitions.
func (r *saramaReader) Setup(sarama.ConsumerGroupSession) error { return nil }

// Cleanup is called when it gives them up.
func (r *saramaReader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

// ConsumeClaim reads one partition; the tests have only one.
func (r *saramaReader) ConsumeClaim(
	s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim,
) error {
	for m := range claim.Messages() {
		r.read = append(r.read, fromSarama(m))
		s.MarkMessage(m, "")
		if len(r.read) == r.want {
			s.Commit()
			r.done()
			return nil
		}
	}
	return nil
}

func saramaGroupRead(t *testing.T, topic string, n int) []message {
	t.Helper()
	group, err := sarama.NewConsumerGroup([]string{serverAddr(t)}, topic, saramaConfig())
	if err != nil {
		t.Fatalf("make a group member: %v", err)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	r := &saramaReader{want: n, done: cancel}
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, r); err != nil {
			t.Fatalf("consume as a member: %v", err)
		}
	}
	if err := group.Close(); err != nil {
		t.Fatalf("leave: %v", err)
	}
	if len(r.read) != n {
		t.Fatalf("read %d of %d as a member", len(r.read), n)
	}
	return r.read
}
