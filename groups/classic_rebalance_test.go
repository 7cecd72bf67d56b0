package groups

import (
	"errors"
	"testing"
	"time"
)

// TestHeartbeatErrors is the table of heartbeat answers, by state of the group.
func TestHeartbeatErrors(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		beat := func(group, member string, generation int32, want error) {
			t.Helper()
			wantErr(t, w.c.Heartbeat(HeartbeatRequest{
				GroupID: group, MemberID: member, Generation: generation,
			}), want)
		}
		beat("", "m", 1, ErrInvalidGroupID)
		beat("g", "m", 1, ErrUnknownMember)
		members := w.stable("g", 2)
		a, b := members[0].MemberID, members[1].MemberID
		beat("g", a, 1, nil)
		beat("g", a, 0, ErrIllegalGeneration)
		beat("g", "m", 1, ErrUnknownMember)
		w.join(joinRequest("g", a))
		beat("g", b, 1, ErrRebalanceInProgress)
		w.join(joinRequest("g", b))
		w.wantState("g", CompletingRebalance)
		beat("g", b, 2, nil)
		w.c.Leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{{MemberID: a}, {MemberID: b}}})
		w.wantState("g", Empty)
		beat("g", a, 2, ErrUnknownMember)
	})
}

func TestSilentMemberIsDropped(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 2)
		for range 3 {
			w.advance(session / 2)
			err := w.heartbeat("g", members[0])
			if err != nil {
				wantErr(t, err, ErrRebalanceInProgress)
				break
			}
		}
		wantErr(t, w.heartbeat("g", members[1]), ErrUnknownMember)
		// The one that is left has nobody to wait for.
		if r := w.join(joinRequest("g", members[0].MemberID)).get(); r.Generation != 2 {
			t.Fatalf("got %+v", r)
		}
		if m := w.c.Metrics(); m.SessionTimeouts != 1 {
			t.Errorf("counted %d session timeouts", m.SessionTimeouts)
		}
	})
}

// TestSilentGroupBecomesEmpty: everybody goes; the generation that says so is stored.
func TestSilentGroupBecomesEmpty(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.stable("g", 3)
		w.advance(session)
		w.wantState("g", Empty)
		if g := w.group("g"); g.generation != 2 {
			t.Errorf("generation %d", g.generation)
		}
		if n := w.clk.Armed(); n != 1 {
			t.Errorf("%d timers are armed, want that of the retention only", n)
		}
		w.restart()
		w.wantState("g", Empty)
	})
}

// TestLateMemberIsDropped: it heartbeats, but does not join within the rebalance
// timeout.
func TestLateMemberIsDropped(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 2)
		lead := w.join(joinRequest("g", members[0].MemberID))
		for range 9 {
			w.advance(2 * time.Second)
			wantErr(t, w.heartbeat("g", members[1]), ErrRebalanceInProgress)
		}
		lead.wantParked()
		w.advance(2 * time.Second)
		if r := lead.get(); r.Err != nil || r.Generation != 2 || len(r.Members) != 1 {
			t.Fatalf("got %+v", r)
		}
		wantErr(t, w.heartbeat("g", members[1]), ErrUnknownMember)
	})
}

// TestLateLeaderLosesTheLead: another member that joined leads the next generation.
func TestLateLeaderLosesTheLead(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 2)
		r := joinRequest("g", members[1].MemberID)
		r.Protocols[0].Metadata = subscription("x")
		c := w.join(r)
		for range 10 {
			w.advance(2 * time.Second)
			_ = w.heartbeat("g", members[0])
		}
		if got := c.get(); got.Leader != members[1].MemberID || len(got.Members) != 1 {
			t.Fatalf("got %+v", got)
		}
	})
}

