package kafkaproto

import (
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// bulky is a small frame that may take many times its size decoded.
func bulky() kmsg.Request {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = 9
	for range 60 {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(strings.Repeat("x", 1000))
		r.Topics = append(r.Topics, t)
	}
	return r
}

// hog parks a fetch and queues requests behind it, for which it asks more memory than there is.
func hog(id [16]byte, n int) []byte {
	requests := []kmsg.Request{fetchFrom(id, 0, 300_000)}
	for range n {
		requests = append(requests, bulky())
	}
	return encode(1, requests...)
}

// TestOneConnectionCannotTakeTheBudget: what it queues behind a parked fetch is its own affair.
func TestOneConnectionCannotTakeTheBudget(t *testing.T) {
	for _, hogs := range []int{1, 40} {
		inBubble(t, Options{}, func(t *testing.T, h *harness) {
			id := h.topic("t")
			for range hogs {
				h.dial().sendAside(hog(id, 20))
			}
			synctest.Wait()
			began := time.Now()
			h.works("while requests are queued behind parked fetches")
			if waited := time.Since(began); waited != 0 {
				t.Errorf("%d hogs: another client waits %v", hogs, waited)
			}
		})
	}
}

// TestQueuedRequestsAreAnswered: a connection beyond its share is read on as it is answered.
func TestQueuedRequestsAreAnswered(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		p := h.dial()
		p.sendAside(hog(h.topic("t"), 20))
		for number := int32(1); number <= 21; number++ {
			p.expect(number)
		}
	})
}

// TestLargeBatchesDoNotWaitForEachOther: a batch of the largest size is appended while those before
// it on the connection wait for the disk, so that one fsync may be for all of them.
func TestLargeBatchesDoNotWaitForEachOther(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		h.replicas.Auto = false
		id := h.topic("t")
		appended := 0
		h.replicas.Of("t", 0).OnAppend(func(batch.Batch) { appended++ })
		const inFlight = 5
		var requests []kmsg.Request
		for range inFlight {
			requests = append(requests, produceTo(id, -1, oneBatch(t, 1_000_000)))
		}
		p := h.dial()
		p.sendAside(encode(1, requests...))
		synctest.Wait()
		if appended != inFlight {
			t.Errorf("%d of %d batches are appended before the first is durable", appended, inFlight)
		}
		h.replicas.Of("t", 0).Commit()
		for number := int32(1); number <= inFlight; number++ {
			p.expect(number)
		}
	})
}

// TestGoneWhileNotRead: the end of a peer is seen behind what it left unread, and after what it was
// not to send.
func TestGoneWhileNotRead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux is asked")
	}
	for name, sent := range map[string]func(id [16]byte) []byte{
		"behind a full queue": func(id [16]byte) []byte { return hog(id, 2) },
		"after a malformed request": func(id [16]byte) []byte {
			return append(encode(1, fetchFrom(id, 0, 300_000)), 0, 0, 0, 10, 0, 3, 0, 9, 0, 0, 0, 2, 0, 9)
		},
	} {
		t.Run(name, func(t *testing.T) { seesItsEnd(t, sent) })
	}
}

// seesItsEnd has a peer send and go, and waits until its connection has.
func seesItsEnd(t *testing.T, sent func(id [16]byte) []byte) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := newHarness(t, Options{})
	id := h.topic("t")
	if err := h.server.Close(); err != nil {
		t.Fatal(err)
	}
	o := h.server.o
	o.Listener = listener
	server, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// It ends when the server is closed below.
	go func() { served <- server.Serve() }()
	nc, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Write(sent(id)); err != nil {
		t.Fatal(err)
	}
	if err := nc.Close(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * peerCheckPause)
	for m := server.Metrics(); m.ConnectionsTotal == 0 || m.Connections > 0; m = server.Metrics() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d of %d connections are held for a peer that is gone", m.Connections, m.ConnectionsTotal)
		}
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestLargeRequestBehindAnother: one that takes more than is left to connections which hold memory
// already waits for its own connection's answers, and is read then.
func TestLargeRequestBehindAnother(t *testing.T) {
	inBubble(t, Options{RequestMemoryBytes: 8 << 20}, func(t *testing.T, h *harness) {
		h.replicas.Auto = false
		id := h.topic("t")
		p := h.dial()
		large := produceTo(id, -1, oneBatch(t, 1_000_000))
		for range 4 { // to partitions that there are not, which is answered all the same
			more := kmsg.ProduceRequestTopicPartition{Partition: 9, Records: oneBatch(t, 1_000_000)}
			large.Topics[0].Partitions = append(large.Topics[0].Partitions, more)
		}
		p.sendAside(encode(1, produceTo(id, -1, oneBatch(t, 10)), large))
		synctest.Wait()
		h.replicas.Of("t", 0).Commit()
		if err := p.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		p.expect(1)
		synctest.Wait()
		h.replicas.Of("t", 0).Commit()
		p.expect(2)
	})
}
