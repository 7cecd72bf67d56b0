package groups

import (
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/invariant"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// env is what all groups of a coordinator share; constant after Open.
type env struct {
	o           *Options
	log         *zap.Logger
	count       *counters
	newMemberID func(prefix string) string
}

// group is one classic group: a plain value, owned by whoever holds its shard's lock.
// The rules are those of Kafka's ClassicGroup.java and GroupMetadataManager.java.
type group struct {
	env *env
	id  string

	state      State
	stateSince clock.UnixMs
	generation int32
	// protocolType is empty in a group that never had members.
	protocolType string
	protocol     string // chosen for the generation; empty without members
	leader       string // member id; empty without members

	members   []*member          // in the order of joining, so that elections are repeatable
	byID      map[string]*member // the same members
	static    map[string]*member // those with an instance id, by it
	supported map[string]int     // protocol name -> members that support it
	joining   int                // members parked in a join
	unsynced  int                // members whose flag unsynced is set
	// pending holds the ids handed out with ErrMemberIDRequired, and until when.
	pending map[string]time.Time

	// topics are what the members subscribed to in this generation, nil if unknown.
	topics map[string]struct{}

	joinDeadline time.Time // end of PreparingRebalance, or zero
	syncDeadline time.Time // when members that did not sync are given up, or zero
	initial      initialDelay

	// storing: the leader's assignment of this generation is on its way to the disk.
	storing bool
	// stored: the log holds a record of the group, so its end needs a tombstone.
	stored bool
	// revision counts the versions of that record that were to be stored, and saved is
	// the last one that is durable; where they differ for good, a write was refused.
	revision, saved uint64
	// undecided counts writes about the group whose outcome is not known.
	undecided int

	offsets offsets
}

// initialDelay is the waiting time of a group's first rebalance.
type initialDelay struct {
	on        bool
	memberNew bool          // somebody joined since the delay was set
	delay     time.Duration // the present delay
	left      time.Duration // how much more may follow
}

func newGroup(e *env, id string, now clock.UnixMs) *group {
	return &group{
		env:        e,
		id:         id,
		stateSince: now,
		byID:       make(map[string]*member),
		static:     make(map[string]*member),
		supported:  make(map[string]int),
		pending:    make(map[string]time.Time),
		offsets:    newOffsets(),
	}
}

// isVoid says that nothing is lost when the group is forgotten. A group whose record
// was refused by the log stays: under its name generations must not start anew.
func (g *group) isVoid() bool {
	return g.state == Empty && !g.stored && g.saved == g.revision && g.undecided == 0 &&
		len(g.pending) == 0 && g.offsets.count == 0
}

func (g *group) transition(to State, now clock.UnixMs) {
	invariant.Check(to.mayFollow(g.state), "group %q goes from %v to %v", g.id, g.state, to)
	g.state = to
	g.stateSince = now
}

// supports says whether a member with these protocols fits in: in an empty group any
// does, else it must share at least one with all members (supportsProtocols).
func (g *group) supports(protocolType string, protocols []Protocol) bool {
	if g.state == Empty {
		return protocolType != "" && len(protocols) > 0
	}
	if g.protocolType != protocolType {
		return false
	}
	for i := range protocols {
		if g.supported[protocols[i].Name] == len(g.members) {
			return true
		}
	}
	return false
}

// selectProtocol holds the vote: each member names its favourite among the protocols
// that all support, the most votes win, and among equals the one an earlier member
// named first, so that the outcome does not depend on chance.
func (g *group) selectProtocol() string {
	candidates := make(map[string]bool)
	for name, n := range g.supported {
		if n == len(g.members) {
			candidates[name] = true
		}
	}
	votes := make(map[string]int, len(candidates))
	order := make([]string, 0, len(candidates))
	for _, m := range g.members {
		name := m.vote(candidates)
		if votes[name] == 0 {
			order = append(order, name)
		}
		votes[name]++
	}
	best := ""
	for _, name := range order {
		if best == "" || votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

func (g *group) countProtocols(m *member, by int) {
	for i := range m.protocols {
		name := m.protocols[i].Name
		g.supported[name] += by
		if g.supported[name] == 0 {
			delete(g.supported, name)
		}
	}
}

// add takes a member in. The first one sets the protocol type and leads.
func (g *group) add(m *member, protocolType string) {
	invariant.Check(g.byID[m.id] == nil, "group %q: member %q added twice", g.id, m.id)
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instanceID != nil {
		g.static[*m.instanceID] = m
	}
	g.countProtocols(m, 1)
	delete(g.pending, m.id)
}

// remove takes a member out; its parked requests are answered with ErrUnknownMember,
// so that a client that is still there joins anew.
func (g *group) remove(fx *effects, m *member) {
	g.answerJoin(fx, m, JoinResponse{Err: ErrUnknownMember, Generation: -1})
	g.answerSync(fx, m, SyncResponse{Err: ErrUnknownMember})
	g.setUnsynced(m, false)
	for i := range g.members {
		if g.members[i] == m {
			g.members = append(g.members[:i], g.members[i+1:]...)
			break
		}
	}
	delete(g.byID, m.id)
	if m.instanceID != nil {
		delete(g.static, *m.instanceID)
	}
	g.countProtocols(m, -1)
	if g.leader == m.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// rename gives a static member that came back its new id. Whoever still waits under
// the old one is fenced.
func (g *group) rename(fx *effects, m *member, id string) {
	g.answerJoin(fx, m, JoinResponse{Err: ErrFencedInstanceID, Generation: -1, MemberID: m.id})
	g.answerSync(fx, m, SyncResponse{Err: ErrFencedInstanceID})
	delete(g.byID, m.id)
	if g.leader == m.id {
		g.leader = id
	}
	m.id = id
	g.byID[id] = m
}

// park keeps the reply of a join until the rebalance is over. A join of the same
// member that is parked already belongs to a connection the client has given up; it
// is told to come back, so that every request gets its one answer.
func (g *group) park(fx *effects, m *member, reply func(JoinResponse)) {
	g.answerJoin(fx, m, JoinResponse{
		Err: ErrRebalanceInProgress, Generation: -1, MemberID: m.id,
	})
	m.join = reply
	g.joining++
}

func (g *group) answerJoin(fx *effects, m *member, r JoinResponse) bool {
	reply := m.join
	if reply == nil {
		return false
	}
	m.join = nil
	g.joining--
	fx.answer(func() { reply(r) })
	return true
}

func (g *group) answerSync(fx *effects, m *member, r SyncResponse) bool {
	reply := m.sync
	if reply == nil {
		return false
	}
	m.sync = nil
	fx.answer(func() { reply(r) })
	return true
}

func (g *group) setUnsynced(m *member, on bool) {
	if m.unsynced == on {
		return
	}
	m.unsynced = on
	if on {
		g.unsynced++
		return
	}
	g.unsynced--
	if g.unsynced == 0 {
		g.syncDeadline = time.Time{}
	}
}

func (g *group) allJoined() bool {
	return g.joining == len(g.members) && len(g.pending) == 0
}

// rebalanceTimeout is the longest any member asks for.
func (g *group) rebalanceTimeout() time.Duration {
	var longest time.Duration
	for _, m := range g.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}

// check finds the member a request speaks for. An instance id that meanwhile belongs
// to another member id fences the request (validateMember).
func (g *group) check(memberID string, instanceID *string) (*member, error) {
	if instanceID != nil {
		switch m := g.static[*instanceID]; {
		case m == nil:
			return nil, ErrUnknownMember
		case m.id != memberID:
			return nil, ErrFencedInstanceID
		}
	}
	m := g.byID[memberID]
	if m == nil {
		return nil, ErrUnknownMember
	}
	return m, nil
}

// joinedMembers is what the leader has to know.
func (g *group) joinedMembers() []JoinMember {
	all := make([]JoinMember, len(g.members))
	for i, m := range g.members {
		all[i] = JoinMember{
			MemberID: m.id, InstanceID: m.instanceID, Metadata: m.metadata(g.protocol),
		}
	}
	return all
}

// joined answers a member with the generation it is in.
func (g *group) joined(m *member) JoinResponse {
	r := JoinResponse{
		Generation: g.generation, ProtocolType: g.protocolType, Protocol: g.protocol,
		Leader: g.leader, MemberID: m.id,
	}
	if m.id == g.leader {
		r.Members = g.joinedMembers()
	}
	return r
}
