package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// keyCount is how many keys the compacted topic has.
const keyCount = 500

// keyed is the compacted topic and its producer.
type keyed struct {
	l     *load
	topic string

	mu struct {
		sync.Mutex
		last map[string]int64 // offset of the last acknowledged record, by key
		at   map[int64]string // value's beginning, by offset of those
		err  error
	}
}

func newKeyed(l *load, topic string) *keyed {
	k := &keyed{l: l, topic: topic}
	k.mu.last = make(map[string]int64)
	k.mu.at = make(map[int64]string)
	return k
}

// produce writes values of all keys in turn.
func (k *keyed) produce(ctx context.Context, perSecond int) error {
	cl, err := k.l.client(kgo.DefaultProduceTopic(k.topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	padding := strings.Repeat("y", valueBytes)
	pace(ctx, perSecond, func(n int) {
		key, value := fmt.Sprintf("key-%d", n%keyCount), fmt.Sprintf("value %d ", n)
		r := &kgo.Record{Key: []byte(key), Value: []byte(value + padding)}
		cl.Produce(context.Background(), r, func(r *kgo.Record, err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			if err != nil {
				k.mu.err = fmt.Errorf("produce to %s: %w", k.topic, err)
				return
			}
			if before, ok := k.mu.last[key]; !ok || before < r.Offset {
				delete(k.mu.at, before)
				k.mu.last[key], k.mu.at[r.Offset] = r.Offset, value
			}
		})
	})
	return cl.Flush(context.WithoutCancel(ctx))
}

// judge reads the topic from its start: the last value of each key must be there, at its offset.
func (k *keyed) judge(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.mu.err != nil {
		return k.mu.err
	}
	end := int64(0)
	for _, offset := range k.mu.last {
		end = max(end, offset)
	}
	cl, err := k.l.client(kgo.ConsumeTopics(k.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	found, read, next := 0, 0, int64(0)
	for next <= end {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("read %s from %d to %d: %w", k.topic, next, end, err)
		}
		for _, r := range fetches.Records() {
			if r.Offset < next {
				return fmt.Errorf("%s: offset %d follows %d", k.topic, r.Offset, next-1)
			}
			read, next = read+1, r.Offset+1
			if want, ok := k.mu.at[r.Offset]; ok && strings.HasPrefix(string(r.Value), want) &&
				k.mu.last[string(r.Key)] == r.Offset {
				found++
			}
		}
	}
	fmt.Printf("%s: %d keys, %d records read below offset %d\n", k.topic, len(k.mu.last), read,
		end+1)
	if found != len(k.mu.last) {
		return fmt.Errorf("%s has the last value of %d keys, %d were written", k.topic, found,
			len(k.mu.last))
	}
	return nil
}