// TestNewMemberGivesUp: a client that never saw an answer is dropped after 5 minutes,
// long before a rebalance timeout of an hour.
func TestNewMemberGivesUp(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		slow := joinRequest("g", "")
		slow.RebalanceTimeout = time.Hour
		first := w.join(slow)
		w.advance(3 * time.Second)
		a := first.get()
		w.syncAll("g", []JoinResponse{a})
		b := w.join(joinRequest("g", ""))
		for range 5*60/5 - 1 {
			w.advance(5 * time.Second)
			wantErr(t, w.heartbeat("g", a), ErrRebalanceInProgress)
		}
		b.wantParked()
		w.advance(5 * time.Second)
		wantErr(t, b.get().Err, ErrUnknownMember)
	})
}

func TestSyncErrors(t *testing.T) {
	tests := map[string]struct {
		change func(r *SyncRequest)
		want   error
	}{
		"good": {func(*SyncRequest) {}, nil},
		"good, with names": {func(r *SyncRequest) {
			r.ProtocolType, r.Protocol = ptr("consumer"), ptr("range")
		}, nil},
		"no group id":    {func(r *SyncRequest) { r.GroupID = "" }, ErrInvalidGroupID},
		"no group":       {func(r *SyncRequest) { r.GroupID = "x" }, ErrUnknownMember},
		"unknown member": {func(r *SyncRequest) { r.MemberID = "x" }, ErrUnknownMember},
		"old generation": {func(r *SyncRequest) { r.Generation-- }, ErrIllegalGeneration},
		"other protocol": {func(r *SyncRequest) {
			r.Protocol = ptr("x")
		}, ErrInconsistentGroupProtocol},
		"other type": {func(r *SyncRequest) {
			r.ProtocolType = ptr("x")
		}, ErrInconsistentGroupProtocol},
		"big assignment": {func(r *SyncRequest) {
			r.Assignments = []Assignment{{"m", make([]byte, MemberBytesMaxDefault+1)}}
		}, ErrLimit},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(o *Options) { o.InitialRebalanceDelay = -1 }, func(w *world) {
				m := w.join(joinRequest("g", "")).get()
				r := SyncRequest{GroupID: "g", MemberID: m.MemberID, Generation: m.Generation}
				tt.change(&r)
				wantErr(t, w.sync(r).get().Err, tt.want)
			})
		})
	}
}

// TestSyncDuringRebalance: too late for the old generation.
func TestSyncDuringRebalance(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 2)
		w.join(joinRequest("g", members[0].MemberID))
		wantErr(t, w.sync(SyncRequest{
			GroupID: "g", MemberID: members[1].MemberID, Generation: 1,
		}).get().Err, ErrRebalanceInProgress)
	})
}

// TestFollowersWaitForTheLeaderAndTheDisk: nobody gets an assignment that a crash could
// take back.
func TestFollowersWaitForTheLeaderAndTheDisk(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a, b := w.join(joinRequest("g", "")), w.join(joinRequest("g", ""))
		w.advance(6 * time.Second)
		lead, follow := a.get(), b.get()
		fs := w.sync(SyncRequest{GroupID: "g", MemberID: follow.MemberID, Generation: 1})
		fs.wantParked()
		w.log.set(true, nil, nil)
		ls := w.sync(SyncRequest{
			GroupID: "g", MemberID: lead.MemberID, Generation: 1,
			Assignments: []Assignment{{follow.MemberID, []byte("all")}, {"stranger", []byte("x")}},
		})
		ls.wantParked()
		fs.wantParked()
		w.wantState("g", CompletingRebalance)
		w.log.set(false, nil, nil)
		if r := fs.get(); r.Err != nil || string(r.Assignment) != "all" || r.Protocol != "range" {
			t.Errorf("follower got %+v", r)
		}
		if r := ls.get(); r.Err != nil || len(r.Assignment) != 0 {
			t.Errorf("leader got %+v", r)
		}
		w.wantState("g", Stable)
		again := w.sync(SyncRequest{GroupID: "g", MemberID: follow.MemberID, Generation: 1})
		if r := again.get(); string(r.Assignment) != "all" {
			t.Errorf("a second sync gives %+v", r)
		}
	})
}

