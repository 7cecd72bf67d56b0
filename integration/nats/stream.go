package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Names on the server. A schedule has a subject of its own, else it would replace another.
const (
	scheduleStream = "schedules"
	schedulePrefix = "schedule."
	dueSubject     = "due"
	valueBytesMin  = 20 // the due time stands in the value
)

// stallMax is how long a publisher waits for room in its window.
const stallMax = 30 * time.Second

// client is a connection with one stream for schedules.
type client struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	acked  atomic.Int64
	failed atomic.Pointer[error]
	filler string
	next   int // counts the schedules
}

// connect makes a client whose values have that size and that has a number of messages in flight.
func connect(addr string, size, window int) (*client, error) {
	if size < valueBytesMin {
		return nil, fmt.Errorf("values of %d bytes; they hold at least %d", size, valueBytesMin)
	}
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c := &client{nc: nc, filler: strings.Repeat("x", size)}
	c.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(window),
		jetstream.WithPublishAsyncAckHandler(
			func(jetstream.JetStream, *nats.Msg, *jetstream.PubAck) { c.acked.Add(1) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			c.failed.CompareAndSwap(nil, &err)
		}))
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return c, nil
}

// makeStream makes the stream for schedules anew.
func (c *client) makeStream(ctx context.Context) (jetstream.Stream, error) {
	if err := c.dropStream(ctx); err != nil {
		return nil, err
	}
	s, err := c.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: scheduleStream, Subjects: []string{schedulePrefix + ">", dueSubject},
		Storage: jetstream.FileStorage, AllowMsgSchedules: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make the stream: %w", err)
	}
	return s, nil
}

// dropStream deletes the stream for schedules, if there is one.
func (c *client) dropStream(ctx context.Context) error {
	err := c.js.DeleteStream(ctx, scheduleStream)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete the stream: %w", err)
	}
	return nil
}

// schedule publishes one message that is due at that time, without waiting for the answer.
func (c *client) schedule(dueMs int64) error {
	due := strconv.FormatInt(dueMs, 10)
	m := nats.NewMsg(schedulePrefix + strconv.Itoa(c.next))
	c.next++
	m.Data = []byte(due + " " + c.filler[len(due)+1:])
	// The library's own option for it keeps whole seconds only.
	m.Header.Set("Nats-Schedule",
		"@at "+time.UnixMilli(dueMs).UTC().Format(time.RFC3339Nano))
	m.Header.Set("Nats-Schedule-Target", dueSubject)
	_, err := c.js.PublishMsgAsync(m, jetstream.WithStallWait(stallMax))
	if err != nil {
		return fmt.Errorf("publish a schedule: %w", err)
	}
	return nil
}

// settle waits for the answers to all that was published.
func (c *client) settle(ctx context.Context) error {
	select {
	case <-c.js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	if failed := c.failed.Load(); failed != nil {
		return fmt.Errorf("publish: %w", *failed)
	}
	return nil
}

// dueOf reads the due time from a delivered value.
func dueOf(value []byte) (int64, error) {
	due, _, _ := strings.Cut(string(value), " ")
	ms, err := strconv.ParseInt(due, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("due time: %w", err)
	}
	return ms, nil
}
