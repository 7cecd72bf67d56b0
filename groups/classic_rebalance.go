package groups

import (
	"time"

	"go.uber.org/zap"
)

// maybeRebalance starts a rebalance if there is none, else looks whether the present
// one is complete.
func (g *group) maybeRebalance(fx *effects, reason string) {
	if g.state.canRebalance() {
		g.prepareRebalance(fx, reason)
		return
	}
	g.maybeCompleteJoin(fx)
}

// prepareRebalance asks all members to join again.
func (g *group) prepareRebalance(fx *effects, reason string) {
	fx.touch(g)
	g.env.log.Info("rebalancing", zap.String("group", g.id), zap.Stringer("state", g.state),
		zap.Int32("generation", g.generation), zap.String("reason", reason))
	if g.state == CompletingRebalance {
		g.resetAssignments(fx, ErrRebalanceInProgress)
	}
	g.clearUnsynced()
	g.storing = false
	first := g.state == Empty
	g.transition(PreparingRebalance, fx.nowMs())
	if first {
		g.prepareInitial(fx)
		return
	}
	if g.allJoined() {
		g.completeJoin(fx)
		return
	}
	g.joinDeadline = fx.now.Add(g.rebalanceTimeout())
}

// prepareInitial gives the members of a new group time to arrive together: else the
// first one would get everything and lose most of it a moment later.
func (g *group) prepareInitial(fx *effects) {
	delay := g.env.o.InitialRebalanceDelay
	if delay < 0 {
		g.completeJoin(fx)
		return
	}
	g.initial = initialDelay{
		on: true, delay: delay, left: max(g.rebalanceTimeout()-delay, 0),
	}
	g.joinDeadline = fx.now.Add(delay)
}

// maybeCompleteJoin ends the joining early when everybody is there. The first
// rebalance always takes its delay: there, nobody knows who everybody is.
func (g *group) maybeCompleteJoin(fx *effects) {
	if g.state == PreparingRebalance && !g.initial.on && g.allJoined() {
		g.completeJoin(fx)
	}
}

// joinTimeUp is the end of the joining by time. The first rebalance goes on if members
// came meanwhile, up to the rebalance timeout (tryCompleteInitialRebalanceElseSchedule).
func (g *group) joinTimeUp(fx *effects) {
	if i := &g.initial; i.on && i.memberNew && i.left > 0 {
		next := min(g.env.o.InitialRebalanceDelay, i.left)
		i.left = max(i.left-i.delay, 0)
		i.delay = next
		i.memberNew = false
		g.joinDeadline = fx.now.Add(next)
		return
	}
	g.completeJoin(fx)
}

// completeJoin opens the next generation with the members that joined
// (completeClassicGroupJoin).
func (g *group) completeJoin(fx *effects) {
	fx.touch(g)
	g.joinDeadline = time.Time{}
	g.initial = initialDelay{}
	g.dropLateMembers(fx)
	if len(g.members) > 0 && !g.electJoined() {
		// Only static members are left and none of them is back. They keep their places
		// until their sessions end, and with them the whole group.
		g.joinDeadline = fx.now.Add(g.rebalanceTimeout())
		return
	}
	g.generation++
	g.clearUnsynced()
	g.env.count.rebalances.Add(1)
	if len(g.members) == 0 {
		g.becomeEmpty(fx)
		return
	}
	g.protocol = g.selectProtocol()
	g.topics = g.subscribedTopics()
	g.transition(CompletingRebalance, fx.nowMs())
	g.env.log.Info("generation complete", zap.String("group", g.id),
		zap.Int32("generation", g.generation), zap.Int("members", len(g.members)))
	for _, m := range g.members {
		g.answerJoin(fx, m, g.joined(m))
		m.deadline = fx.now.Add(m.session)
		m.isNew = false
		g.setUnsynced(m, true)
	}
	g.syncDeadline = fx.now.Add(g.rebalanceTimeout())
}

// dropLateMembers removes the dynamic members that did not join in time. Static ones
// stay: an instance that restarts is exactly what static membership is for.
func (g *group) dropLateMembers(fx *effects) {
	for _, m := range append([]*member(nil), g.members...) {
		if m.join == nil && m.instanceID == nil {
			g.env.count.rebalanceTimeouts.Add(1)
			g.remove(fx, m)
		}
	}
}

// electJoined makes sure that a member that joined leads; false if none did.
func (g *group) electJoined() bool {
	if leader := g.byID[g.leader]; leader != nil && leader.join != nil {
		return true
	}
	for _, m := range g.members {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// becomeEmpty stores a generation without members, so that a restart does not bring
// the last members back.
func (g *group) becomeEmpty(fx *effects) {
	g.protocol, g.leader, g.topics = "", "", nil
	g.transition(Empty, fx.nowMs())
	g.storeMetadata(fx, nil, func(_ *effects, err error) {
		if err != nil {
			// After a restart the last members would be back, and time out.
			g.env.log.Warn("empty generation not stored yet", zap.String("group", g.id),
				zap.Error(err))
		}
	})
}

// resetAssignments sends everybody who waits for an assignment away with err.
func (g *group) resetAssignments(fx *effects, err error) {
	for _, m := range g.members {
		m.assignment = nil
		if g.answerSync(fx, m, SyncResponse{Err: err}) {
			m.deadline = fx.now.Add(m.session)
		}
	}
}

func (g *group) clearUnsynced() {
	for _, m := range g.members {
		m.unsynced = false
	}
	g.unsynced = 0
	g.syncDeadline = time.Time{}
}

// nextDeadline is when tick has something to do next; zero for never.
func (g *group) nextDeadline() time.Time {
	next := earliest(g.joinDeadline, g.syncDeadline)
	for _, m := range g.members {
		if m.expectsHeartbeat() {
			next = earliest(next, m.deadline)
		}
	}
	for _, until := range g.pending {
		next = earliest(next, until)
	}
	return next
}

// tick does all that is due at fx.now, and nothing if nothing is: a timer that fires
// too early, or for a deadline that has moved, does no harm.
func (g *group) tick(fx *effects) {
	fx.touch(g)
	g.expirePending(fx)
	g.expireSessions(fx)
	if isDue(g.joinDeadline, fx.now) && g.state == PreparingRebalance {
		g.joinTimeUp(fx)
	}
	if isDue(g.syncDeadline, fx.now) {
		g.expireUnsynced(fx)
	}
}

func isDue(deadline, now time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

// expireSessions removes the members that were silent for too long.
func (g *group) expireSessions(fx *effects) {
	for _, m := range append([]*member(nil), g.members...) {
		// Looked at one by one: the end of one may complete a rebalance, and that changes
		// what is expected of the others.
		if g.byID[m.id] != m || !m.expectsHeartbeat() || !isDue(m.deadline, fx.now) {
			continue
		}
		g.env.log.Info("member timed out", zap.String("group", g.id), zap.String("member", m.id))
		g.env.count.sessionTimeouts.Add(1)
		g.remove(fx, m)
		g.maybeRebalance(fx, "member "+m.id+" timed out")
	}
}

// expireUnsynced removes the members that joined but never asked for their assignment,
// and rebalances without them (expirePendingSync).
func (g *group) expireUnsynced(fx *effects) {
	g.syncDeadline = time.Time{}
	if g.state != CompletingRebalance && g.state != Stable {
		return
	}
	gone := 0
	for _, m := range append([]*member(nil), g.members...) {
		if m.unsynced {
			g.env.count.rebalanceTimeouts.Add(1)
			g.remove(fx, m)
			gone++
		}
	}
	if gone > 0 {
		g.prepareRebalance(fx, "members did not fetch their assignment")
	}
}