// TestAssignmentThatCannotBeStored sends everybody back to join.
func TestAssignmentThatCannotBeStored(t *testing.T) {
	lost := errors.New("disk is gone")
	tests := map[string]struct{ appendErr, syncErr error }{
		"refused by the log": {appendErr: lost},
		"lost by the disk":   {syncErr: lost},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				a, b := w.join(joinRequest("g", "")), w.join(joinRequest("g", ""))
				w.advance(6 * time.Second)
				lead, follow := a.get(), b.get()
				fs := w.sync(SyncRequest{GroupID: "g", MemberID: follow.MemberID, Generation: 1})
				w.log.set(false, tt.appendErr, tt.syncErr)
				ls := w.sync(SyncRequest{
					GroupID: "g", MemberID: lead.MemberID, Generation: 1,
					Assignments: []Assignment{{follow.MemberID, []byte("all")}},
				})
				for _, c := range []*call[SyncResponse]{ls, fs} {
					wantErr(t, c.get().Err, ErrCoordinatorNotAvailable)
					wantErr(t, c.get().Err, lost)
				}
				w.wantState("g", PreparingRebalance)
			})
		})
	}
}

// TestMemberJoinsWhileAssignmentIsStored: the write of the old generation ends without
// effect.
func TestMemberJoinsWhileAssignmentIsStored(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a := w.join(joinRequest("g", ""))
		w.advance(3 * time.Second)
		lead := a.get()
		w.log.set(true, nil, nil)
		ls := w.sync(SyncRequest{
			GroupID: "g", MemberID: lead.MemberID, Generation: 1,
			Assignments: []Assignment{{lead.MemberID, []byte("all")}},
		})
		late := w.join(joinRequest("g", ""))
		wantErr(t, ls.get().Err, ErrRebalanceInProgress)
		w.wantState("g", PreparingRebalance)
		again := w.join(joinRequest("g", lead.MemberID))
		if r := again.get(); r.Err != nil || r.Generation != 2 || late.get().Generation != 2 {
			t.Fatalf("got %+v", r)
		}
		w.log.set(false, nil, nil)
		w.settle()
		w.wantState("g", CompletingRebalance)
	})
}

// TestLeaderSyncsTwice: a retry while the assignment is being stored changes nothing.
func TestLeaderSyncsTwice(t *testing.T) {
	inWorld(t, func(o *Options) { o.InitialRebalanceDelay = -1 }, func(w *world) {
		m := w.join(joinRequest("g", "")).get()
		w.log.set(true, nil, nil)
		r := SyncRequest{
			GroupID: "g", MemberID: m.MemberID, Generation: 1,
			Assignments: []Assignment{{m.MemberID, []byte("first")}},
		}
		first := w.sync(r)
		r.Assignments = []Assignment{{m.MemberID, []byte("second")}}
		second := w.sync(r)
		wantErr(t, first.get().Err, ErrRebalanceInProgress)
		w.log.set(false, nil, nil)
		if got := second.get(); got.Err != nil || string(got.Assignment) != "first" {
			t.Errorf("got %+v", got)
		}
		if n := len(w.log.mu.records); n != 1 {
			t.Errorf("%d records are stored", n)
		}
	})
}

// TestRefusedRecordIsSavedAgain: the disk was full when the group became empty.
func TestRefusedRecordIsSavedAgain(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		m := w.stable("g", 1)[0]
		r := commitRequest("g", 1)
		r.MemberID, r.Generation = m.MemberID, m.Generation
		w.mustCommit(r)
		w.log.set(false, errors.New("no space"), nil)
		w.advance(session)
		w.wantState("g", Empty)
		w.advance(OffsetRetentionCheckDefault) // still no space
		w.log.set(false, nil, nil)
		w.advance(OffsetRetentionCheckDefault)
		w.restart()
		w.wantState("g", Empty)
		if g := w.group("g"); g.generation != 2 {
			t.Errorf("generation %d", g.generation)
		}
	})
}

