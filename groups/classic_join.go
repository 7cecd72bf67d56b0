package groups

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

// joinCall is a join on its way through the group: the request with its protocols
// already copied, and the reply.
type joinCall struct {
	JoinRequest
	reply func(JoinResponse)
}

func (c *joinCall) refuse(fx *effects, memberID string, err error) {
	fx.answer(func() {
		c.reply(JoinResponse{Err: err, Generation: -1, MemberID: memberID})
	})
}

// checkJoin refuses what no group could accept, before any group is looked up.
func (o *Options) checkJoin(r *JoinRequest) error {
	if r.SessionTimeout < o.SessionTimeoutMin || r.SessionTimeout > o.SessionTimeoutMax {
		return fmt.Errorf("session timeout %v, allowed are %v to %v: %w",
			r.SessionTimeout, o.SessionTimeoutMin, o.SessionTimeoutMax, ErrInvalidSessionTimeout)
	}
	if r.InstanceID != nil && len(*r.InstanceID) > instanceIDBytesMax {
		return fmt.Errorf("group instance id of %d bytes, allowed are %d: %w",
			len(*r.InstanceID), instanceIDBytesMax, ErrLimit)
	}
	bytes := 0
	for i := range r.Protocols {
		bytes += len(r.Protocols[i].Name) + len(r.Protocols[i].Metadata)
		if len(r.Protocols[i].Name) > storedStringBytesMax {
			return fmt.Errorf("protocol name of %d bytes: %w", len(r.Protocols[i].Name), ErrLimit)
		}
	}
	if bytes > o.MemberBytesMax {
		return fmt.Errorf("subscriptions of %d bytes, allowed are %d for one member: %w",
			bytes, o.MemberBytesMax, ErrLimit)
	}
	if max(len(r.ProtocolType), len(r.ClientID), len(r.ClientHost)) > storedStringBytesMax {
		return fmt.Errorf("protocol type, client id or host above %d bytes: %w",
			storedStringBytesMax, ErrLimit)
	}
	return nil
}

// join is the JoinGroup transition (classicGroupJoinToClassicGroup).
func (g *group) join(fx *effects, c *joinCall) {
	fx.touch(g)
	if c.RebalanceTimeout <= 0 {
		c.RebalanceTimeout = c.SessionTimeout
	}
	switch {
	case g.state == Dead:
		// The group's tombstones are on their way; a moment later a new group of that
		// name can be made.
		c.refuse(fx, c.MemberID, ErrCoordinatorNotAvailable)
	case !g.hasRoomFor(c.MemberID):
		if m := g.byID[c.MemberID]; m != nil {
			g.remove(fx, m)
		}
		delete(g.pending, c.MemberID)
		c.refuse(fx, "", ErrGroupMaxSizeReached)
		g.maybeCompleteJoin(fx)
	case !g.supports(c.ProtocolType, c.Protocols):
		c.refuse(fx, c.MemberID, ErrInconsistentGroupProtocol)
	case c.MemberID == "" && c.InstanceID != nil:
		g.joinStatic(fx, c)
	case c.MemberID == "":
		g.joinDynamic(fx, c)
	default:
		g.joinKnown(fx, c)
	}
}

// hasRoomFor applies the bound on members. While a rebalance collects members, those
// that joined count, so that the slowest are left out; afterwards all members do
// (acceptJoiningMember).
func (g *group) hasRoomFor(memberID string) bool {
	limit := g.env.o.GroupMaxSize
	m := g.byID[memberID]
	switch g.state {
	case PreparingRebalance:
		return (m != nil && m.join != nil) || g.joining < limit
	case CompletingRebalance, Stable:
		return m != nil || len(g.members) < limit
	default:
		return true
	}
}

// joinDynamic admits a client without an id. It first only gets one, if it can come
// back with it: were the answer lost, a member nobody speaks for would hold up the
// rebalance (KIP-394).
func (g *group) joinDynamic(fx *effects, c *joinCall) {
	id := g.env.newMemberID(c.ClientID)
	if !c.RequireKnownMember {
		g.addAndRebalance(fx, c, id)
		return
	}
	// Kafka does not bound the pending ones; each costs memory until its session
	// timeout, so here they count against the size of the group.
	if len(g.pending) >= g.env.o.GroupMaxSize {
		c.refuse(fx, "", ErrGroupMaxSizeReached)
		return
	}
	g.pending[id] = fx.now.Add(c.SessionTimeout)
	c.refuse(fx, id, ErrMemberIDRequired)
}

