package groups

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"testing"
	"time"
)

// The model: a few clients do what clients do, in random order, on a disk that may be
// slow, with power cuts and restarts. An oracle that knows only requests and answers
// checks what users rely on:
//
//   - every request is answered exactly once;
//   - an acknowledged offset never goes back and never vanishes, except by a delete;
//   - in one generation a partition has one owner, whatever crashes in between;
//   - generations only grow, and a commit is accepted in the newest one only;
//   - what a replay builds equals what the coordinator holds.

const (
	modelSteps      = 1500
	modelSeeds      = 24
	modelPartitions = 4
)

func TestModel(t *testing.T) {
	first, seeds := rand.Uint64(), modelSeeds
	if s := os.Getenv("GROUPS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, seeds = n, 1
	}
	for seed := first; seed < first+uint64(seeds); seed++ {
		t.Run(fmt.Sprint("GROUPS_SEED=", seed), func(t *testing.T) {
			inWorld(t, func(o *Options) {
				o.GroupMaxSize = 6
				o.OffsetRetentionCheck = 1000 * time.Hour // expiry has its own tests
			}, func(w *world) {
				m := newModel(w, seed)
				for m.step = range modelSteps {
					m.act()
					m.harvest()
				}
				m.finish()
				if m.synced == 0 || m.acked == 0 || m.crashes == 0 {
					t.Errorf("nothing happened: %d syncs, %d commits, %d crashes",
						m.synced, m.acked, m.crashes)
				}
			})
		})
	}
}

// actor is one client, static if it has an instance.
type actor struct {
	group    string
	instance *string
	id       string
	gen      int32
	lead     []JoinMember // who to assign to, if it leads
	join     *call[JoinResponse]
	sync     *call[SyncResponse]
	syncGen  int32 // the generation the sync was sent for
}

// owner is how the oracle names who got a partition: a static member keeps its
// partitions when it comes back under another id.
func (a *actor) owner() string {
	if a.instance != nil {
		return "instance " + *a.instance
	}
	return a.id
}

type sentCommit struct {
	group     string
	partition int32
	offset    int64
	gen       int32 // -1 for a simple one
	newest    int32 // the newest generation anybody knew of when it was sent
	life      int
	call      *call[CommitResponse]
}

type sentDelete struct {
	group string
	life  int
	call  *call[error]
}

// truth is what the oracle knows of one group.
type truth struct {
	life    int             // counts deletes that may have happened
	floor   map[int32]int64 // acknowledged offset by partition; absent after a delete
	sent    map[int32]map[int64]bool
	newest  int32               // newest generation told to anybody, since the last restart
	durable int32               // newest generation whose assignment was told
	owners  map[[2]int32]string // by generation and partition
}

type model struct {
	w       *world
	rng     *rand.Rand
	step    int
	actors  []*actor
	commits []sentCommit
	deletes []sentDelete
	truths  map[string]*truth
	offset  int64 // the next offset to commit: it only grows

	synced, acked, crashes int
}

func newModel(w *world, seed uint64) *model {
	m := &model{w: w, rng: rand.New(rand.NewPCG(seed, 1)), truths: make(map[string]*truth)}
	for i := range 8 {
		a := &actor{group: fmt.Sprint("g", i%2), gen: -1}
		if i%4 == 3 {
			a.instance = ptr(fmt.Sprint("i", i))
		}
		m.actors = append(m.actors, a)
	}
	for _, g := range []string{"g0", "g1"} {
		m.truths[g] = &truth{}
		m.truths[g].reset()
		m.truths[g].sent = make(map[int32]map[int64]bool)
	}
	return m
}

// reset forgets what a delete may have removed.
func (tr *truth) reset() {
	tr.floor = make(map[int32]int64)
	tr.owners = make(map[[2]int32]string)
	tr.newest, tr.durable = 0, 0
	tr.life++
}

