package kafkaproto

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
)

// acceptRetryMin and acceptRetryMax bound the pause after a failed accept, such as one for lack of
// file descriptors: the next try is of no use before a connection has been closed.
const (
	acceptRetryMin = 5 * time.Millisecond
	acceptRetryMax = time.Second
)

// Server accepts connections and serves them.
type Server struct {
	o       Options
	api     *api.Service
	log     *zap.Logger
	budget  *budget
	answers *answerBudget
	buffers bufferPool
	metrics *metrics

	ctx    context.Context // ends with Close: every connection is given up
	cancel context.CancelFunc
	drain  chan struct{} // closed by Drain: no new requests, and nobody waits for data
	done   sync.WaitGroup

	mu struct {
		sync.Mutex
		conns    map[*conn]struct{} // at most Options.ConnectionsMax
		draining bool
	}
}

// NewServer validates the options. Serve starts the work.
func NewServer(o Options) (*Server, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	options, err := o.apiOptions()
	if err != nil {
		return nil, err
	}
	service, err := api.NewService(options)
	if err != nil {
		return nil, err
	}
	s := &Server{
		o:       o,
		api:     service,
		log:     o.Logger.Named("kafka"),
		budget:  newBudget(o.RequestMemoryBytes),
		answers: newAnswerBudget(o.AnswerMemoryBytes),
		metrics: newMetrics(service),
		drain:   make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.conns = map[*conn]struct{}{}
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.o.Listener.Addr() }

// Serve accepts connections until Drain or Close, and returns nil then. Another error means that
// the listener is broken.
func (s *Server) Serve() error {
	retry := acceptRetryMin
	for {
		nc, err := s.o.Listener.Accept()
		if err == nil {
			retry = acceptRetryMin
			s.admit(nc)
			continue
		}
		if s.stopping() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("kafkaproto: listener %s is closed: %w", s.Addr(), err)
		}
		s.log.Warn("accept failed", zap.Error(err), zap.Duration("retry_in", retry))
		if !s.pause(retry) {
			return nil
		}
		retry = min(2*retry, acceptRetryMax)
	}
}

// pause waits, and reports false if the server stops meanwhile.
func (s *Server) pause(d time.Duration) bool {
	t := s.o.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-s.drain:
		return false
	}
}

// admit starts serving a connection, or closes it if there are too many.
func (s *Server) admit(nc net.Conn) {
	c := newConn(s, nc)
	s.mu.Lock()
	if s.mu.draining || len(s.mu.conns) >= s.o.ConnectionsMax {
		full := !s.mu.draining
		s.mu.Unlock()
		c.abort()
		if full {
			s.metrics.refusedConnections.Add(1)
			s.log.Warn("connection refused: too many are open", zap.Int("limit", s.o.ConnectionsMax))
		}
		return
	}
	s.mu.conns[c] = struct{}{}
	s.done.Add(1)
	s.mu.Unlock()
	s.metrics.connectionsTotal.Add(1)
	// Drain or Close end it through the connection's deadline or context, and wait for it.
	go func() {
		defer s.done.Done()
		defer s.forget(c)
		c.serve()
	}()
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.mu.conns, c)
	s.mu.Unlock()
}

// stopping reports whether Drain or Close was called.
func (s *Server) stopping() bool {
	select {
	case <-s.drain:
		return true
	default:
		return false
	}
}

func (s *Server) firstByteTimeout() time.Duration { return min(firstByteTimeout, s.o.IdleTimeout) }

// Drain stops accepting and reading, answers what is in work, and closes the connections. Fetches
// that wait for data are answered with what there is; group members that wait for others are told
// that there is no coordinator, so that they look for it again. When ctx ends first, Drain gives
// the remaining connections up and returns its error.
func (s *Server) Drain(ctx context.Context) error {
	err := s.stop()
	idle := make(chan struct{})
	// It ends when the last connection has; Drain waits for it, after giving them up if need be.
	go func() {
		s.done.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("kafkaproto: requests were given up: %w", ctx.Err()))
		s.giveUp()
		<-idle
	}
	s.cancel()
	return err
}

// Close gives all connections up at once and waits until they have ended.
func (s *Server) Close() error {
	err := s.stop()
	s.giveUp()
	s.done.Wait()
	return err
}

// stop makes the listener and the readers stop. It may be called again.
func (s *Server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.draining {
		return nil
	}
	s.mu.draining = true
	close(s.drain)
	err := s.o.Listener.Close()
	for c := range s.mu.conns {
		// The reader wakes, sees that drain is closed, and ends. It fails only on a connection
		// that has ended already.
		_ = c.nc.SetReadDeadline(longAgo)
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// giveUp ends every connection without waiting.
func (s *Server) giveUp() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.mu.conns {
		c.abort()
	}
}