// joinStatic admits a client that names its instance but no member id: it has just
// started, either for the first time or in place of the process that had the instance
// id before (KIP-345).
func (g *group) joinStatic(fx *effects, c *joinCall) {
	id := g.env.newMemberID(*c.InstanceID)
	m := g.static[*c.InstanceID]
	if m == nil {
		g.addAndRebalance(fx, c, id)
		return
	}
	g.env.log.Info("static member came back", zap.String("group", g.id),
		zap.String("instance", *c.InstanceID), zap.String("old", m.id), zap.String("new", id))
	oldLeader, oldTopics := g.leader, g.topicsOfMember(m)
	g.rename(fx, m, id)
	g.update(fx, m, c)
	m.clientID, m.clientHost = c.ClientID, c.ClientHost
	m.deadline = fx.now.Add(m.session)
	switch g.state {
	case Stable:
		// Kafka looks at the protocol only. Changed topics would then stay without an
		// assignment until the next rebalance, so they start one here; owned partitions
		// and user data, which always change when a process restarts, do not.
		if g.selectProtocol() != g.protocol || !sameTopics(oldTopics, g.topicsOfMember(m)) {
			g.prepareRebalance(fx, "a static member came back with another subscription")
			return
		}
		g.storeRenamed(fx, m, c.CanSkipAssignment, oldLeader)
	case CompletingRebalance:
		// The leader may be assigning to the old id right now.
		g.prepareRebalance(fx, "a static member came back during assignment")
	default:
		g.maybeCompleteJoin(fx)
	}
}

// storeRenamed lets a static member back into its generation without a rebalance, as
// soon as its new id is durable: after a restart the old one must stay fenced.
func (g *group) storeRenamed(fx *effects, m *member, canSkip bool, oldLeader string) {
	id, generation := m.id, g.generation
	g.storeMetadata(fx, nil, func(fx *effects, err error) {
		if g.state != Stable || g.generation != generation || g.byID[id] != m {
			return // a rebalance has begun, which will answer the member
		}
		m.deadline = fx.now.Add(m.session)
		r := g.joined(m)
		switch {
		case err != nil:
			// The client comes back without an id and is renamed once more.
			r = JoinResponse{Err: err, Generation: -1}
		case !canSkip:
			// An old client would assign anew if it were told that it leads, so it
			// learns the id that led before, as in Kafka.
			r.Leader, r.Members = oldLeader, nil
		default:
			r.SkipAssignment = m.id == g.leader
		}
		g.answerJoin(fx, m, r)
	})
}

// joinKnown is a join with a member id: the second step of a dynamic member, a member
// following a rebalance, or one that wants a rebalance.
func (g *group) joinKnown(fx *effects, c *joinCall) {
	if _, ok := g.pending[c.MemberID]; ok && c.InstanceID == nil {
		g.addAndRebalance(fx, c, c.MemberID)
		return
	}
	m, err := g.check(c.MemberID, c.InstanceID)
	if err != nil {
		c.refuse(fx, c.MemberID, err)
		return
	}
	same := m.matches(c.Protocols)
	switch {
	case g.state == CompletingRebalance && same,
		g.state == Stable && same && m.id != g.leader:
		// Most likely the answer to its last join was lost: it needs no rebalance to
		// get another one. The leader of a stable group, however, joins because it
		// wants one: the topics have changed.
		r := g.joined(m)
		fx.answer(func() { c.reply(r) })
	case g.state == PreparingRebalance, g.state == CompletingRebalance, g.state == Stable:
		g.update(fx, m, c)
		g.maybeRebalance(fx, "member "+m.id+" joins: "+c.Reason)
	default:
		c.refuse(fx, c.MemberID, ErrUnknownMember)
	}
}

// update takes over what the member says about itself and parks its reply.
func (g *group) update(fx *effects, m *member, c *joinCall) {
	g.countProtocols(m, -1)
	m.protocols = c.Protocols
	g.countProtocols(m, 1)
	m.session, m.rebalance = c.SessionTimeout, c.RebalanceTimeout
	g.park(fx, m, c.reply)
}

func (g *group) addAndRebalance(fx *effects, c *joinCall, id string) {
	m := &member{
		id: id, instanceID: c.InstanceID, clientID: c.ClientID, clientHost: c.ClientHost,
		session: c.SessionTimeout, rebalance: c.RebalanceTimeout,
		protocols: c.Protocols, isNew: true,
		deadline: fx.now.Add(newMemberTimeout),
	}
	if g.state == PreparingRebalance && g.initial.on {
		g.initial.memberNew = true
	}
	g.add(m, c.ProtocolType)
	g.park(fx, m, c.reply)
	g.maybeRebalance(fx, "new member "+id+": "+c.Reason)
}

// expirePending forgets the ids that nobody came back with.
func (g *group) expirePending(fx *effects) {
	gone := false
	for id, until := range g.pending {
		if !until.After(fx.now) {
			delete(g.pending, id)
			gone = true
		}
	}
	if gone {
		g.maybeCompleteJoin(fx)
	}
}

// earliest returns the earlier of two deadlines, where zero means none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
