package groups

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// memLog is an offsets partition in memory. Normally a write is durable at once; with
// hold set, writes wait for release.
type memLog struct {
	mu struct {
		sync.Mutex
		records   []Record
		durable   int // how many of records
		waiting   []*memPending
		hold      bool
		appendErr error // returned by Append
		syncErr   error // outcome of writes that were accepted
		replayErr error
	}
}

type memPending struct {
	done chan struct{}
	end  int
	err  error
}

func (p *memPending) Done() <-chan struct{} { return p.done }
func (p *memPending) Err() error            { return p.err }

func (l *memLog) Append(records []Record) (Pending, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.appendErr != nil {
		return nil, l.mu.appendErr
	}
	if len(records) == 0 {
		return nil, errors.New("append of nothing")
	}
	l.mu.records = append(l.mu.records, records...)
	p := &memPending{done: make(chan struct{}), end: len(l.mu.records)}
	l.mu.waiting = append(l.mu.waiting, p)
	if !l.mu.hold {
		l.releaseLocked(len(l.mu.waiting))
	}
	return p, nil
}

func (l *memLog) releaseLocked(n int) {
	for _, p := range l.mu.waiting[:n] {
		if p.err = l.mu.syncErr; p.err == nil {
			l.mu.durable = p.end
		}
		close(p.done)
	}
	l.mu.waiting = l.mu.waiting[n:]
}

func (l *memLog) Replay(fn func(key, value []byte) error) error {
	l.mu.Lock()
	records, err := slices.Clone(l.mu.records), l.mu.replayErr
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, r := range records {
		key, value := slices.Clone(r.Key), slices.Clone(r.Value)
		if err := fn(key, value); err != nil {
			return err
		}
		clear(key) // only valid during the call
		clear(value)
	}
	return nil
}

func (l *memLog) set(hold bool, appendErr, syncErr error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.hold, l.mu.appendErr, l.mu.syncErr = hold, appendErr, syncErr
	if !hold {
		l.releaseLocked(len(l.mu.waiting))
	}
}

// crash returns what a restart finds: everything durable, and some of what was not.
func (l *memLog) crash(rng *rand.Rand) *memLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := l.mu.durable + rng.IntN(len(l.mu.records)-l.mu.durable+1)
	next := &memLog{}
	next.mu.records = slices.Clone(l.mu.records[:keep])
	next.mu.durable = keep
	return next
}

// world is a coordinator with one shard, its log and its clock.
type world struct {
	t   *testing.T
	clk *clock.Manual
	log *memLog
	o   Options
	c   *Coordinator
}

var epoch = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// inWorld runs a story in a bubble, so that settle can wait for every goroutine.
func inWorld(t *testing.T, change func(o *Options), story func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, clk: clock.NewManual(epoch), log: &memLog{}}
		w.o = Options{
			Partitions: 1, Clock: w.clk,
			OpenLog: func(int32) (OffsetsLog, error) { return w.log, nil },
		}
		if change != nil {
			change(&w.o)
		}
		w.open()
		defer func() { w.close() }() // also when the story fails: no goroutine may be left
		story(w)
	})
}

