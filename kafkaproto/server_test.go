package kafkaproto

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
)

func joinOf(group string) kmsg.Request {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version, r.Group, r.SessionTimeoutMillis, r.ProtocolType = 5, group, 10_000, "consumer"
	return r
}

// TestDrain answers what is in work and closes; nobody waits for data any more.
func TestDrain(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		h.replicas.Auto = false
		h.groups.Hold = true
		id := h.topic("t")
		producer, consumer, member, idle := h.dial(), h.dial(), h.dial(), h.dial()
		producer.send(1, produceTo(id, -1, oneBatch(t, 10)))
		consumer.send(2, fetchFrom(id, 0, 100_000))
		member.send(3, joinOf("g"), apiVersions())
		idle.send(4, apiVersions())
		idle.expect(4)
		synctest.Wait()

		drained := make(chan error, 1)
		// It ends when the producer is answered, which the test waits for.
		go func() { drained <- h.server.Drain(t.Context()) }()
		consumer.expect(2)
		consumer.expectClosed("consumer")
		member.expect(3)
		member.expect(4)
		member.expectClosed("member")
		idle.expectClosed("idle")
		synctest.Wait()
		select {
		case err := <-drained:
			t.Fatalf("drained before the producer was answered: %v", err)
		default:
		}
		h.replicas.Of("t", 0).Commit()
		producer.expect(1)
		producer.expectClosed("producer")
		if err := <-drained; err != nil {
			t.Error(err)
		}
		if len(h.groups.Joins()) != 1 || h.groups.Answer() != 1 {
			t.Error("the member's join got lost")
		}
	})
}

// TestDrainEnds: an answer that does not come is given up when the caller's time is over.
func TestDrainEnds(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		h.replicas.Auto = false
		id := h.topic("t")
		p := h.dial()
		p.send(1, produceTo(id, -1, oneBatch(t, 10)))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if err := h.server.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("drain: %v", err)
		}
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("drain took %v", took)
		}
		p.expectClosed("given up")
	})
}

func TestConnectionsMax(t *testing.T) {
	inBubble(t, Options{ConnectionsMax: 3}, func(t *testing.T, h *harness) {
		var open []*peer
		for range 3 {
			p := h.dial()
			p.send(1, apiVersions())
			p.expect(1)
			open = append(open, p)
		}
		h.dial().expectClosed("one too many")
		synctest.Wait()
		if m := h.server.Metrics(); m.ConnectionsRefused != 1 || m.Connections != 3 || m.ConnectionsTotal != 3 {
			t.Errorf("%+v", m)
		}
		_ = open[0].Close()
		synctest.Wait()
		h.works("after one has gone")
	})
}

// TestAcceptFailure: running out of descriptors is waited for, not died of.
func TestAcceptFailure(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		h.listener.fail <- errTest
		synctest.Wait()
		h.works("after a failed accept")
	})
}

func TestMetrics(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		p := h.dial()
		requests := encode(1, apiVersions(), produceTo(id, -1, oneBatch(t, 10)), produceTo(id, -1, oneBatch(t, 10)))
		if _, err := p.Write(requests); err != nil {
			t.Fatal(err)
		}
		var out int
		for number := int32(1); number <= 3; number++ {
			out += len(p.expect(number)) + 8
		}
		synctest.Wait()
		m := h.server.Metrics()
		if m.Requests["Produce"] != 2 || m.Requests["ApiVersions"] != 1 || m.Requests["Fetch"] != 0 ||
			m.BytesIn != int64(len(requests)) || m.BytesOut != int64(out) || m.Connections != 1 {
			t.Errorf("%+v; %d bytes in, %d out", m, len(requests), out)
		}
		if len(m.Requests) != len(h.server.api.List()) {
			t.Errorf("%d of %d APIs are counted", len(m.Requests), len(h.server.api.List()))
		}
	})
}

