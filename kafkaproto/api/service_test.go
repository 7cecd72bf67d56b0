package api_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// unbounded is a memory budget that has no end.
type unbounded struct{}

func (unbounded) TryAcquire(int64) bool { return true }

func (unbounded) Release(int64) {}

func (unbounded) AcquirePiece(context.Context, int64) error { return nil }

func (unbounded) ReleasePiece(int64) {}

// bench is a service over stand-ins, and a connection to it without a network.
type bench struct {
	t        testing.TB
	replicas *apitest.Replicas
	groups   *apitest.Groups
	service  *api.Service
	session  *api.Session
	waiter   api.Waiter
	drain    chan struct{}
}

func newBench(t testing.TB) *bench {
	b := &bench{
		t: t, replicas: apitest.NewReplicas(), groups: &apitest.Groups{},
		session: api.NewSession("10.0.0.9"), drain: make(chan struct{}),
	}
	var err error
	b.service, err = api.NewService(api.Options{
		Replicas: b.replicas, Groups: b.groups,
		AdvertisedHost: "broker.test", AdvertisedPort: 9092, AutoCreate: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.waiter = api.Waiter{
		Ctx: context.Background(), Drain: b.drain, Clock: clock.Real(), Memory: unbounded{},
		Grow: func(p []byte, n int) []byte {
			return append(make([]byte, 0, len(p)+n), p...)
		},
		Shrink: func(p []byte) []byte { return p },
		Clip:   slices.Clone[[]byte],
	}
	return b
}

func (b *bench) topic(name string, partitions int32) [16]byte {
	b.t.Helper()
	r := kmsg.NewPtrCreateTopicsRequest()
	r.Version = 7
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, 1
	r.Topics = append(r.Topics, t)
	out := b.do(r).(*kmsg.CreateTopicsResponse)
	if out.Topics[0].ErrorCode != 0 {
		b.t.Fatalf("create %s: %d %s", name, out.Topics[0].ErrorCode, *out.Topics[0].ErrorMessage)
	}
	return out.Topics[0].TopicID
}

var formatter = kmsg.NewRequestFormatter(kmsg.FormatterClientID("test-client"))

func frameOf(r kmsg.Request) []byte { return formatter.AppendRequest(nil, r, 4711)[4:] }

// start runs the first stage of a request.
func (b *bench) start(r kmsg.Request) (api.Answer, error) {
	return b.service.Start(context.Background(), b.session, frameOf(r))
}

// do runs a whole request. The response must be what kmsg would encode, to the last byte.
func (b *bench) do(r kmsg.Request) kmsg.Response {
	b.t.Helper()
	answer, err := b.start(r)
	if err != nil {
		b.t.Fatalf("%T v%d: %v", r, r.GetVersion(), err)
	}
	return b.finish(r, answer)
}

func (b *bench) finish(r kmsg.Request, answer api.Answer) kmsg.Response {
	b.t.Helper()
	if answer.Silent() {
		b.t.Fatalf("%T v%d: no answer", r, r.GetVersion())
	}
	raw, err := answer.AppendTo(&b.waiter, nil)
	if err != nil {
		b.t.Fatalf("%T v%d: %v", r, r.GetVersion(), err)
	}
	if !bytes.Equal(raw[:4], []byte{0, 0, 0x12, 0x67}) {
		b.t.Fatalf("%T v%d: correlation id % x", r, r.GetVersion(), raw[:4])
	}
	body := raw[4:]
	out := r.ResponseKind()
	out.SetVersion(r.GetVersion())
	if out.IsFlexible() && r.Key() != 18 {
		if body[0] != 0 {
			b.t.Fatalf("%T v%d: header tags %d", r, r.GetVersion(), body[0])
		}
		body = body[1:]
	}
	if err := out.ReadFrom(body); err != nil {
		b.t.Fatalf("%T v%d: answer is broken: %v", r, r.GetVersion(), err)
	}
	if again := out.AppendTo(nil); !bytes.Equal(again, body) {
		b.t.Fatalf("%T v%d: answer has %d bytes, kmsg makes %d of it\n% x\n% x",
			r, r.GetVersion(), len(body), len(again), body, again)
	}
	return out
}

// records makes a batch of n records of the given size.
func records(t testing.TB, n, size int, codec batch.Codec) []byte {
	t.Helper()
	b := batch.NewBuilder(batch.BuilderOptions{Codec: codec, BaseTimestamp: 1000}.NoProducer())
	for range n {
		err := b.Append(batch.RecordFields{TimestampMs: 1000, Value: bytes.Repeat([]byte("v"), size)})
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// empty makes a batch that compaction has emptied: it spans n offsets and has no records.
func empty(t testing.TB, n int32) batch.Batch {
	t.Helper()
	b := batch.Batch(bytes.Clone(records(t, int(n), 1, batch.None)[:batch.HeaderBytes]))
	b[8], b[9], b[10], b[11] = 0, 0, 0, batch.HeaderBytes-12
	b[57], b[58], b[59], b[60] = 0, 0, 0, 0
	b.SealCRC()
	if b.Count() != 0 || b.LastOffsetDelta() != n-1 || b.CheckCRC() != nil {
		t.Fatalf("the empty batch is none: %d records, last %d", b.Count(), b.LastOffsetDelta())
	}
	return b
}

// TestEveryVersionAnswers sends every API in every version that is served, and reads the answer.
func TestEveryVersionAnswers(t *testing.T) {
	for _, a := range newBench(t).service.List() {
		for version := a.ServedFrom; version <= a.Max; version++ {
			b := newBench(t)
			id := b.topic("t", 2)
			r := populated(t, a.Key, version, id)
			out := b.do(r)
			if code := firstError(out); code != 0 {
				t.Errorf("%s v%d: error %d in %+v", a.Name, version, code, out)
			}
		}
	}
}

// TestResponsesAreFlexibleWithTheirRequests holds for Start what it takes for granted.
func TestResponsesAreFlexibleWithTheirRequests(t *testing.T) {
	for _, a := range newBench(t).service.List() {
		for v := a.ServedFrom; v <= a.Max; v++ {
			request := kmsg.RequestForKey(a.Key)
			response := request.ResponseKind()
			request.SetVersion(v)
			response.SetVersion(v)
			if request.IsFlexible() != response.IsFlexible() {
				t.Errorf("%s version %d: request flexible: %v, response: %v", a.Name, v,
					request.IsFlexible(), response.IsFlexible())
			}
		}
	}
}

// TestVersionsOutsideAreRefused closes connections on what is not served, in place of an answer
// that the client could not read.
func TestVersionsOutsideAreRefused(t *testing.T) {
	b := newBench(t)
	refused := func(key, version int16) {
		t.Helper()
		frame := []byte{byte(key >> 8), byte(key), byte(version >> 8), byte(version), 0, 0, 0, 1, 0xff, 0xff}
		answer, err := b.service.Start(context.Background(), b.session, frame)
		if !errors.Is(err, api.ErrRefused) || !answer.Silent() {
			t.Errorf("key %d version %d: %v", key, version, err)
		}
	}
	for _, a := range b.service.List() {
		if a.Key == 18 {
			continue
		}
		refused(a.Key, a.Max+1)
		refused(a.Key, a.ServedFrom-1)
		refused(a.Key, -1)
	}
	for _, key := range []int16{-1, 4, 5, 6, 7, 15, 17, 24, 68, 71, 72, 78, 94, 95, 30000} {
		refused(key, 0)
	}
}

// TestMaximaAreKafka44 holds the table against kmsg, whose maxima are those of Kafka 4.4.
func TestMaximaAreKafka44(t *testing.T) {
	for _, a := range newBench(t).service.List() {
		r := kmsg.RequestForKey(a.Key)
		if r == nil || kmsg.NameForKey(a.Key) == "" {
			t.Fatalf("kmsg knows no key %d", a.Key)
		}
		if r.MaxVersion() != a.Max {
			t.Errorf("%s: maximum %d, kmsg has %d", a.Name, a.Max, r.MaxVersion())
		}
		if a.Min < 0 || a.Min > a.ServedFrom || a.ServedFrom > a.Max {
			t.Errorf("%s: versions %d, %d, %d are in no order", a.Name, a.Min, a.ServedFrom, a.Max)
		}
	}
}

// parked runs an answer on a goroutine of its own, which ends when the answer does.
func (b *bench) parked(answer api.Answer) <-chan []byte {
	done := make(chan []byte, 1)
	// It ends with the answer, for which the test waits on the channel.
	go func() {
		raw, err := answer.AppendTo(&b.waiter, nil)
		if err != nil {
			raw = nil
		}
		done <- raw
	}()
	return done
}

func still(t *testing.T, done <-chan []byte) {
	t.Helper()
	select {
	case raw := <-done:
		t.Fatalf("answered too early: % x", raw)
	default:
	}
}

const second = time.Second
