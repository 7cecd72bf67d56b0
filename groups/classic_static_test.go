package groups

import (
	"testing"
	"time"
)

// staticGroup is a stable group of the instances i0, i1, ...
func staticGroup(w *world, n int) []JoinResponse {
	calls := make([]*call[JoinResponse], n)
	for i := range calls {
		calls[i] = w.join(staticJoin(i))
	}
	w.advance(6 * time.Second)
	members := make([]JoinResponse, n)
	for i := range calls {
		members[i] = calls[i].get()
	}
	w.syncAll("g", members)
	return members
}

func staticJoin(i int) JoinRequest {
	r := joinRequest("g", "")
	r.InstanceID = ptr("i" + string(rune('0'+i)))
	r.RequireKnownMember = true // has no meaning for static members
	return r
}

// TestStaticMemberComesBack is the point of KIP-345: a restart of one process costs no
// rebalance, and the old process is shut out.
func TestStaticMemberComesBack(t *testing.T) {
	tests := map[string]struct {
		member     int
		change     func(r *JoinRequest)
		wantLeader func(old, new string) string
		wantSkip   bool
	}{
		"follower": {1, func(*JoinRequest) {}, nil, false},
		"old leader that cannot skip": {
			0, func(*JoinRequest) {},
			func(old, _ string) string { return old }, false,
		},
		"leader that can skip": {
			0, func(r *JoinRequest) { r.CanSkipAssignment = true },
			func(_, new string) string { return new }, true,
		},
		"other user data": {1, func(r *JoinRequest) {
			r.Protocols[0].Metadata = append(subscription("orders"), 1, 2, 3)
		}, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				members := staticGroup(w, 2)
				old := members[tt.member]
				r := staticJoin(tt.member)
				tt.change(&r)
				w.log.set(true, nil, nil)
				c := w.join(r)
				c.wantParked() // the new id has to be durable first
				w.log.set(false, nil, nil)
				got := c.get()
				if got.Err != nil || got.Generation != 1 || got.MemberID == old.MemberID {
					t.Fatalf("got %+v", got)
				}
				if tt.wantLeader != nil && got.Leader != tt.wantLeader(old.MemberID, got.MemberID) {
					t.Errorf("leader is %q", got.Leader)
				}
				if got.SkipAssignment != tt.wantSkip || (len(got.Members) > 0) != tt.wantSkip {
					t.Errorf("skip is %v, %d members", got.SkipAssignment, len(got.Members))
				}
				w.wantState("g", Stable)
				wantFenced(w, old, r.InstanceID)
				s := w.sync(SyncRequest{
					GroupID: "g", MemberID: got.MemberID, Generation: 1, InstanceID: r.InstanceID,
				}).get()
				if string(s.Assignment) != old.MemberID {
					t.Errorf("assignment is %q", s.Assignment)
				}
				w.restart()
				wantFenced(w, old, r.InstanceID)
				wantErr(t, w.heartbeat("g", got), nil)
			})
		})
	}
}

// wantFenced tries every request in the name of the old process.
func wantFenced(w *world, old JoinResponse, instance *string) {
	w.t.Helper()
	wantErr(w.t, w.c.Heartbeat(HeartbeatRequest{
		GroupID: "g", MemberID: old.MemberID, Generation: 1, InstanceID: instance,
	}), ErrFencedInstanceID)
	wantErr(w.t, w.sync(SyncRequest{
		GroupID: "g", MemberID: old.MemberID, Generation: 1, InstanceID: instance,
	}).get().Err, ErrFencedInstanceID)
	r := commitRequest("g", 1)
	r.MemberID, r.Generation, r.InstanceID = old.MemberID, 1, instance
	wantErr(w.t, w.commit(r).get().Err, ErrFencedInstanceID)
	j := joinRequest("g", old.MemberID)
	j.InstanceID = instance
	wantErr(w.t, w.join(j).get().Err, ErrFencedInstanceID)
	l := w.c.Leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{
		{MemberID: old.MemberID, InstanceID: instance},
	}})
	wantErr(w.t, l.Members[0].Err, ErrFencedInstanceID)
}

// TestStaticMemberComesBackChanged: other topics, or another protocol, need a rebalance.
func TestStaticMemberComesBackChanged(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := staticGroup(w, 2)
		r := staticJoin(1)
		r.Protocols[0].Metadata = subscription("orders", "payments")
		c := w.join(r)
		c.wantParked()
		wantErr(t, w.heartbeat("g", members[0]), ErrRebalanceInProgress)
		lead := joinRequest("g", members[0].MemberID)
		lead.InstanceID = ptr("i0")
		w.join(lead)
		if got := c.get(); got.Err != nil || got.Generation != 2 {
			t.Fatalf("got %+v", got)
		}
	})
}

