package kafkaproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// TestAnswersInOrder has several requests in work on one connection: each batch is appended as it
// is read, the answers come in the order of the requests, however they become ready.
func TestAnswersInOrder(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		h.replicas.Auto = false
		slow, quick := h.topic("slow"), h.topic("quick")
		p := h.dial()
		var appended []string
		for _, name := range []string{"slow", "quick"} {
			h.replicas.Of(name, 0).OnAppend(func(batch.Batch) { appended = append(appended, name) })
		}
		raw := oneBatch(t, 100)
		p.send(1,
			produceTo(slow, -1, raw), produceTo(quick, -1, raw), apiVersions(),
			fetchFrom(slow, 0, 1000), produceTo(quick, -1, raw))
		synctest.Wait()
		if want := []string{"slow", "quick", "quick"}; !slices.Equal(appended, want) {
			t.Errorf("appended %v, want %v", appended, want)
		}
		h.replicas.Of("quick", 0).Commit()
		synctest.Wait()
		if n := p.server.writes.Load(); n != 0 {
			t.Errorf("%d answers overtake the first", n)
		}
		h.replicas.Of("slow", 0).Commit()
		for number := int32(1); number <= 5; number++ {
			p.expect(number)
		}
	})
}

func createTopic(name string) *kmsg.CreateTopicsRequest {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version = 7
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	r.Topics = append(r.Topics, topic)
	return r
}

func metadataOf(name string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Version, r.AllowAutoTopicCreation = 12, true
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr(name)
	r.Topics = append(r.Topics, topic)
	return r
}

func deleteTopic(name string) *kmsg.DeleteTopicsRequest {
	r := kmsg.NewPtrDeleteTopicsRequest()
	r.Version, r.TopicNames = 5, []string{name}
	return r
}

// TestTopicsOfEarlierRequests: a batch is judged by the topics as the requests before it on the
// connection leave them, also when those wait for their turn.
func TestTopicsOfEarlierRequests(t *testing.T) {
	for name, c := range map[string]struct {
		changes []kmsg.Request
		want    int16
	}{
		"created":           {[]kmsg.Request{createTopic("new")}, 0},
		"created by asking": {[]kmsg.Request{metadataOf("new")}, 0},
		"deleted":           {[]kmsg.Request{deleteTopic("old")}, kerr.UnknownTopicOrPartition.Code},
		"made anew":         {[]kmsg.Request{deleteTopic("old"), createTopic("old")}, 0},
	} {
		inBubble(t, Options{}, func(t *testing.T, h *harness) {
			id := h.topic("t")
			h.topic("old")
			batchTo := produceTo([16]byte{}, -1, oneBatch(t, 10))
			batchTo.Version, batchTo.Topics[0].Topic = 9, "new"
			if !strings.Contains(name, "created") {
				batchTo.Topics[0].Topic = "old"
			}
			p := h.dial()
			requests := append([]kmsg.Request{fetchFrom(id, 0, 1000)}, c.changes...)
			requests = append(requests, batchTo)
			p.sendAside(encode(1, requests...))
			for number := range len(requests) - 1 {
				p.expect(int32(number + 1))
			}
			out := kmsg.NewPtrProduceResponse()
			out.Version = 9
			if err := out.ReadFrom(p.expect(int32(len(requests)))[1:]); err != nil {
				t.Fatal(err)
			}
			if code := out.Topics[0].Partitions[0].ErrorCode; code != c.want {
				t.Errorf("%s: code %d, want %d", name, code, c.want)
			}
		})
	}
}

// TestAnswersAreCollected: several answers that are ready together leave with one write.
func TestAnswersAreCollected(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		h.replicas.Auto = false
		id := h.topic("t")
		p := h.dial()
		var requests []kmsg.Request
		for range 40 {
			requests = append(requests, produceTo(id, -1, oneBatch(t, 10)))
		}
		p.send(1, requests...)
		synctest.Wait()
		h.replicas.Of("t", 0).Commit()
		for number := int32(1); number <= 40; number++ {
			p.expect(number)
		}
		if n := p.server.writes.Load(); n > 3 {
			t.Errorf("40 answers took %d writes", n)
		}
	})
}

