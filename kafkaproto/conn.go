package kafkaproto

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
)

const (
	// pendingMax bounds the requests of one connection that are in work. Beyond it the connection
	// is not read: clients have at most five produce requests in flight, and wait for the rest.
	pendingMax = 64
	// coalesceBytes is how much answer the writer collects before it writes.
	coalesceBytes = 64 << 10
)

// conn is one connection.
type conn struct {
	s       *Server
	nc      net.Conn
	log     *zap.Logger
	ctx     context.Context // ends when the connection is given up
	cancel  context.CancelFunc
	session *api.Session // the reader's

	queue   chan pending // reader to writer, in the order of the requests; closed by the reader
	pending atomic.Int64 // requests read and not yet answered
	// changing is closed when the last request that changes topics has; nil before the first. It
	// is the reader's.
	changing chan struct{}

	closeOnce sync.Once
}

// pending is a request in work.
type pending struct {
	answer api.Answer
	frame  []byte // given back once the answer is encoded; nil if that is done
	charge charge
	times  requestTimes
	// changed is closed once the answer is made, if that changes topics.
	changed chan struct{}
}

func newConn(s *Server, nc net.Conn) *conn {
	host, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		host = nc.RemoteAddr().String()
	}
	ctx, cancel := context.WithCancel(s.ctx)
	return &conn{
		s:       s,
		nc:      nc,
		log:     s.log.With(zap.String("peer", nc.RemoteAddr().String())),
		ctx:     ctx,
		cancel:  cancel,
		session: api.NewSession(host),
		queue:   make(chan pending, pendingMax),
	}
}

// serve runs both goroutines until the connection ends.
func (c *conn) serve() {
	written := make(chan struct{})
	// The writer stops when the queue is closed and empty; serve waits for it.
	go func() {
		defer close(written)
		c.writeLoop()
	}()
	err := c.readLoop()
	if keepsAnswers(err) {
		stop := c.watchPeer() // The reader would have noticed if it goes.
		defer stop()
	} else {
		// The peer is gone or not to be trusted: what it waits for is not waited for any more.
		c.abort()
	}
	close(c.queue)
	<-written
	c.abort()
	c.report(err)
}

// abort ends the connection now. It may be called by any goroutine, any number of times.
func (c *conn) abort() {
	c.closeOnce.Do(func() {
		c.cancel()
		_ = c.nc.Close() // Nothing is to be done about a socket that cannot be closed.
	})
}

// keepsAnswers reports whether the requests read before are still answered.
func keepsAnswers(err error) bool {
	return errors.Is(err, api.ErrRefused) || errors.Is(err, api.ErrMalformed) ||
		errors.Is(err, errStopping)
}

// errStopping ends the reader when the server drains.
var errStopping = errors.New("server is going down")

// report logs why a connection ended, if somebody should know.
func (c *conn) report(err error) {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, errStopping), errors.Is(err, errIdle),
		errors.Is(err, net.ErrClosed), c.s.stopping():
		c.log.Debug("connection closed", zap.Error(err))
	case errors.Is(err, errPanic):
		c.s.metrics.panics.Add(1)
		c.log.Error("request handling failed; connection closed", zap.Error(err))
	case errors.Is(err, errFrame), errors.Is(err, api.ErrMalformed), errors.Is(err, api.ErrRefused):
		c.s.metrics.refusedRequests.Add(1)
		c.log.Info("connection closed", zap.Error(err))
	default:
		c.log.Debug("connection lost", zap.Error(err))
	}
}

// readLoop reads requests and runs their first stage, in order.
func (c *conn) readLoop() error {
	in := newFrameReader(c)
	idle := c.s.firstByteTimeout()
	for {
		if err := c.awaitRequest(in, idle); err != nil {
			return err
		}
		idle = c.s.o.IdleTimeout
		f, err := in.read(c.ctx)
		if err != nil {
			if c.s.stopping() {
				return errStopping
			}
			return err
		}
		c.s.metrics.bytesIn.Add(int64(len(f.bytes)) + lengthBytes)
		if err := c.start(in, f, c.s.o.Clock.Now()); err != nil {
			return err
		}
	}
}

// awaitRequest waits for the next request. An idle connection is closed only if no request is in
// work: a consumer may wait for its data longer than that.
func (c *conn) awaitRequest(in *frameReader, idle time.Duration) error {
	for {
		err := in.awaitByte(idle)
		if c.s.stopping() {
			return errStopping
		}
		if !errors.Is(err, errIdle) || c.pending.Load() == 0 {
			return err
		}
	}
}

// start runs the first stage of a request that was read at a time, and queues its answer.
func (c *conn) start(in *frameReader, f frame, read time.Time) error {
	times := requestTimes{read: read, began: read}
	if c.changing != nil {
		if err := c.awaitTopics(); err != nil {
			f.charge.release()
			return err
		}
		times.began = c.s.o.Clock.Now()
	}
	var answer api.Answer
	err := guard(func() (err error) {
		answer, err = c.s.api.Start(c.ctx, c.session, f.bytes)
		return err
	})
	if err != nil {
		f.charge.release()
		// The buffer is not reused: whoever failed may still have a part of it.
		return err
	}
	times.appended = c.s.o.Clock.Now()
	c.s.metrics.request(answer.Key)
	c.s.metrics.stages.begun(answer.Key, times)
	p := pending{answer: answer, frame: f.bytes, charge: f.charge, times: times}
	if held := answer.Held(); held >= 0 {
		in.free(f.bytes)
		p.frame = nil
		p.charge.shrink(held)
	}
	if answer.Silent() {
		p.charge.release()
		return nil
	}
	if answer.ChangesTopics() {
		c.changing = make(chan struct{})
		p.changed = c.changing
	}
	c.pending.Add(1)
	return c.enqueue(p)
}

