package kafkaproto

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
)

var stormTopics = []string{"steady", "fleeting"}

const (
	stormPartitions = 3
	stormFetchers   = 6
	stormSteps      = 200
)

var stormSeed = flag.Uint64("storm.seed", 0, "what is random in TestFetchStorm comes of this")

// pace counts what the fetchers have done, for those who do something for every so much of it.
type pace struct {
	sync.Mutex
	changed *sync.Cond
	steps   int
	over    bool
}

func newPace() *pace {
	p := &pace{}
	p.changed = sync.NewCond(p)
	return p
}

// step notes one step, and end that the rest is not waited for.
func (p *pace) step() {
	p.Lock()
	defer p.Unlock()
	p.steps++
	p.changed.Broadcast()
}

func (p *pace) end() {
	p.Lock()
	defer p.Unlock()
	p.over = true
	p.changed.Broadcast()
}

// await waits for so many steps more, or for the end.
func (p *pace) await(n int) {
	p.Lock()
	defer p.Unlock()
	for until := p.steps + n; p.steps < until && !p.over; {
		p.changed.Wait()
	}
}

// storm is a server over real partitions, to which things happen.
type storm struct {
	t      *testing.T
	seed   uint64
	m      *replication.Manager
	server *Server
	over   atomic.Bool
	pace   *pace

	batches, incremental, restarts atomic.Int64 // what has been seen
}