// TestSlowAnswerHoldsNoReadyOne: what is ready is sent before what is not is waited for.
func TestSlowAnswerHoldsNoReadyOne(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		p := h.dial()
		p.send(1, apiVersions(), apiVersions(), fetchFrom(id, 0, 60_000))
		p.expect(1)
		p.expect(2)
		began := time.Now()
		p.expect(3)
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("the fetch was answered after %v", waited)
		}
	})
}

// TestQueueIsBounded: a client that sends and sends is not read beyond its queue.
func TestQueueIsBounded(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		p := h.dial()
		one := encode(1, apiVersions())
		raw := append(encode(0, fetchFrom(id, 0, 60_000)), bytes.Repeat(one, 1000)...)
		sent := p.sendAside(raw)
		synctest.Wait()
		if most := int64((pendingMax+2)*len(one) + readBufferBytes + 1024); sent.Load() > most {
			t.Errorf("%d bytes of %d are taken from a client whose first request waits; at most %d should be",
				sent.Load(), len(raw), most)
		}
		p.expect(0)
		for range 1000 {
			p.expect(1)
		}
	})
}

func TestAcks0(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		p := h.dial()
		p.send(1, produceTo(id, 0, oneBatch(t, 10)), apiVersions())
		p.expect(2)
		if hw := h.replicas.Of("t", 0).HighWatermark(); hw != 1 {
			t.Errorf("high watermark %d", hw)
		}
		p.send(3, apiVersions(), produceTo([16]byte{9}, 0, oneBatch(t, 10)), apiVersions())
		p.expect(3)
		p.expectClosed("acks 0 failed")
	})
}

// TestRefusalsLetEarlierAnswersOut: the connection closes in the place of the refused request.
func TestRefusalsLetEarlierAnswersOut(t *testing.T) {
	old := produceTo([16]byte{}, -1, nil)
	old.Version = 2
	for name, refused := range map[string][]byte{
		"produce v2":          encode(3, old),
		"no such API":         {0, 0, 0, 10, 0x7f, 0, 0, 0, 0, 0, 0, 3, 0xff, 0xff},
		"no such version":     {0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 3, 0xff, 0xff},
		"body ends too early": {0, 0, 0, 11, 0, 3, 0, 1, 0, 0, 0, 3, 0xff, 0xff, 1},
		"no client id":        {0, 0, 0, 8, 0, 3, 0, 1, 0, 0, 0, 3},
	} {
		inBubble(t, Options{}, func(t *testing.T, h *harness) {
			h.replicas.Auto = false
			id := h.topic("t")
			p := h.dial()
			p.send(1, produceTo(id, -1, oneBatch(t, 10)), apiVersions())
			if _, err := p.Write(refused); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			h.replicas.Of("t", 0).Commit()
			p.expect(1)
			p.expect(2)
			p.expectClosed(name)
			synctest.Wait()
			if m := h.server.Metrics(); m.RequestsRefused != 1 || m.Requests["ApiVersions"] != 1 {
				t.Errorf("%s: %+v", name, m)
			}
			h.works(name)
		})
	}
}

