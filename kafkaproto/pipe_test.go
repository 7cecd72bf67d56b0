package kafkaproto

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
)

// pipeListener hands out the server's ends of in-memory connections.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	fail   chan error // what Accept returns next
}

func newPipeListener() *pipeListener {
	return &pipeListener{
		conns: make(chan net.Conn), closed: make(chan struct{}), fail: make(chan error, 1),
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.fail:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9092} }

// counted counts the writes of the server.
type counted struct {
	net.Conn
	writes atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// harness is a server over stand-ins.
type harness struct {
	t        *testing.T
	replicas *apitest.Replicas
	groups   *apitest.Groups
	listener *pipeListener
	server   *Server
	served   chan error
}

// inBubble runs a test with a server in a bubble where time is the test's, and nothing may remain.
func inBubble(t *testing.T, o Options, test func(t *testing.T, h *harness)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, o)
		test(t, h)
		if err := h.server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-h.served; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		m := h.server.Metrics()
		if m.RequestMemoryBytes != 0 || m.AnswerMemoryBytes != 0 || m.Connections != 0 {
			t.Errorf("after the end: %+v", m)
		}
	})
}

func newHarness(t *testing.T, o Options) *harness {
	h := &harness{
		t: t, replicas: apitest.NewReplicas(), groups: &apitest.Groups{},
		listener: newPipeListener(), served: make(chan error, 1),
	}
	o.Listener = h.listener
	o.backend = &api.Options{Replicas: h.replicas, Groups: h.groups}
	var err error
	if h.server, err = NewServer(o); err != nil {
		t.Fatal(err)
	}
	// It ends when the test closes the server, and the test waits for it.
	go func() { h.served <- h.server.Serve() }()
	return h
}

func (h *harness) topic(name string) [16]byte {
	h.t.Helper()
	spec := replication.TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1}
	topic, err := h.replicas.CreateTopic(spec, false)
	if err != nil {
		h.t.Fatal(err)
	}
	return topic.ID
}

// peer is a client's end of a connection.
type peer struct {
	t *testing.T
	net.Conn
	server *counted
}

func (h *harness) dial() *peer {
	h.t.Helper()
	client, server := net.Pipe()
	p := &peer{t: h.t, Conn: client, server: &counted{Conn: server}}
	h.listener.conns <- p.server
	return p
}

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("test"))

// send writes requests, numbered from first on, with one write.
func (p *peer) send(first int32, requests ...kmsg.Request) {
	p.t.Helper()
	if _, err := p.Write(encode(first, requests...)); err != nil {
		p.t.Fatal(err)
	}
}

func encode(first int32, requests ...kmsg.Request) (out []byte) {
	for i, r := range requests {
		out = append(out, formatter.AppendRequest(nil, r, first+int32(i))...)
	}
	return out
}

// sendAside writes without waiting for the server to read. It ends with the connection.
func (p *peer) sendAside(raw []byte) *atomic.Int64 {
	var sent atomic.Int64
	go func() {
		for len(raw) > 0 {
			n, err := p.Write(raw[:min(len(raw), 256)])
			sent.Add(int64(n))
			if err != nil {
				return
			}
			raw = raw[n:]
		}
	}()
	return &sent
}

// receive reads one answer and returns its number and what follows.
func (p *peer) receive() (int32, []byte) {
	p.t.Helper()
	n, body, err := p.tryReceive()
	if err != nil {
		p.t.Fatalf("receive: %v", err)
	}
	return n, body
}

func (p *peer) tryReceive() (int32, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(p, head[:]); err != nil {
		return 0, nil, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(p, body); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(body)), body[4:], nil
}

// expect reads an answer with that number.
func (p *peer) expect(number int32) []byte {
	p.t.Helper()
	got, body := p.receive()
	if got != number {
		p.t.Fatalf("answer %d comes, not %d", got, number)
	}
	return body
}

// expectClosed reads to the end of the connection, at which nothing more may come.
func (p *peer) expectClosed(why string) {
	p.t.Helper()
	if n, body, err := p.tryReceive(); !errors.Is(err, io.EOF) {
		p.t.Errorf("%s: answer %d (% x), %v; want the end of the connection", why, n, body, err)
	}
}

func apiVersions() kmsg.Request {
	r := kmsg.NewPtrApiVersionsRequest()
	r.Version, r.ClientSoftwareName, r.ClientSoftwareVersion = 3, "test", "1"
	return r
}

// works proves that the server still serves.
func (h *harness) works(why string) {
	h.t.Helper()
	p := h.dial()
	p.send(1, apiVersions())
	if body := p.expect(1); len(body) < 20 {
		h.t.Errorf("%s: answer of %d bytes", why, len(body))
	}
	_ = p.Close()
	synctest.Wait()
}

func oneBatch(t testing.TB, size int) []byte {
	t.Helper()
	b := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: 1000}.NoProducer())
	if err := b.Append(batch.RecordFields{TimestampMs: 1000, Value: make([]byte, size)}); err != nil {
		t.Fatal(err)
	}
	raw, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func produceTo(id [16]byte, acks int16, raw []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Version, r.Acks, r.TimeoutMillis = 13, acks, 60_000
	r.Topics = []kmsg.ProduceRequestTopic{{
		TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: raw}},
	}}
	return r
}

func fetchFrom(id [16]byte, offset int64, wait int32) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 13, wait, 1, 1<<20
	r.ReplicaID, r.SessionEpoch = -1, -1
	part := kmsg.NewFetchRequestTopicPartition()
	part.FetchOffset, part.PartitionMaxBytes = offset, 1<<20
	part.CurrentLeaderEpoch, part.LastFetchedEpoch = -1, -1
	r.Topics = []kmsg.FetchRequestTopic{
		{TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{part}},
	}
	return r
}