// TestStaticMemberComesBackDuringAssignment: the leader may be assigning to the old id.
func TestStaticMemberComesBackDuringAssignment(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a, b := w.join(staticJoin(0)), w.join(staticJoin(1))
		w.advance(6 * time.Second)
		lead := a.get()
		old := w.sync(SyncRequest{
			GroupID: "g", MemberID: b.get().MemberID, Generation: 1, InstanceID: ptr("i1"),
		})
		c := w.join(staticJoin(1))
		wantErr(t, old.get().Err, ErrFencedInstanceID)
		c.wantParked()
		w.wantState("g", PreparingRebalance)
		r := joinRequest("g", lead.MemberID)
		r.InstanceID = ptr("i0")
		w.join(r)
		if got := c.get(); got.Err != nil || got.Generation != 2 {
			t.Fatalf("got %+v", got)
		}
	})
}

// TestStaticMemberThatCannotBeStored: it is told to try again, and can.
func TestStaticMemberThatCannotBeStored(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		staticGroup(w, 2)
		w.log.set(false, ErrLimit, nil)
		wantErr(t, w.join(staticJoin(1)).get().Err, ErrCoordinatorNotAvailable)
		w.log.set(false, nil, nil)
		if r := w.join(staticJoin(1)).get(); r.Err != nil || r.Generation != 1 {
			t.Fatalf("got %+v", r)
		}
		w.wantState("g", Stable)
	})
}

// TestStaticMemberKeepsItsPlaceInARebalance while a dynamic one would be dropped; only
// its session timeout ends it.
func TestStaticMemberKeepsItsPlaceInARebalance(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r0, r1 := staticJoin(0), staticJoin(1)
		r1.SessionTimeout = time.Minute
		a, b := w.join(r0), w.join(r1)
		w.advance(6 * time.Second)
		lead := a.get()
		w.syncAll("g", []JoinResponse{lead, b.get()})
		r := joinRequest("g", lead.MemberID)
		r.InstanceID = ptr("i0")
		c := w.join(r)
		w.advance(rebalance)
		got := c.get()
		if got.Err != nil || got.Generation != 2 || len(got.Members) != 2 {
			t.Fatalf("got %+v", got)
		}
	})
}

// TestAbsentStaticLeaderLosesTheLead, also over a restart.
func TestAbsentStaticLeaderLosesTheLead(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r0 := staticJoin(0)
		r0.SessionTimeout = time.Minute
		a, b := w.join(r0), w.join(joinRequest("g", ""))
		w.advance(6 * time.Second)
		w.syncAll("g", []JoinResponse{a.get(), b.get()})
		r := joinRequest("g", b.get().MemberID)
		r.Protocols[0].Metadata = subscription("x")
		c := w.join(r)
		w.advance(rebalance)
		got := c.get()
		if got.Err != nil || got.Leader != got.MemberID || len(got.Members) != 2 {
			t.Fatalf("got %+v", got)
		}
		wantErr(t, w.sync(SyncRequest{
			GroupID: "g", MemberID: got.MemberID, Generation: 2,
		}).get().Err, nil)
		w.restart()
		if g := w.group("g"); g.leader != got.MemberID || len(g.members) != 2 {
			t.Errorf("%s leads %d members", g.leader, len(g.members))
		}
	})
}

// TestOnlyAbsentStaticMembers: a rebalance that nobody joins waits for the sessions.
func TestOnlyAbsentStaticMembers(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r := staticJoin(0)
		r.SessionTimeout = time.Minute
		r.RebalanceTimeout = 6 * time.Second
		c := w.join(r)
		d := w.join(joinRequest("g", ""))
		w.advance(6 * time.Second)
		w.syncAll("g", []JoinResponse{c.get(), d.get()})
		w.c.Leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{{MemberID: d.get().MemberID}}})
		w.wantState("g", PreparingRebalance)
		w.advance(30 * time.Second)
		w.wantState("g", PreparingRebalance)
		w.advance(30 * time.Second)
		w.wantState("g", Empty)
	})
}

func TestLeaveByInstance(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		staticGroup(w, 2)
		r := w.c.Leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{
			{InstanceID: ptr("i1")}, {InstanceID: ptr("i1")},
		}})
		wantErr(t, r.Members[0].Err, nil)
		wantErr(t, r.Members[1].Err, ErrUnknownMember)
		w.wantState("g", PreparingRebalance)
	})
}