// act does one random thing.
func (m *model) act() {
	a := m.actors[m.rng.IntN(len(m.actors))]
	switch n := m.rng.IntN(100); {
	case n < 30:
		m.goOn(a)
	case n < 45:
		m.commit(a)
	case n < 60:
		m.beat(a)
	case n < 75:
		m.w.clk.Advance(time.Duration(m.rng.IntN(4000)) * time.Millisecond)
	case n < 78:
		m.leave(a)
	case n < 81:
		*a = actor{group: a.group, instance: a.instance, gen: -1} // the process restarts
	case n < 84:
		m.w.log.set(true, nil, nil)
	case n < 94:
		m.w.log.set(false, nil, nil)
	case n < 95:
		m.w.log.set(m.rng.IntN(2) == 0, errors.New("no space"), nil)
	case n < 96:
		m.delete(a.group)
	case n < 98:
		m.fetch(a.group)
	default:
		m.restart()
	}
	m.w.settle()
}

// goOn takes the next step of the protocol: join, or sync.
func (m *model) goOn(a *actor) {
	switch {
	case a.join != nil || a.sync != nil:
	case a.gen >= 0 && m.rng.IntN(10) > 0:
		r := SyncRequest{
			GroupID: a.group, MemberID: a.id, Generation: a.gen, InstanceID: a.instance,
		}
		for i, p := range m.rng.Perm(modelPartitions) {
			if len(a.lead) == 0 {
				break
			}
			r.Assignments = append(r.Assignments, Assignment{
				MemberID: a.lead[i%len(a.lead)].MemberID, Assignment: []byte{byte(p)},
			})
		}
		r.Assignments = mergeAssignments(r.Assignments)
		a.sync, a.syncGen = newCall[SyncResponse](m.w.t), a.gen
		m.w.c.Sync(r, a.sync.reply)
	default:
		r := joinRequest(a.group, a.id)
		r.InstanceID = a.instance
		r.RequireKnownMember = m.rng.IntN(4) > 0
		r.CanSkipAssignment = m.rng.IntN(2) == 0
		if m.rng.IntN(5) == 0 {
			r.Protocols[0].Metadata = subscription("orders", "payments")
		}
		a.join = newCall[JoinResponse](m.w.t)
		m.w.c.Join(r, a.join.reply)
	}
}

// mergeAssignments gives each member one entry with all its partitions.
func mergeAssignments(all []Assignment) []Assignment {
	var merged []Assignment
	at := make(map[string]int)
	for _, a := range all {
		i, ok := at[a.MemberID]
		if !ok {
			i = len(merged)
			at[a.MemberID] = i
			merged = append(merged, Assignment{MemberID: a.MemberID})
		}
		merged[i].Assignment = append(merged[i].Assignment, a.Assignment...)
	}
	return merged
}

func (m *model) commit(a *actor) {
	tr := m.truths[a.group]
	m.offset++
	p := int32(m.rng.IntN(modelPartitions))
	r := CommitRequest{
		GroupID: a.group, MemberID: a.id, Generation: a.gen, InstanceID: a.instance,
		RetentionMs: -1,
		Topics: []CommitTopic{{
			Topic: "orders", Partitions: []CommitPartition{{Partition: p, Offset: m.offset}},
		}},
	}
	if a.gen < 0 {
		r.MemberID, r.InstanceID = "", nil
	}
	if tr.sent[p] == nil {
		tr.sent[p] = make(map[int64]bool)
	}
	tr.sent[p][m.offset] = true
	c := sentCommit{
		group: a.group, partition: p, offset: m.offset, gen: a.gen, newest: tr.newest,
		life: tr.life, call: newCall[CommitResponse](m.w.t),
	}
	m.commits = append(m.commits, c)
	m.w.c.Commit(r, c.call.reply)
}

func (m *model) beat(a *actor) {
	if a.gen < 0 {
		return
	}
	err := m.w.c.Heartbeat(HeartbeatRequest{
		GroupID: a.group, MemberID: a.id, Generation: a.gen, InstanceID: a.instance,
	})
	m.heard(a, err)
}