func (w *world) open() {
	w.t.Helper()
	c, err := Open(w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.c = c
	<-c.Ready()
}

func (w *world) close() {
	w.t.Helper()
	if err := w.c.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// restart closes the coordinator and opens it on the same log.
func (w *world) restart() {
	w.close()
	w.open()
}

func (w *world) settle() { synctest.Wait() }

func (w *world) advance(d time.Duration) {
	w.clk.Advance(d)
	w.settle()
}

// group returns the live group, or fails.
func (w *world) group(id string) *group {
	w.t.Helper()
	s := w.c.shardFor(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groupLocked(id)
	if g == nil {
		w.t.Fatalf("no group %q", id)
	}
	return g
}

func (w *world) wantState(id string, want State) {
	w.t.Helper()
	if g := w.group(id); g.state != want {
		w.t.Fatalf("group %q is %v, want %v", id, g.state, want)
	}
}

// call watches that a request is answered exactly once.
type call[T any] struct {
	t    *testing.T
	mu   sync.Mutex
	n    int
	resp T
}

func newCall[T any](t *testing.T) *call[T] { return &call[T]{t: t} }

func (c *call[T]) reply(r T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	c.resp = r
	if c.n > 1 {
		c.t.Errorf("answered %d times, last with %+v", c.n, r)
	}
}

func (c *call[T]) answered() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n > 0
}

func (c *call[T]) get() T {
	c.t.Helper()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n != 1 {
		c.t.Fatalf("answered %d times, want once", c.n)
	}
	return c.resp
}

func (c *call[T]) wantParked() {
	c.t.Helper()
	synctest.Wait()
	if c.answered() {
		c.t.Fatalf("answered with %+v, want it parked", c.resp)
	}
}

const (
	session   = 10 * time.Second
	rebalance = 20 * time.Second
)

// subscription is a version 0 consumer subscription.
func subscription(topics ...string) []byte {
	b := []byte{0, 0, 0, 0, 0, byte(len(topics))}
	for _, t := range topics {
		b = append(b, 0, byte(len(t)))
		b = append(b, t...)
	}
	return append(b, 0xff, 0xff, 0xff, 0xff)
}

func joinRequest(group, id string) JoinRequest {
	return JoinRequest{
		GroupID: group, MemberID: id, ClientID: "client", ClientHost: "/127.0.0.1",
		ProtocolType:   "consumer",
		Protocols:      []Protocol{{"range", subscription("orders")}},
		SessionTimeout: session, RebalanceTimeout: rebalance,
	}
}

func (w *world) join(r JoinRequest) *call[JoinResponse] {
	c := newCall[JoinResponse](w.t)
	w.c.Join(r, c.reply)
	w.settle()
	return c
}

func (w *world) sync(r SyncRequest) *call[SyncResponse] {
	c := newCall[SyncResponse](w.t)
	w.c.Sync(r, c.reply)
	w.settle()
	return c
}

func (w *world) commit(r CommitRequest) *call[CommitResponse] {
	c := newCall[CommitResponse](w.t)
	w.c.Commit(r, c.reply)
	w.settle()
	return c
}

// stable builds a group of n members and brings it to Stable; the first one leads.
func (w *world) stable(group string, n int) []JoinResponse {
	w.t.Helper()
	calls := make([]*call[JoinResponse], n)
	for i := range calls {
		calls[i] = w.join(joinRequest(group, ""))
	}
	for range 8 {
		if calls[0].answered() {
			break
		}
		w.advance(3 * time.Second)
	}
	members := make([]JoinResponse, n)
	for i, c := range calls {
		if members[i] = c.get(); members[i].Err != nil {
			w.t.Fatalf("member %d: %v", i, members[i].Err)
		}
	}
	w.syncAll(group, members)
	w.wantState(group, Stable)
	return members
}

// syncAll lets all members sync; each is assigned its own id as bytes.
func (w *world) syncAll(group string, members []JoinResponse) {
	w.t.Helper()
	syncs := make([]*call[SyncResponse], len(members))
	for i, m := range members {
		r := SyncRequest{GroupID: group, MemberID: m.MemberID, Generation: m.Generation}
		if m.MemberID == m.Leader {
			for _, o := range members {
				r.Assignments = append(r.Assignments, Assignment{o.MemberID, []byte(o.MemberID)})
			}
		}
		syncs[i] = w.sync(r)
	}
	for i, c := range syncs {
		r := c.get()
		if r.Err != nil || string(r.Assignment) != members[i].MemberID {
			w.t.Fatalf("member %d got %q, %v", i, r.Assignment, r.Err)
		}
	}
}

func (w *world) heartbeat(group string, m JoinResponse) error {
	return w.c.Heartbeat(HeartbeatRequest{
		GroupID: group, MemberID: m.MemberID, Generation: m.Generation,
	})
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) || (want == nil && got != nil) {
		t.Fatalf("error is %v, want %v", got, want)
	}
}

func ptr[T any](v T) *T { return &v }
