package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names of the ordinary messages.
const (
	trafficStream  = "traffic"
	trafficSubject = "traffic.a"
)

// moment is one ordinary message: when it should have been published, and how long after that the
// publisher had its answer, or the consumer the message.
type moment struct {
	At   int64         `json:"at"` // Unix ns
	Took time.Duration `json:"took"`
}

// moments is what traffic measured.
type moments struct {
	Acked    []moment `json:"acked"`
	Received []moment `json:"received"`
}

// traffic publishes and consumes ordinary messages at a steady rate until its input is closed. It
// prints a line once both run, and what it measured at the end. A message counts from the time at
// which it should have been published, so that a stall counts for all that it held up.
func traffic(args []string) error {
	addr, l, err := parse("traffic", args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var m moments
	acks := make(chan moment, 1<<20)
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncAckHandler(
		func(_ jetstream.JetStream, sent *nats.Msg, _ *jetstream.PubAck) {
			acks <- since(sent.Data)
		}))
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: trafficStream, Subjects: []string{trafficSubject}, Storage: jetstream.FileStorage,
	})
	if err != nil {
		return fmt.Errorf("make the stream: %w", err)
	}
	got := make(chan moment, 1<<20)
	stop, err := receive(ctx, s, got)
	if err != nil {
		return err
	}
	closed := make(chan struct{})
	// The end of the input, which is that of the parent at the latest, ends this goroutine.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	if err := answer("ready"); err != nil {
		return err
	}
	sent, err := pace(js, l, closed)
	if err != nil {
		return err
	}
	for range sent {
		m.Acked = append(m.Acked, <-acks)
		m.Received = append(m.Received, <-got)
	}
	stop.Stop()
	return answer(m)
}

// receive consumes the ordinary messages that are published from now on.
func receive(
	ctx context.Context, s jetstream.Stream, got chan<- moment,
) (jetstream.ConsumeContext, error) {
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverNewPolicy,
	})
	if err != nil {
		return nil, fmt.Errorf("make a consumer: %w", err)
	}
	stop, err := consumer.Consume(func(m jetstream.Msg) { got <- since(m.Data()) })
	if err != nil {
		return nil, fmt.Errorf("consume: %w", err)
	}
	return stop, nil
}

// pace publishes at the rate until it is told to stop, and returns how many messages it sent.
func pace(js jetstream.JetStream, l load, closed <-chan struct{}) (sent int, err error) {
	step := time.Second / time.Duration(l.rate)
	for next := time.Now(); ; next = next.Add(step) {
		select {
		case <-closed:
			return sent, nil
		case <-time.After(time.Until(next)):
		}
		data := make([]byte, l.size)
		copy(data, strconv.FormatInt(next.UnixNano(), 10)+" ")
		_, err := js.PublishMsgAsync(&nats.Msg{Subject: trafficSubject, Data: data},
			jetstream.WithStallWait(stallMax))
		if err != nil {
			return sent, fmt.Errorf("publish: %w", err)
		}
		sent++
	}
}

// since tells how long ago a message should have been published.
func since(data []byte) moment {
	at, err := dueOf(data)
	if err != nil {
		return moment{} // nobody else publishes here
	}
	return moment{At: at, Took: time.Duration(time.Now().UnixNano() - at)}
}