func TestFramingAttacks(t *testing.T) {
	length := func(n int32, rest ...byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(n)), rest...)
	}
	header := []byte{0, 3, 0, 1, 0, 0, 0, 1}
	produce := []byte{0, 0, 0, 9, 0, 0, 0, 1}
	for name, raw := range map[string][]byte{
		"minus one":                length(-1),
		"most negative":            length(-1 << 31),
		"zero":                     length(0),
		"shorter than a header":    length(7, header[:7]...),
		"largest":                  length(1<<31-1, header...),
		"HTTP":                     []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS":                      {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		"metadata of 1 MiB + 1":    length(OtherRequestBytesMax+1, header...),
		"produce over the limit":   length(MaxRequestBytesDefault+1, produce...),
		"unknown key over 1 MiB":   length(OtherRequestBytesMax+1, 0x7f, 0xff, 0, 0, 0, 0, 0, 1),
		"negative key over 1 MiB":  length(OtherRequestBytesMax+1, 0xff, 0xff, 0, 0, 0, 0, 0, 1),
		"tag bomb in the header":   length(15, 0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"tag bomb in the body":     length(18, 0, 9, 0, 6, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f),
		"array bomb":               length(14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff),
		"client id over the frame": length(12, 0, 3, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 'a', 'b'),
	} {
		inBubble(t, Options{}, func(t *testing.T, h *harness) {
			p := h.dial()
			p.sendAside(raw)
			began := time.Now()
			p.expectClosed(name)
			if waited := time.Since(began); waited != 0 {
				t.Errorf("%s: closed after %v only", name, waited)
			}
			synctest.Wait()
			if m := h.server.Metrics(); m.RequestsRefused != 1 || m.Connections != 0 {
				t.Errorf("%s: %+v", name, m)
			}
			h.works(name)
		})
	}
}

// TestTruncated: a frame that its sender does not finish is dropped with the connection.
func TestTruncated(t *testing.T) {
	whole := encode(1, apiVersions())
	for cut := 1; cut < len(whole); cut++ {
		inBubble(t, Options{}, func(t *testing.T, h *harness) {
			p := h.dial()
			if _, err := p.Write(whole[:cut]); err != nil {
				t.Fatal(err)
			}
			_ = p.Close()
			synctest.Wait()
			if m := h.server.Metrics(); m.Connections != 0 || m.RequestMemoryBytes != 0 {
				t.Errorf("cut at %d: %+v", cut, m)
			}
		})
	}
}

func TestOneByteAtATime(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		p := h.dial()
		for _, b := range encode(1, apiVersions(), produceTo(id, -1, oneBatch(t, 100)), apiVersions()) {
			if _, err := p.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
			if synctest.Wait(); p.server.writes.Load() > 2 {
				t.Fatal("answered before the request was whole")
			}
		}
		for number := int32(1); number <= 3; number++ {
			p.expect(number)
		}
	})
}

// TestDeadlines closes what is not used, each at its own time.
func TestDeadlines(t *testing.T) {
	whole := encode(1, apiVersions())
	slowFrame := binary.BigEndian.AppendUint32(nil, 1<<20)
	slowFrame = append(slowFrame, 0, 3, 0, 1, 0, 0, 0, 1)
	for _, c := range []struct {
		name  string
		first []byte
		want  time.Duration
	}{
		{"silent", nil, firstByteTimeout},
		{"half a length", whole[:2], frameTimeout},
		{"half a header", whole[:8], frameTimeout},
		{"half a body", whole[:20], frameDeadline(len(whole) - 4)},
		{"half a large body", slowFrame, frameDeadline(1 << 20)},
		{"idle after a request", whole, idleTimeoutDefault},
	} {
		inBubble(t, Options{}, func(t *testing.T, h *harness) {
			p := h.dial()
			began := time.Now()
			if _, err := p.Write(c.first); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(c.first, whole) {
				p.expect(1)
			}
			p.expectClosed(c.name)
			if got := time.Since(began); got != c.want {
				t.Errorf("%s: closed after %v, want %v", c.name, got, c.want)
			}
		})
	}
}

// TestWaitingIsNotIdle: a consumer may wait for data longer than an idle connection may live.
func TestWaitingIsNotIdle(t *testing.T) {
	inBubble(t, Options{IdleTimeout: time.Minute}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		p := h.dial()
		p.send(1, fetchFrom(id, 0, 200_000))
		began := time.Now()
		p.expect(1)
		if waited := time.Since(began); waited != 200*time.Second {
			t.Errorf("answered after %v", waited)
		}
		p.expectClosed("idle")
		if waited := time.Since(began); waited > 200*time.Second+time.Minute {
			t.Errorf("closed after %v", waited)
		}
	})
}