// TestParkedFetchesCostNothing: a thousand consumers that wait are not looked at in an hour.
func TestParkedFetchesCostNothing(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		const consumers = 1000
		id := h.topic("t")
		part := h.replicas.Of("t", 0)
		var peers []*peer
		for range consumers {
			p := h.dial()
			p.send(1, fetchFrom(id, 0, 280_000))
			peers = append(peers, p)
		}
		synctest.Wait()
		before := part.Reads()
		<-time.After(4 * time.Minute)
		synctest.Wait()
		if looked := part.Reads() - before; looked != 0 || part.Watchers() != consumers {
			t.Errorf("%d looks while parked, %d watchers", looked, part.Watchers())
		}
		if held := h.server.Metrics().RequestMemoryBytes; held > consumers*1024 {
			t.Errorf("%d parked fetches hold %d bytes of the budget", consumers, held)
		}
		part.Put(batch.Batch(oneBatch(t, 10)))
		for _, p := range peers {
			p.expect(1)
			_ = p.Close()
		}
	})
}

// TestLargeFramesDoNotStarveSmallOnes: uploads that take all their memory and stall leave
// heartbeats alone.
func TestLargeFramesDoNotStarveSmallOnes(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		stalled := []byte{1, 0x80, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1} // 24 MiB of produce
		for range 40 {
			h.dial().sendAside(stalled)
		}
		synctest.Wait()
		if m := h.server.Metrics(); m.RequestMemoryBytes < 100<<20 {
			t.Errorf("the uploads are charged %d bytes only", m.RequestMemoryBytes)
		}
		h.works("while uploads stall")
	})
}

func TestOptions(t *testing.T) {
	listener := newPipeListener()
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"no listener":   {Options{}, "Listener is nil"},
		"no floors":     {Options{Listener: listener}, "Replicas and Groups"},
		"no port":       {Options{Listener: listener, Advertised: "host"}, "not host:port"},
		"port 0":        {Options{Listener: listener, Advertised: "host:0"}, "no port"},
		"port name":     {Options{Listener: listener, Advertised: "host:kafka"}, "no port"},
		"too small":     {Options{Listener: listener, MaxRequestBytes: 3}, "max-request-bytes"},
		"too large":     {Options{Listener: listener, MaxRequestBytes: 1 << 30}, "max-request-bytes"},
		"negative":      {Options{Listener: listener, ConnectionsMax: -1}, "ConnectionsMax"},
		"little memory": {Options{Listener: listener, AnswerMemoryBytes: 5}, "AnswerMemoryBytes"},
	} {
		if !strings.Contains(name, "floors") {
			c.o.Replicas, c.o.Groups = new(replication.Manager), new(groups.Coordinator)
		}
		if _, err := NewServer(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want something about %q", name, err, c.want)
		}
	}
}

// TestGuard: a panic in a floor below goes on, one of this package's own becomes an error.
func TestGuard(t *testing.T) {
	if err := guard(func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("an error became %v", err)
	}
	err := guard(func() error { panic(errTest) })
	if !errors.Is(err, errPanic) || !strings.Contains(err.Error(), "test's own") {
		t.Errorf("a panic became %v", err)
	}
	err = guard(func() error { _ = batch.Batch(nil).Magic(); return nil })
	if !errors.Is(err, errPanic) {
		t.Errorf("a panic in a pure decoder became %v", err)
	}
	// There is no partition behind the pointer, so package replication panics.
	var broken *replication.Partition
	recovered := func() (r any) {
		defer func() { r = recover() }()
		_ = guard(func() error { _ = broken.LogEnd(); return nil })
		return nil
	}()
	if recovered == nil {
		t.Error("a panic in replication was swallowed")
	}
}

// TestRealListener serves over the loopback, where deadlines and addresses are the system's.
func TestRealListener(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, Options{})
	if err := h.server.Close(); err != nil {
		t.Fatal(err)
	}
	o := h.server.o
	o.Listener, o.Advertised = listener, ""
	server, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// It ends when the server is drained below.
	go func() { served <- server.Serve() }()
	nc, err := net.Dial("tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, Conn: nc}
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 12
	p.send(1, r)
	out := kmsg.NewPtrMetadataResponse()
	out.Version = 12
	if err := out.ReadFrom(p.expect(1)[1:]); err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if len(out.Brokers) != 1 || out.Brokers[0].Host != "127.0.0.1" || int(out.Brokers[0].Port) != port {
		t.Errorf("advertised %+v, listening on port %d", out.Brokers, port)
	}
	if err := server.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	p.expectClosed("drained")
	if err := <-served; err != nil {
		t.Error(err)
	}
}
