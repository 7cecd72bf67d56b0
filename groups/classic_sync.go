package groups

import (
	"bytes"
	"fmt"

	"go.uber.org/zap"
)

// sync is the SyncGroup transition (classicGroupSyncToClassicGroup).
func (g *group) sync(fx *effects, r *SyncRequest, reply func(SyncResponse)) {
	m, err := g.checkSync(r)
	if err != nil {
		fx.answer(func() { reply(SyncResponse{Err: err}) })
		return
	}
	fx.touch(g)
	g.setUnsynced(m, false)
	if g.state == Stable {
		answer := g.synced(m)
		fx.answer(func() { reply(answer) })
		return
	}
	// As with joins, a sync that is parked already belongs to a lost connection.
	g.answerSync(fx, m, SyncResponse{Err: ErrRebalanceInProgress})
	m.sync = reply
	if m.id == g.leader && !g.storing {
		g.storeAssignments(fx, r.Assignments)
	}
}

func (g *group) checkSync(r *SyncRequest) (*member, error) {
	switch g.state {
	case Dead:
		return nil, ErrCoordinatorNotAvailable
	case Empty:
		return nil, ErrUnknownMember
	case PreparingRebalance, CompletingRebalance, Stable:
	}
	m, err := g.check(r.MemberID, r.InstanceID)
	if err != nil {
		return nil, err
	}
	if r.Generation != g.generation {
		return nil, ErrIllegalGeneration
	}
	if (r.ProtocolType != nil && *r.ProtocolType != g.protocolType) ||
		(r.Protocol != nil && *r.Protocol != g.protocol) {
		return nil, ErrInconsistentGroupProtocol
	}
	if g.state == PreparingRebalance {
		return nil, ErrRebalanceInProgress
	}
	for i := range r.Assignments {
		if n := len(r.Assignments[i].Assignment); n > g.env.o.MemberBytesMax {
			return nil, fmt.Errorf("assignment of %d bytes for member %q, allowed are %d: %w",
				n, r.Assignments[i].MemberID, g.env.o.MemberBytesMax, ErrLimit)
		}
	}
	return m, nil
}

func (g *group) synced(m *member) SyncResponse {
	return SyncResponse{
		ProtocolType: g.protocolType, Protocol: g.protocol, Assignment: m.assignment,
	}
}

// storeAssignments stores the generation. It becomes Stable, and the members get their
// assignments, only once that is durable: an assignment that a restart forgets could
// be given to two members.
func (g *group) storeAssignments(fx *effects, given []Assignment) {
	assignments := make(map[string][]byte, len(given))
	for i := range given {
		if g.byID[given[i].MemberID] != nil {
			assignments[given[i].MemberID] = bytes.Clone(given[i].Assignment)
		}
	}
	if missing := len(g.members) - len(assignments); missing > 0 {
		g.env.log.Warn("the leader assigned nothing to some members",
			zap.String("group", g.id), zap.Int32("generation", g.generation),
			zap.Int("members", missing))
	}
	generation := g.generation
	g.storing = true
	g.storeMetadata(fx, assignments, func(fx *effects, err error) {
		// A member may have come or gone meanwhile, and a rebalance begun.
		if g.state == CompletingRebalance && g.generation == generation {
			g.assigned(fx, assignments, err)
		}
	})
}

func (g *group) assigned(fx *effects, assignments map[string][]byte, err error) {
	fx.touch(g)
	g.storing = false
	if err != nil {
		g.resetAssignments(fx, err)
		g.prepareRebalance(fx, "the assignment could not be stored: "+err.Error())
		return
	}
	g.transition(Stable, fx.nowMs())
	for _, m := range g.members {
		m.assignment = assignments[m.id]
		if g.answerSync(fx, m, g.synced(m)) {
			m.deadline = fx.now.Add(m.session)
		}
	}
}

// heartbeat keeps a member alive (classicGroupHeartbeatToClassicGroup). It only moves a
// deadline to later, so the group's timer may stay as it is.
func (g *group) heartbeat(fx *effects, r *HeartbeatRequest) error {
	if g.state == Dead {
		return ErrCoordinatorNotAvailable
	}
	m, err := g.check(r.MemberID, r.InstanceID)
	if err != nil {
		return err
	}
	if r.Generation != g.generation {
		return ErrIllegalGeneration
	}
	m.deadline = fx.now.Add(m.session)
	if g.state == PreparingRebalance {
		return ErrRebalanceInProgress
	}
	return nil
}

// leave takes members out at once (classicGroupLeaveToClassicGroup).
func (g *group) leave(fx *effects, members []LeaveMember) LeaveResponse {
	if g.state == Dead {
		return LeaveResponse{Err: ErrCoordinatorNotAvailable}
	}
	fx.touch(g)
	results := make([]LeaveResult, len(members))
	before := len(g.members)
	for i := range members {
		results[i] = LeaveResult{
			MemberID: members[i].MemberID, InstanceID: members[i].InstanceID,
			Err: g.leaveOne(fx, &members[i]),
		}
	}
	// Kafka also rebalances a stable group when only a pending member goes, which
	// concerns nobody who has an assignment.
	if len(g.members) < before && (g.state == Stable || g.state == CompletingRebalance) {
		g.prepareRebalance(fx, "members left")
	} else {
		g.maybeCompleteJoin(fx)
	}
	return LeaveResponse{Members: results}
}

func (g *group) leaveOne(fx *effects, l *LeaveMember) error {
	if _, ok := g.pending[l.MemberID]; ok {
		delete(g.pending, l.MemberID)
		return nil
	}
	var m *member
	if l.MemberID == "" && l.InstanceID != nil {
		// An administrator removes an instance without knowing its member id.
		if m = g.static[*l.InstanceID]; m == nil {
			return ErrUnknownMember
		}
	} else {
		var err error
		if m, err = g.check(l.MemberID, l.InstanceID); err != nil {
			return err
		}
	}
	g.env.log.Info("member leaves", zap.String("group", g.id), zap.String("member", m.id),
		zap.String("reason", l.Reason))
	g.remove(fx, m)
	return nil
}

// abandon answers everything that is parked; the coordinator closes.
func (g *group) abandon(fx *effects) {
	for _, m := range g.members {
		g.answerJoin(fx, m, JoinResponse{
			Err: ErrCoordinatorNotAvailable, Generation: -1, MemberID: m.id,
		})
		g.answerSync(fx, m, SyncResponse{Err: ErrCoordinatorNotAvailable})
	}
}

// describe copies what may be seen of the group.
func (g *group) describe() Description {
	d := Description{GroupID: g.id, State: g.state.String(), ProtocolType: g.protocolType}
	stable := g.state == Stable
	if stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.members {
		md := MemberDescription{
			MemberID: m.id, InstanceID: m.instanceID,
			ClientID: m.clientID, ClientHost: m.clientHost,
		}
		if stable {
			md.Metadata, md.Assignment = m.metadata(g.protocol), m.assignment
		}
		d.Members = append(d.Members, md)
	}
	return d
}
