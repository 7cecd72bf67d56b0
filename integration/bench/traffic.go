package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// trafficArgument as the first argument turns this program into an ordinary producer and consumer.
const trafficArgument = "traffic"

// What ordinary traffic is.
const (
	trafficRate  = 1000 // records per second
	trafficBytes = 100
)

// moment is one ordinary record: when it should have been produced, and how long after that the
// producer had its answer, or the consumer the record.
type moment struct {
	At   int64         `json:"at"` // Unix ns
	Took time.Duration `json:"took"`
}

// moments is what traffic measured.
type moments struct {
	Acked    []moment `json:"acked"`
	Received []moment `json:"received"`
}

// trafficMain produces to a topic and consumes from it at a steady rate until its input is closed;
// its arguments are a Kafka address and the topic. It prints a line once both run, and what it
// measured at the end. A record counts from the time at which it should have been produced, so
// that a stall counts for all that it held up.
func trafficMain(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want a Kafka address and a topic, got %q", args)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	t := &target{addr: args[0]}
	cl, err := t.client(kgo.DefaultProduceTopic(args[1]), kgo.ConsumeTopics(args[1]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	if err != nil {
		return err
	}
	defer cl.Close()
	closed := make(chan struct{})
	// The end of the input, which is that of the parent at the latest, ends this goroutine.
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	tr := &traffic{cl: cl}
	if err := tr.begin(ctx); err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode("ready"); err != nil {
		return fmt.Errorf("say that it runs: %w", err)
	}
	sent := tr.pace(ctx, closed)
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := tr.receive(ctx, sent); err != nil {
		return err
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.mu.failed != nil {
		return fmt.Errorf("produce: %w", tr.mu.failed)
	}
	return json.NewEncoder(os.Stdout).Encode(tr.mu.moments)
}

// traffic is one producer and one consumer.
type traffic struct {
	cl *kgo.Client
	mu struct {
		sync.Mutex
		moments
		failed error
	}
	reading sync.WaitGroup
}

// begin produces records until the first one is consumed: the consumer begins at the end, and no
// later record may pass it by.
func (tr *traffic) begin(ctx context.Context) error {
	const beginMax, every = time.Minute, 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, beginMax)
	defer cancel()
	for {
		if err := tr.cl.ProduceSync(ctx, trafficRecord(time.Time{})).FirstErr(); err != nil {
			return err
		}
		poll, stop := context.WithTimeout(ctx, every)
		fetches := tr.cl.PollFetches(poll)
		stop()
		if fetches.NumRecords() > 0 {
			return nil
		}
		if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

func trafficRecord(at time.Time) *kgo.Record {
	value := make([]byte, trafficBytes)
	if !at.IsZero() {
		binary.BigEndian.PutUint64(value, uint64(at.UnixNano()))
	}
	return &kgo.Record{Value: value}
}

// pace produces at the rate until it is told to stop, and returns how many records it sent.
func (tr *traffic) pace(ctx context.Context, closed <-chan struct{}) (sent int) {
	poll, stop := context.WithCancel(ctx)
	// stop, below, ends this goroutine, and reading waits for it.
	tr.reading.Go(func() {
		for poll.Err() == nil {
			tr.take(tr.cl.PollFetches(poll))
		}
	})
	defer tr.reading.Wait()
	defer stop()
	for next := time.Now(); ; next = next.Add(time.Second / trafficRate) {
		select {
		case <-closed:
			return sent
		case <-time.After(time.Until(next)):
		}
		tr.cl.Produce(ctx, trafficRecord(next), func(_ *kgo.Record, err error) {
			took := time.Since(next)
			tr.mu.Lock()
			defer tr.mu.Unlock()
			if err != nil {
				tr.mu.failed = err
				return
			}
			tr.mu.Acked = append(tr.mu.Acked, moment{At: next.UnixNano(), Took: took})
		})
		sent++
	}
}

// receive waits for the rest of what was sent.
func (tr *traffic) receive(ctx context.Context, sent int) error {
	const restMax = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, restMax)
	defer cancel()
	for tr.received() < sent {
		fetches := tr.cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("%d of %d records consumed: %w", tr.received(), sent, err)
		}
		tr.take(fetches)
	}
	return nil
}

func (tr *traffic) received() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.mu.Received)
}

func (tr *traffic) take(fetches kgo.Fetches) {
	now := time.Now().UnixNano()
	tr.mu.Lock()
	defer tr.mu.Unlock()
	for it := fetches.RecordIter(); !it.Done(); {
		if at := int64(binary.BigEndian.Uint64(it.Next().Value)); at != 0 {
			m := moment{At: at, Took: time.Duration(now - at)}
			tr.mu.Received = append(tr.mu.Received, m)
		}
	}
}

// beside is ordinary traffic in a process of its own.
type beside struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	said *bytes.Buffer
}

// startBeside starts traffic and waits until it runs.
func startBeside(ctx context.Context, binary string, args ...string) (*beside, error) {
	b := &beside{cmd: exec.CommandContext(ctx, binary, args...), said: &bytes.Buffer{}}
	b.cmd.Stderr = b.said
	var err error
	if b.in, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start traffic: %w", err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start traffic: %w", err)
	}
	b.out = bufio.NewReader(out)
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start traffic: %w", err)
	}
	if _, err := b.out.ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("traffic does not run: %w\n%s", err, b.said), b.abandon())
	}
	return b, nil
}

// abandon ends traffic whose figures nobody wants any more.
func (b *beside) abandon() error {
	_ = b.cmd.Process.Kill() // gone already is what is wanted
	_ = b.cmd.Wait()         // says only that it was killed
	return nil
}

// end ends traffic and returns what it measured.
func (b *beside) end() (m moments, err error) {
	if err := b.in.Close(); err != nil {
		return m, errors.Join(fmt.Errorf("end traffic: %w", err), b.abandon())
	}
	raw, err := io.ReadAll(b.out)
	if err = errors.Join(err, b.cmd.Wait()); err != nil {
		return m, fmt.Errorf("traffic: %w\n%s", err, b.said)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("answer of traffic: %w", err)
	}
	return m, nil
}

// between sums up what should have been produced in some time; false without any.
func between(all []moment, from, to time.Time) (lates, bool) {
	var took []time.Duration
	for _, m := range all {
		if m.At >= from.UnixNano() && m.At < to.UnixNano() {
			took = append(took, m.Took)
		}
	}
	if len(took) == 0 {
		return lates{}, false
	}
	slices.Sort(took)
	return latesOf(took), true
}

// startTraffic starts ordinary traffic on a topic of its own.
func startTraffic(ctx context.Context, t *target) (*beside, error) {
	topic, err := t.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return startBeside(ctx, self, trafficArgument, t.addr, topic)
}

// startNatsTraffic is the same on NATS.
func (b *bench) startNatsTraffic(ctx context.Context, t *target) (*beside, error) {
	return startBeside(ctx, b.nats, trafficArgument, t.addr, "-rate", strconv.Itoa(trafficRate))
}