// TestRefusedGroupIsNotForgotten: it holds nothing, but its generations have been told.
func TestRefusedGroupIsNotForgotten(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.log.set(false, errors.New("no space"), nil)
		w.join(joinRequest("g", ""))
		w.advance(3 * time.Second)
		w.advance(session)
		w.wantState("g", Empty)
		c := w.join(joinRequest("g", ""))
		w.advance(3 * time.Second)
		if r := c.get(); r.Generation != 3 {
			t.Errorf("got %+v", r)
		}
	})
}

// TestUnsyncedMemberIsDropped: it joined, but never asked for its assignment.
func TestUnsyncedMemberIsDropped(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a, b := w.join(joinRequest("g", "")), w.join(joinRequest("g", ""))
		w.advance(6 * time.Second)
		lead, mute := a.get(), b.get()
		w.sync(SyncRequest{GroupID: "g", MemberID: lead.MemberID, Generation: 1}).get()
		w.wantState("g", Stable)
		for range 9 {
			w.advance(2 * time.Second)
			wantErr(t, w.heartbeat("g", lead), nil)
			wantErr(t, w.heartbeat("g", mute), nil)
		}
		w.advance(2 * time.Second)
		wantErr(t, w.heartbeat("g", lead), ErrRebalanceInProgress)
		wantErr(t, w.heartbeat("g", mute), ErrUnknownMember)
	})
}

func TestLeave(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		if r := w.c.Leave(LeaveRequest{GroupID: "g"}); !errors.Is(r.Err, ErrUnknownMember) {
			t.Fatalf("leaving no group: %v", r.Err)
		}
		members := w.stable("g", 3)
		pending := joinRequest("g", "")
		pending.RequireKnownMember = true
		id := w.join(pending).get().MemberID
		r := w.c.Leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{{MemberID: id}}})
		wantErr(t, r.Err, nil)
		wantErr(t, r.Members[0].Err, nil)
		w.wantState("g", Stable) // nobody who has an assignment is concerned

		r = w.c.Leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{
			{MemberID: "x"},
			{MemberID: members[0].MemberID},
			{InstanceID: ptr("i")},
			{MemberID: members[1].MemberID, InstanceID: ptr("i")},
		}})
		wantErr(t, r.Err, nil)
		want := []error{ErrUnknownMember, nil, ErrUnknownMember, ErrUnknownMember}
		for i := range want {
			wantErr(t, r.Members[i].Err, want[i])
		}
		w.wantState("g", PreparingRebalance)
		wantErr(t, w.heartbeat("g", members[0]), ErrUnknownMember)
		wantErr(t, w.heartbeat("g", members[1]), ErrRebalanceInProgress)

		// A parked join of a leaving member is answered.
		parked := w.join(joinRequest("g", members[1].MemberID))
		w.c.Leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{
			{MemberID: members[1].MemberID}, {MemberID: members[2].MemberID},
		}})
		wantErr(t, parked.get().Err, ErrUnknownMember)
		w.settle()
		w.wantState("g", Empty)
	})
}

// TestStateTransitions holds the table of states against Kafka's.
func TestStateTransitions(t *testing.T) {
	legal := map[State][]State{
		Empty:               {PreparingRebalance, Dead},
		PreparingRebalance:  {CompletingRebalance, Empty},
		CompletingRebalance: {Stable, PreparingRebalance},
		Stable:              {PreparingRebalance},
		Dead:                {Empty},
	}
	for from := Empty; from <= Dead; from++ {
		for to := Empty; to <= Dead; to++ {
			want := false
			for _, s := range legal[from] {
				want = want || s == to
			}
			if to.mayFollow(from) != want {
				t.Errorf("%v to %v: %v, want %v", from, to, !want, want)
			}
		}
	}
}