// TestFetchStorm has consumers of every version fetch with and without sessions, and vanish in the
// middle, while records are produced and a topic is deleted and made anew: what comes is whole and
// in order, everyone reads to the end, and nothing stays behind.
func TestFetchStorm(t *testing.T) {
	before := runtime.NumGoroutine()
	m, err := replication.Open(replication.Options{
		DataDir: "/data", FS: vfs.NewCrash(1), OnFailure: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, err := NewServer(Options{
		Listener: listener, AnswerMemoryBytes: api.FetchBytesMax,
		backend: &api.Options{Replicas: api.ReplicasOf(m), Groups: &apitest.Groups{}, FetchSessionSlots: 12},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &storm{t: t, seed: *stormSeed, m: m, server: server, pace: newPace()}
	if s.seed == 0 {
		s.seed = uint64(time.Now().UnixNano())
	}
	t.Logf("rerun with -run TestFetchStorm -storm.seed=%d", s.seed)
	served := make(chan error, 1)
	// It ends with Drain below, and is waited for there.
	go func() { served <- server.Serve() }()
	s.create("steady")
	s.create("fleeting")
	s.run()
	if s.batches.Load() < 300 || s.incremental.Load() < 20 || s.restarts.Load() < 10 {
		t.Errorf("%d batches, %d incremental fetches, %d begun anew: the test has lost its teeth",
			s.batches.Load(), s.incremental.Load(), s.restarts.Load())
	}
	if err := server.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	n := server.Metrics()
	if n.RequestMemoryBytes != 0 || n.AnswerMemoryBytes != 0 || n.Connections != 0 || n.Panics != 0 {
		t.Errorf("after the end: %+v", n)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for try := 0; runtime.NumGoroutine() > before; try++ {
		if try == 1_000_000 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}

// run has everyone at work until the fetchers have done their steps and read to the end.
func (s *storm) run() {
	var producers, fetchers, readers sync.WaitGroup
	for index := range int32(stormPartitions) {
		producers.Go(func() { s.produce("steady", index) })
		producers.Go(func() { s.produce("fleeting", index) })
	}
	producers.Go(s.replace)
	for i := range uint64(stormFetchers) {
		f := &stormFetcher{storm: s, rng: rand.New(rand.NewPCG(s.seed, i))}
		fetchers.Add(1)
		// It ends when it has read what the producers, which end before, have left.
		readers.Go(func() {
			for step := 0; step < stormSteps && !s.t.Failed(); step++ {
				f.step()
				s.pace.step()
			}
			fetchers.Done()
			f.finish()
		})
	}
	fetchers.Wait()
	s.over.Store(true)
	s.pace.end()
	producers.Wait()
	readers.Wait()
}

func (s *storm) create(name string) {
	spec := replication.TopicSpec{
		Name: name, Partitions: stormPartitions, ReplicationFactor: 1,
		Configs: map[string]string{"internal.segment.bytes": "65536"},
	}
	if _, err := s.m.CreateTopic(spec, false); err != nil {
		s.t.Error(err)
	}
}

// replace deletes a topic and makes it anew, again and again.
func (s *storm) replace() {
	for !s.over.Load() {
		if err := s.m.DeleteTopic(s.m.Image().Topic("fleeting").ID); err != nil {
			s.t.Error(err)
		}
		s.create("fleeting")
		s.pace.await(stormFetchers * stormSteps / 20)
	}
}

// produce appends batches whose records say where they are.
func (s *storm) produce(name string, index int32) {
	rng := rand.New(rand.NewPCG(s.seed, 100+uint64(index)))
	for !s.over.Load() {
		if topic := s.m.Image().Topic(name); topic != nil {
			if p, err := s.m.Partition(topic.ID, index); err == nil {
				b := s.batch(name, index, 1+rng.IntN(3), rng.IntN(6000))
				_, err := p.Append(context.Background(), b, replication.AppendOptions{})
				if err != nil && name == "steady" {
					s.t.Error(err)
				}
			}
		}
		s.pace.await(rng.IntN(3))
	}
}

func (s *storm) batch(name string, index int32, n, size int) batch.Batch {
	b := batch.NewBuilder(batch.BuilderOptions{BaseTimestamp: batch.UnixMs(time.Now().UnixMilli())}.NoProducer())
	for range n {
		f := batch.RecordFields{
			TimestampMs: batch.UnixMs(time.Now().UnixMilli()), Key: fmt.Appendf(nil, "%s-%d", name, index),
			Value: make([]byte, size),
		}
		if err := b.Append(f); err != nil {
			s.t.Error(err)
		}
	}
	raw, err := b.Build(nil)
	if err != nil {
		s.t.Error(err)
	}
	return raw
}

// stormPlace is a partition as a fetcher knows it.
type stormPlace struct {
	name  string
	index int32
}

// stormFetcher is one consumer.
type stormFetcher struct {
	*storm
	rng     *rand.Rand
	nc      net.Conn
	in      *bufio.Reader
	version int16
	id      int32 // of the session
	epoch   int32
	ids     map[string][16]byte
	next    map[stormPlace]int64
	told    map[stormPlace]int64 // the offset that the session knows
}

// begin starts anew, with a version of its own. It is false if that cannot be.
func (f *stormFetcher) begin() bool {
	if f.nc == nil {
		nc, err := net.Dial("tcp", f.server.Addr().String())
		if err != nil {
			f.t.Error(err)
			return false
		}
		f.nc, f.in = nc, bufio.NewReader(nc)
		f.version = int16(4 + f.rng.IntN(15))
		if f.rng.IntN(4) == 0 {
			f.id = 0 // its session stays behind
		}
	}
	f.restarts.Add(1)
	f.epoch, f.ids, f.told = int32(-f.rng.IntN(2)), map[string][16]byte{}, nil
	if f.next == nil {
		f.next = map[stormPlace]int64{}
	}
	for _, name := range stormTopics {
		topic := f.m.Image().Topic(name)
		if topic == nil {
			continue
		}
		f.ids[name] = topic.ID
		for index := range int32(stormPartitions) {
			place := stormPlace{name, index}
			if name == "fleeting" {
				f.next[place] = 0
			}
		}
	}
	return true
}

// request asks for what has changed, or for everything.
func (f *stormFetcher) request() *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.ReplicaID, r.SessionID, r.SessionEpoch = f.version, -1, f.id, f.epoch
	r.MaxWaitMillis, r.MinBytes = int32(f.rng.IntN(20)), int32([]int{0, 1, 20_000}[f.rng.IntN(3)])
	r.MaxBytes = int32([]int{1, 10_000, 1 << 20, 1<<31 - 1}[f.rng.IntN(4)])
	most := int32([]int{1, 5000, 1 << 20, 1<<31 - 1}[f.rng.IntN(4)])
	for _, name := range stormTopics {
		id, ok := f.ids[name]
		if !ok {
			continue
		}
		t := kmsg.NewFetchRequestTopic()
		t.Topic, t.TopicID = name, id
		for index := range int32(stormPartitions) {
			place := stormPlace{name, index}
			if told, ok := f.told[place]; ok && f.epoch > 0 && told == f.next[place] {
				continue
			}
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, f.next[place], most
			p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
			t.Partitions = append(t.Partitions, p)
		}
		if len(t.Partitions) > 0 {
			r.Topics = append(r.Topics, t)
		}
	}
	return r
}

// step is one fetch, which may end in the middle.
func (f *stormFetcher) step() {
	if (f.nc == nil || f.ids == nil) && !f.begin() {
		return
	}
	r := f.request()
	if _, err := f.nc.Write(encode(5, r)); err != nil {
		f.t.Errorf("write: %v", err)
		return
	}
	if f.rng.IntN(15) == 0 {
		// At once, when nobody knows whether the request was read, or in the middle of the answer,
		// which has at least this much.
		if _, err := io.CopyN(io.Discard, f.in, int64(f.rng.IntN(2)*(1+f.rng.IntN(8)))); err != nil {
			f.t.Errorf("read: %v", err)
		}
		_ = f.nc.Close() // The server sees it go, and that is all there is to it.
		f.nc = nil
		return
	}
	var head [8]byte
	if _, err := io.ReadFull(f.in, head[:]); err != nil {
		f.t.Errorf("read: %v", err)
		return
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(f.in, body); err != nil {
		f.t.Errorf("read: %v", err)
		return
	}
	if f.version >= 12 {
		body = body[1:]
	}
	out := kmsg.NewPtrFetchResponse()
	out.Version = f.version
	if err := out.ReadFrom(body); err != nil {
		f.t.Errorf("v%d: %v", f.version, err)
		return
	}
	f.take(r, out)
}

// take judges an answer and moves on.
func (f *stormFetcher) take(r *kmsg.FetchRequest, out *kmsg.FetchResponse) {
	if out.ErrorCode != 0 {
		if r.SessionEpoch <= 0 || out.ErrorCode != kerr.FetchSessionIDNotFound.Code {
			f.t.Errorf("v%d, session %d, epoch %d: code %d", f.version, r.SessionID, r.SessionEpoch, out.ErrorCode)
		}
		f.ids, f.id = nil, 0
		return
	}
	f.told = map[stormPlace]int64{}
	for place, next := range f.next {
		f.told[place] = next
	}
	switch f.id = out.SessionID; {
	case f.id == 0 || f.version < 7:
		f.epoch = int32(-f.rng.IntN(2))
	case f.epoch <= 0:
		f.epoch = 1
	default:
		f.epoch++
		f.incremental.Add(1)
	}
	batches, bytes := 0, 0
	for _, t := range out.Topics {
		name := t.Topic
		for n, id := range f.ids {
			if f.version >= 13 && id == t.TopicID {
				name = n
			}
		}
		for i := range t.Partitions {
			p := &t.Partitions[i]
			n, ok := f.read(stormPlace{name, p.Partition}, p)
			if !ok {
				f.ids = nil // begins anew, and ends the session
				return
			}
			batches, bytes = batches+n, bytes+len(p.RecordBatches)
		}
	}
	if batches > 1 && bytes > int(r.MaxBytes) {
		f.t.Errorf("%d bytes in %d batches; at most %d were asked for", bytes, batches, r.MaxBytes)
	}
}

// read judges what came of one partition. It is not ok if the topic has gone.
func (f *stormFetcher) read(place stormPlace, p *kmsg.FetchResponseTopicPartition) (batches int, ok bool) {
	if p.ErrorCode != 0 {
		if place.name == "steady" {
			f.t.Errorf("%v: code %d", place, p.ErrorCode)
		}
		return 0, false
	}
	if p.LastStableOffset > p.HighWatermark || p.LogStartOffset > p.HighWatermark {
		f.t.Errorf("%v: %+v", place, p)
	}
	for raw := p.RecordBatches; len(raw) > 0; batches++ {
		b, rest, err := batch.Next(raw)
		if err == nil {
			err = batch.CheckStored(b)
		}
		if err != nil {
			f.t.Errorf("%v: %v", place, err)
			return batches, false
		}
		raw = rest
		reader, err := batch.NewReader(b, 1<<20)
		if err != nil {
			f.t.Errorf("%v: %v", place, err)
			return batches, false
		}
		r, _, err := reader.Next()
		reader.Close()
		next := f.next[place]
		inOrder := int64(b.BaseOffset()) <= next && int64(b.LastOffset()) >= next
		if want := fmt.Sprintf("%s-%d", place.name, place.index); err != nil || string(r.Key) != want || !inOrder {
			f.t.Errorf("v%d, %v: offsets %d to %d, key %q, %v; want %d", f.version, place, b.BaseOffset(),
				b.LastOffset(), r.Key, err, next)
			return batches, false
		}
		f.next[place] = int64(b.LastOffset()) + 1
		f.batches.Add(1)
	}
	return batches, true
}

// finish reads the steady topic to its end.
func (f *stormFetcher) finish() {
	for step := 0; !f.t.Failed(); step++ {
		left := 0
		for index := range int32(stormPartitions) {
			p, err := f.m.Partition(f.m.Image().Topic("steady").ID, index)
			if err != nil {
				f.t.Error(err)
				return
			}
			if int64(p.HighWatermark()) > f.next[stormPlace{"steady", index}] {
				left++
			}
		}
		if left == 0 && f.over.Load() {
			break
		}
		if step > 100*stormSteps {
			f.t.Errorf("v%d: %d partitions are not read to the end: %v", f.version, left, f.next)
		}
		f.step()
	}
	if f.nc != nil {
		_ = f.nc.Close() // The server sees the end, and that is all there is to it.
	}
}