// awaitTopics waits until the topics are as the connection's earlier requests make them: a batch
// is judged in its first stage, and may be for a topic that the request before it creates.
func (c *conn) awaitTopics() error {
	select {
	case <-c.changing:
	default:
		stop := c.watchPeer()
		defer stop()
		select {
		case <-c.changing:
		case <-c.ctx.Done():
			return c.ctx.Err()
		}
	}
	c.changing = nil
	return nil
}

// enqueue hands a request over to the writer.
func (c *conn) enqueue(p pending) error {
	select {
	case c.queue <- p:
		return nil
	default:
	}
	stop := c.watchPeer()
	defer stop()
	select {
	case c.queue <- p:
		return nil
	case <-c.ctx.Done():
		p.charge.release()
		return c.ctx.Err()
	}
}

// writeLoop writes the answers in order.
func (c *conn) writeLoop() {
	w := newWriter(c)
	for p := range c.queue {
		err := c.ctx.Err()
		if err == nil {
			err = w.add(p)
		}
		p.charge.release()
		if p.changed != nil {
			close(p.changed)
		}
		if err == nil && (len(c.queue) == 0 || w.full()) {
			err = w.flush()
		}
		if err != nil {
			// The queue is still emptied, so that the reader never blocks on it.
			w.fail(err)
		}
	}
	w.finish()
}

// writer collects answers and writes them. It belongs to the connection's writer goroutine.
type writer struct {
	c       *conn
	wait    api.Waiter
	out     []byte
	answers []made // in out
	failed  bool
}

func newWriter(c *conn) *writer {
	w := &writer{c: c}
	w.wait = api.Waiter{
		Ctx:    c.ctx,
		Drain:  c.s.drain,
		Clock:  c.s.o.Clock,
		Memory: c.s.answers,
		Grow:   c.s.buffers.grow,
		Shrink: c.s.buffers.shrink,
		Clip:   c.s.buffers.clip,
	}
	return w
}

// add appends one answer. It sends what was collected before it waits for one that is not ready.
func (w *writer) add(p pending) error {
	if !p.answer.Ready() && len(w.out) > 0 {
		if err := w.flush(); err != nil {
			return err
		}
	}
	out := w.out
	if out == nil {
		out = w.c.s.buffers.get(0)
	}
	w.out = nil // After a panic nobody knows who has the buffer, so it is not used again.
	at, began := len(out), w.c.s.o.Clock.Now()
	err := guard(func() (err error) {
		out, err = p.answer.AppendTo(&w.wait, append(out, 0, 0, 0, 0))
		w.out = out
		return err
	})
	if p.frame != nil && err == nil {
		w.c.s.buffers.put(p.frame)
	}
	if err != nil {
		if w.out != nil {
			w.out = w.out[:at] // What was collected before is whole, and still due.
		}
		return errors.Join(err, w.flush())
	}
	binary.BigEndian.PutUint32(w.out[at:], uint32(len(w.out)-at-lengthBytes))
	now := w.c.s.o.Clock.Now()
	key := p.answer.Key
	w.c.s.metrics.stages.answered(key, p.times, turn{began, now, w.wait.TakeParked()})
	w.answers = append(w.answers, made{key: key, read: p.times.read, at: now})
	return nil
}

func (w *writer) full() bool { return len(w.out) >= coalesceBytes }

// flush writes what is collected, with one deadline for all of it, so that a peer which reads
// slowly is served, and one which reads next to nothing does not hold an answer's memory for long.
func (w *writer) flush() error {
	if len(w.out) > 0 {
		deadline := w.c.s.o.Clock.Now().Add(answerDeadline(len(w.out)))
		if err := w.c.nc.SetWriteDeadline(deadline); err != nil {
			return err
		}
		n, err := w.c.nc.Write(w.out)
		w.c.s.metrics.bytesOut.Add(int64(n))
		if err != nil {
			return err
		}
		w.c.s.metrics.stages.sent(w.answers, w.c.s.o.Clock.Now())
	}
	if w.out != nil {
		w.c.s.buffers.put(w.out)
		w.out = nil
	}
	w.wait.ReleaseReserved()
	w.c.pending.Add(-int64(len(w.answers)))
	w.answers = w.answers[:0]
	return nil
}

// fail gives the connection up.
func (w *writer) fail(err error) {
	if w.failed {
		return
	}
	w.failed = true
	w.c.abort()
	w.c.report(err)
}

// finish gives back what a failed connection left.
func (w *writer) finish() {
	if w.out != nil {
		w.c.s.buffers.put(w.out)
		w.out = nil
	}
	w.wait.ReleaseReserved()
}