// TestPeerThatDoesNotRead is not waited for longer than writeTimeout.
func TestPeerThatDoesNotRead(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		p := h.dial()
		began := time.Now()
		p.send(1, apiVersions())
		<-time.After(writeTimeout + time.Second)
		synctest.Wait()
		if m := h.server.Metrics(); m.Connections != 0 {
			t.Errorf("%v after the answer the connection is still there", time.Since(began))
		}
	})
}

// TestPeerThatReadsALittle: each byte that is read buys no new time for the rest.
func TestPeerThatReadsALittle(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		h.replicas.Of("t", 0).Put(batch.Batch(oneBatch(t, 4<<20)))
		p := h.dial()
		p.send(1, fetchFrom(id, 0, 0))
		began, err := time.Now(), error(nil)
		for err == nil {
			<-time.After(time.Second)
			_, err = p.Read(make([]byte, 64<<10))
		}
		if took := time.Since(began); took < writeTimeout || took > writeTimeout+6*time.Second {
			t.Errorf("an answer of 4 MiB is given up after %v", took)
		}
	})
}

// TestNobodyWaitsForThoseWhoDoNotRead: answers that are not read take no memory from a small one.
func TestNobodyWaitsForThoseWhoDoNotRead(t *testing.T) {
	inBubble(t, Options{AnswerMemoryBytes: 64 << 20}, func(t *testing.T, h *harness) {
		small, large := h.topic("small"), h.topic("large")
		h.replicas.Of("small", 0).Put(batch.Batch(oneBatch(t, 10)))
		megabyte := batch.Batch(oneBatch(t, 1<<20))
		for range 12 {
			h.replicas.Of("large", 0).Put(megabyte)
		}
		r := fetchFrom(large, 0, 0)
		r.MaxBytes, r.Topics[0].Partitions[0].PartitionMaxBytes = 55<<20, 55<<20
		for range 12 {
			h.dial().send(1, r)
		}
		synctest.Wait()
		began := time.Now()
		p := h.dial()
		p.send(1, fetchFrom(small, 0, 0))
		if body := p.expect(1); len(body) < batch.HeaderBytes {
			t.Errorf("answered with %d bytes", len(body))
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("a small answer waits %v", waited)
		}
	})
}

// TestLostPeerFreesItsFetch: nobody waits for data on behalf of a client that is gone.
func TestLostPeerFreesItsFetch(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		p := h.dial()
		p.send(1, fetchFrom(id, 0, 100_000))
		synctest.Wait()
		if n := h.replicas.Of("t", 0).Watchers(); n != 1 {
			t.Fatalf("%d watchers", n)
		}
		_ = p.Close()
		synctest.Wait()
		if n := h.replicas.Of("t", 0).Watchers(); n != 0 {
			t.Errorf("%d watchers", n)
		}
	})
}

// TestPanic closes the connection of the request that panics, and no other.
func TestPanic(t *testing.T) {
	inBubble(t, Options{}, func(t *testing.T, h *harness) {
		id := h.topic("t")
		other := h.dial()
		other.send(7, fetchFrom(id, 0, 100_000))
		h.replicas.Of("t", 0).OnAppend(func(batch.Batch) { panic("a test's own") })
		p := h.dial()
		p.send(1, produceTo(id, -1, oneBatch(t, 10)))
		p.expectClosed("panic")
		synctest.Wait()
		if m := h.server.Metrics(); m.Panics != 1 || m.Connections != 1 {
			t.Errorf("%+v", m)
		}
		h.replicas.Of("t", 0).Put(batch.Batch(oneBatch(t, 10)))
		other.expect(7)
	})
}

var errTest = errors.New("a test's own")