// heard does what a client does about an error.
func (m *model) heard(a *actor, err error) {
	switch {
	case errors.Is(err, ErrUnknownMember), errors.Is(err, ErrFencedInstanceID):
		a.id, a.gen, a.lead = "", -1, nil
	case errors.Is(err, ErrIllegalGeneration), errors.Is(err, ErrRebalanceInProgress):
		a.gen, a.lead = -1, nil
	}
}

func (m *model) leave(a *actor) {
	if a.id == "" || a.join != nil || a.sync != nil {
		return
	}
	m.w.c.Leave(LeaveRequest{GroupID: a.group, Members: []LeaveMember{{MemberID: a.id}}})
	a.id, a.gen, a.lead = "", -1, nil
}

func (m *model) delete(group string) {
	tr := m.truths[group]
	c := newCall[error](m.w.t)
	m.w.c.DeleteGroup(group, c.reply)
	m.w.settle()
	if c.answered() && c.resp != nil && !errors.Is(c.resp, ErrCoordinatorNotAvailable) {
		return // refused: nothing may have changed
	}
	tr.reset()
	m.deletes = append(m.deletes, sentDelete{group: group, life: tr.life, call: c})
}

// restart is a clean stop or a power cut.
func (m *model) restart() {
	crashed := m.rng.IntN(2) == 0
	m.w.settle()
	if crashed {
		m.crashes++
		next := m.w.log.crash(m.rng)
		m.w.close()
		m.w.log = next
	} else {
		m.w.log.set(false, nil, nil)
		m.w.settle()
		m.compareReplay()
		m.w.close()
	}
	m.harvest()
	m.w.open()
	for _, tr := range m.truths {
		tr.newest = tr.durable // a generation nobody was assigned anything in is gone
	}
}

// harvest takes the answers that have come.
func (m *model) harvest() {
	for _, a := range m.actors {
		if a.join != nil && a.join.answered() {
			m.joined(a, a.join.get())
			a.join = nil
		}
		if a.sync != nil && a.sync.answered() {
			m.assigned(a, a.sync.get())
			a.sync = nil
		}
	}
	open := m.commits[:0]
	for _, c := range m.commits {
		if !c.call.answered() {
			open = append(open, c)
			continue
		}
		m.committed(c)
	}
	m.commits = open
}

func (m *model) joined(a *actor, r JoinResponse) {
	tr := m.truths[a.group]
	if errors.Is(r.Err, ErrMemberIDRequired) {
		a.id = r.MemberID
		return
	}
	if r.Err != nil {
		m.heard(a, r.Err)
		return
	}
	if r.Generation < tr.durable {
		m.fail("generation %d was told after %d was assigned", r.Generation, tr.durable)
	}
	tr.newest = max(tr.newest, r.Generation)
	a.id, a.gen, a.lead = r.MemberID, r.Generation, nil
	if !r.SkipAssignment {
		a.lead = r.Members
	}
	seen := make(map[string]bool)
	for _, o := range r.Members {
		if seen[o.MemberID] {
			m.fail("the leader sees %s twice", o.MemberID)
		}
		seen[o.MemberID] = true
	}
	if r.Members != nil && !seen[r.MemberID] {
		m.fail("the leader does not see itself")
	}
}

func (m *model) assigned(a *actor, r SyncResponse) {
	if r.Err != nil {
		m.heard(a, r.Err)
		return
	}
	m.synced++
	tr := m.truths[a.group]
	tr.durable = max(tr.durable, a.syncGen)
	for _, p := range r.Assignment {
		k := [2]int32{a.syncGen, int32(p)}
		if was, ok := tr.owners[k]; ok && was != a.owner() {
			m.fail("partition %d of generation %d went to %s and to %s",
				p, a.syncGen, was, a.owner())
		}
		tr.owners[k] = a.owner()
	}
}

