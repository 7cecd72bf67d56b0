//go:build cgo

package clients

import (
	"testing"
	"time"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
)

// confluentClient is librdkafka, linked into the test binary.
var confluentClient = client{
	name:       "confluent-kafka-go",
	produce:    confluentProduce,
	consume:    confluentConsume,
	groupRead:  confluentGroupRead,
	idempotent: true,
	scheduled:  []int64{-1, 0, 1},
}

// pollMs is how long one poll waits; a test polls until it has what it wants or its time is up.
const pollMs = 250

func confluentProduce(t *testing.T, topic string, o produceOptions, messages []message) []int64 {
	t.Helper()
	p, err := kafka.NewProducer(&kafka.ConfigMap{
		"bootstrap.servers": serverAddr(t), "acks": "all", "linger.ms": 50,
		"compression.codec": o.codec, "enable.idempotence": o.idempotent,
	})
	if err != nil {
		t.Fatalf("make a producer: %v", err)
	}
	defer p.Close()
	delivered := make(chan kafka.Event, len(messages))
	for i, m := range messages {
		km := &kafka.Message{
			TopicPartition: kafka.TopicPartition{Topic: &topic, Partition: 0},
			Value:          []byte(m.value), Opaque: i,
		}
		if m.key != "" {
			km.Key = []byte(m.key)
		}
		for _, h := range m.headers {
			km.Headers = append(km.Headers, kafka.Header{Key: h[0], Value: []byte(h[1])})
		}
		if err := p.Produce(km, delivered); err != nil {
			t.Fatalf("produce: %v", err)
		}
	}
	offsets := make([]int64, len(messages))
	ctx := testContext(t)
	for range messages {
		select {
		case e := <-delivered:
			m := e.(*kafka.Message)
			if m.TopicPartition.Error != nil {
				t.Fatalf("produce: %v", m.TopicPartition.Error)
			}
			offsets[m.Opaque.(int)] = int64(m.TopicPartition.Offset)
		case <-ctx.Done():
			t.Fatalf("produce: %v", ctx.Err())
		}
	}
	return offsets
}

func confluentConsumer(t *testing.T, topic string) *kafka.Consumer {
	t.Helper()
	c, err := kafka.NewConsumer(&kafka.ConfigMap{
		"bootstrap.servers": serverAddr(t), "group.id": topic,
		"auto.offset.reset": "earliest", "enable.auto.commit": false,
		"fetch.wait.max.ms": pollMs,
	})
	if err != nil {
		t.Fatalf("make a consumer: %v", err)
	}
	return c
}

func confluentConsume(t *testing.T, topic string, n int) []message {
	t.Helper()
	c := confluentConsumer(t, topic)
	defer func() { _ = c.Close() }() // nothing is committed
	err := c.Assign([]kafka.TopicPartition{
		{Topic: &topic, Partition: 0, Offset: kafka.OffsetBeginning},
	})
	if err != nil {
		t.Fatalf("assign: %v", err)
	}
	return confluentPoll(t, c, n)
}

func confluentGroupRead(t *testing.T, topic string, n int) []message {
	t.Helper()
	c := confluentConsumer(t, topic)
	if err := c.Subscribe(topic, nil); err != nil {
		t.Fatalf("subscribe: %v", err)
	}
	all := confluentPoll(t, c, n)
	last := kafka.TopicPartition{Topic: &topic, Offset: kafka.Offset(all[n-1].offset + 1)}
	if _, err := c.CommitOffsets([]kafka.TopicPartition{last}); err != nil {
		t.Fatalf("commit: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatalf("leave: %v", err)
	}
	return all
}

func confluentPoll(t *testing.T, c *kafka.Consumer, n int) []message {
	t.Helper()
	ctx := testContext(t)
	var all []message
	for len(all) < n {
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d: %v", len(all), n, ctx.Err())
		}
		switch e := c.Poll(pollMs).(type) {
		case *kafka.Message:
			out := message{
				key: string(e.Key), value: string(e.Value),
				offset:    int64(e.TopicPartition.Offset),
				timestamp: e.Timestamp, at: time.Now(),
			}
			for _, h := range e.Headers {
				out.headers = append(out.headers, [2]string{h.Key, string(h.Value)})
			}
			all = append(all, out)
		case kafka.Error:
			t.Fatalf("read %d of %d: %v", len(all), n, e)
		}
	}
	return all
}