func (m *model) committed(c sentCommit) {
	r := c.call.get()
	if r.Err != nil || r.Topics[0].Partitions[0].Err != nil {
		return
	}
	m.acked++
	tr := m.truths[c.group]
	if c.life != tr.life {
		return
	}
	if c.gen >= 0 && c.gen < c.newest {
		m.fail("commit of generation %d was accepted in generation %d", c.gen, c.newest)
	}
	tr.floor[c.partition] = max(tr.floor[c.partition], c.offset)
}

func (m *model) fetch(group string) {
	tr := m.truths[group]
	r := m.w.c.Fetch(FetchRequest{GroupID: group})
	if r.Err != nil {
		m.fail("fetch: %v", r.Err)
	}
	got := make(map[int32]int64)
	for _, topic := range r.Topics {
		for _, p := range topic.Partitions {
			got[p.Partition] = p.Offset
			if !tr.sent[p.Partition][p.Offset] {
				m.fail("nobody committed %d for partition %d", p.Offset, p.Partition)
			}
		}
	}
	for p, floor := range tr.floor {
		if at, ok := got[p]; !ok || at < floor {
			m.fail("partition %d of %s is at %d (found %v), but %d was acknowledged",
				p, group, at, ok, floor)
		}
	}
}

// finish closes the coordinator and looks at what is left.
func (m *model) finish() {
	m.w.log.set(false, nil, nil)
	m.w.settle()
	m.harvest()
	for g := range m.truths {
		m.fetch(g)
	}
	m.compareReplay()
	m.w.restart()
	for g := range m.truths {
		m.fetch(g)
	}
	m.w.close()
	m.harvest()
	for _, a := range m.actors {
		if a.join != nil || a.sync != nil {
			m.fail("a request is not answered")
		}
	}
	if len(m.commits) > 0 {
		m.fail("%d commits are not answered", len(m.commits))
	}
	for _, d := range m.deletes {
		_ = d.call.get()
	}
}

func (m *model) fail(format string, args ...any) {
	m.w.t.Helper()
	m.w.t.Fatalf("step %d: "+format, append([]any{m.step}, args...)...)
}

// durableView is what a restart must bring back of a group.
type durableView struct {
	Generation            int32
	State, Type, Protocol string
	Leader                string
	Members               []string
	Offsets               map[string]map[int32]committed
	Static                map[string]string
}

func viewOf(g *group) durableView {
	v := durableView{Offsets: g.offsets.byTopic}
	if g.state != Stable && g.state != Empty {
		return v // a rebalance is not stored
	}
	v.Generation, v.State, v.Type = g.generation, g.state.String(), g.protocolType
	v.Protocol, v.Leader = g.protocol, g.leader
	v.Static = make(map[string]string)
	for _, mb := range g.members {
		text, _ := json.Marshal([]any{
			mb.id, mb.instanceID, mb.clientID, mb.clientHost, mb.session, mb.rebalance,
			mb.metadata(g.protocol), string(mb.assignment),
		})
		v.Members = append(v.Members, string(text))
	}
	for i, mb := range g.static {
		v.Static[i] = mb.id
	}
	return v
}

// compareReplay builds the groups from the log and compares them with the live ones.
func (m *model) compareReplay() {
	m.w.t.Helper()
	s := m.w.c.shards[0]
	r := replayer{env: s.env, groups: make(map[string]*group)}
	if err := m.w.log.Replay(r.apply); err != nil {
		m.fail("replay: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, sl := range s.mu.slots {
		live, again := sl.group, r.groups[id]
		if !live.stored && live.offsets.count == 0 {
			continue
		}
		if again == nil {
			m.fail("group %s is not in the log", id)
		}
		want, got := viewOf(live), viewOf(again)
		if want.State == "" || live.saved != live.revision {
			got = durableView{Offsets: got.Offsets}
			want = durableView{Offsets: want.Offsets}
		}
		if !reflect.DeepEqual(got, want) {
			m.fail("group %s after a replay:\n%+v\nbefore:\n%+v", id, got, want)
		}
		delete(r.groups, id)
	}
	for id, g := range r.groups {
		if s.mu.slots[id] == nil {
			m.fail("a replay brings back group %s: %+v", id, viewOf(g))
		}
	}
}
