package groups

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

var joinErrors = map[string]struct {
	change func(r *JoinRequest)
	want   error
}{
	"no group id": {func(r *JoinRequest) { r.GroupID = "" }, ErrInvalidGroupID},
	"long group id": {func(r *JoinRequest) {
		r.GroupID = strings.Repeat("g", 40000)
	}, ErrInvalidGroupID},
	"session too short": {func(r *JoinRequest) {
		r.SessionTimeout = 6*time.Second - 1
	}, ErrInvalidSessionTimeout},
	"session too long": {func(r *JoinRequest) {
		r.SessionTimeout = 30*time.Minute + 1
	}, ErrInvalidSessionTimeout},
	"other type": {func(r *JoinRequest) {
		r.ProtocolType = "connect"
	}, ErrInconsistentGroupProtocol},
	"other protocol": {func(r *JoinRequest) {
		r.Protocols[0].Name = "sticky"
	}, ErrInconsistentGroupProtocol},
	"no protocol": {func(r *JoinRequest) {
		r.Protocols = nil
	}, ErrInconsistentGroupProtocol},
	"unknown member": {func(r *JoinRequest) { r.MemberID = "nobody" }, ErrUnknownMember},
	"unknown instance": {func(r *JoinRequest) {
		r.MemberID, r.InstanceID = "x", ptr("i")
	}, ErrUnknownMember},
	"new group, an id": {func(r *JoinRequest) {
		r.GroupID, r.MemberID = "other", "x"
	}, ErrUnknownMember},
	"new group, no type": {func(r *JoinRequest) {
		r.GroupID, r.ProtocolType = "other", ""
	}, ErrInconsistentGroupProtocol},
	"big subscription": {func(r *JoinRequest) {
		r.Protocols[0].Metadata = make([]byte, MemberBytesMaxDefault)
	}, ErrLimit},
	"long instance": {func(r *JoinRequest) {
		r.InstanceID = ptr(strings.Repeat("i", 250))
	}, ErrLimit},
	"long protocol name": {func(r *JoinRequest) {
		r.Protocols[0].Name = strings.Repeat("p", 40000)
	}, ErrLimit},
	"long client id": {func(r *JoinRequest) {
		r.ClientID = strings.Repeat("c", 40000)
	}, ErrLimit},
	"known id required": {func(r *JoinRequest) {
		r.RequireKnownMember = true
	}, ErrMemberIDRequired},
	"group of two is full": {func(r *JoinRequest) {}, ErrGroupMaxSizeReached},
}

func TestJoinErrors(t *testing.T) {
	for name, tt := range joinErrors {
		t.Run(name, func(t *testing.T) {
			full := errors.Is(tt.want, ErrGroupMaxSizeReached)
			inWorld(t, func(o *Options) {
				if full {
					o.GroupMaxSize = 2
				}
			}, func(w *world) {
				members := w.stable("g", 2)
				r := joinRequest("g", "")
				tt.change(&r)
				resp := w.join(r).get()
				wantErr(t, resp.Err, tt.want)
				if resp.Generation != -1 || resp.Members != nil || resp.Leader != "" {
					t.Errorf("a refusal tells about the group: %+v", resp)
				}
				wantErr(t, w.heartbeat("g", members[1]), nil)
			})
		})
	}
}

func TestFirstRebalanceWaitsForMembers(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		a := w.join(joinRequest("g", ""))
		w.advance(3*time.Second - 1)
		a.wantParked()
		b := w.join(joinRequest("g", ""))
		w.advance(1) // the delay is over, but b is new: another 3 s
		a.wantParked()
		w.advance(3 * time.Second)
		ra, rb := a.get(), b.get()
		if ra.Err != nil || rb.Err != nil || ra.Generation != 1 || rb.Generation != 1 {
			t.Fatalf("got %+v and %+v", ra, rb)
		}
		if ra.Leader != ra.MemberID || rb.Leader != ra.MemberID {
			t.Errorf("the first member does not lead: %+v %+v", ra, rb)
		}
		if len(ra.Members) != 2 || rb.Members != nil {
			t.Errorf("leader knows %d, follower %d members", len(ra.Members), len(rb.Members))
		}
		if ra.Protocol != "range" || ra.ProtocolType != "consumer" {
			t.Errorf("protocol %q of type %q", ra.Protocol, ra.ProtocolType)
		}
	})
}

// TestFirstRebalanceEndsAtRebalanceTimeout adds a member every second: the delay grows
// only up to the rebalance timeout (20 s).
func TestFirstRebalanceEndsAtRebalanceTimeout(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		first := w.join(joinRequest("g", ""))
		waited := 0
		for ; !first.answered() && waited < 60; waited++ {
			w.join(joinRequest("g", ""))
			w.advance(time.Second)
		}
		if waited < 18 || waited > 20 {
			t.Errorf("waited %d s, want the rebalance timeout of 20 s in steps of 3 s", waited)
		}
	})
}

func TestNoInitialDelay(t *testing.T) {
	inWorld(t, func(o *Options) { o.InitialRebalanceDelay = -1 }, func(w *world) {
		if r := w.join(joinRequest("g", "")).get(); r.Err != nil || r.Generation != 1 {
			t.Fatalf("got %+v", r)
		}
	})
}

func TestMemberIDRequired(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r := joinRequest("g", "")
		r.RequireKnownMember = true
		first := w.join(r).get()
		wantErr(t, first.Err, ErrMemberIDRequired)
		if !strings.HasPrefix(first.MemberID, "client-") || len(first.MemberID) != 43 {
			t.Fatalf("member id %q", first.MemberID)
		}
		r.MemberID = first.MemberID
		second := w.join(r)
		w.advance(3 * time.Second)
		if got := second.get(); got.Err != nil || got.MemberID != first.MemberID {
			t.Fatalf("got %+v", got)
		}
	})
}

// TestPendingMember holds up a rebalance, because it is expected, until its session
// timeout.
func TestPendingMember(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 1)
		r := joinRequest("g", "")
		r.RequireKnownMember = true
		pending := w.join(r).get()
		rejoin := joinRequest("g", members[0].MemberID)
		lead := w.join(rejoin)
		lead.wantParked()
		w.advance(session)
		if got := lead.get(); got.Err != nil || got.Generation != 2 {
			t.Fatalf("got %+v", got)
		}
		r.MemberID = pending.MemberID
		wantErr(t, w.join(r).get().Err, ErrUnknownMember)
	})
}

func TestPendingMembersAreBounded(t *testing.T) {
	inWorld(t, func(o *Options) { o.GroupMaxSize = 3 }, func(w *world) {
		r := joinRequest("g", "")
		r.RequireKnownMember = true
		for range 3 {
			wantErr(t, w.join(r).get().Err, ErrMemberIDRequired)
		}
		wantErr(t, w.join(r).get().Err, ErrGroupMaxSizeReached)
		w.advance(session)
		if n := len(w.c.shards[0].mu.slots); n != 0 {
			t.Errorf("%d groups are left after the pending members expired", n)
		}
		wantErr(t, w.join(r).get().Err, ErrMemberIDRequired)
	})
}

func TestVote(t *testing.T) {
	tests := map[string]struct {
		members []string // each a list of protocols in order of preference
		want    string
	}{
		"one member, first choice":    {[]string{"a b"}, "a"},
		"only common ones":            {[]string{"a b", "b"}, "b"},
		"majority":                    {[]string{"a b", "b a", "b a"}, "b"},
		"tie goes to the earlier":     {[]string{"a b", "b a"}, "a"},
		"a repeated name counts once": {[]string{"a a b", "b"}, "b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				var calls []*call[JoinResponse]
				for _, protocols := range tt.members {
					r := joinRequest("g", "")
					r.Protocols = nil
					for _, p := range strings.Fields(protocols) {
						r.Protocols = append(r.Protocols, Protocol{Name: p, Metadata: []byte(p)})
					}
					calls = append(calls, w.join(r))
				}
				w.advance(6 * time.Second)
				for _, c := range calls {
					r := c.get()
					if r.Err != nil || r.Protocol != tt.want {
						t.Fatalf("chose %q, %v, want %q", r.Protocol, r.Err, tt.want)
					}
					for _, m := range r.Members {
						if string(m.Metadata) != tt.want {
							t.Errorf("leader got the subscription %q", m.Metadata)
						}
					}
				}
			})
		})
	}
}

// TestRejoin covers who may join again without a rebalance.
func TestRejoin(t *testing.T) {
	tests := map[string]struct {
		member    int
		change    func(r *JoinRequest)
		rebalance bool
	}{
		"follower, nothing new": {1, func(*JoinRequest) {}, false},
		"follower, other topics": {1, func(r *JoinRequest) {
			r.Protocols[0].Metadata = subscription("x")
		}, true},
		"leader wants one": {0, func(*JoinRequest) {}, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				members := w.stable("g", 2)
				r := joinRequest("g", members[tt.member].MemberID)
				tt.change(&r)
				c := w.join(r)
				if !tt.rebalance {
					if got := c.get(); got.Err != nil || got.Generation != 1 {
						t.Fatalf("got %+v", got)
					}
					wantErr(t, w.heartbeat("g", members[0]), nil)
					return
				}
				c.wantParked()
				other := members[1-tt.member]
				wantErr(t, w.heartbeat("g", other), ErrRebalanceInProgress)
				o := w.join(joinRequest("g", other.MemberID))
				if a, b := c.get(), o.get(); a.Generation != 2 || b.Generation != 2 ||
					a.Leader != members[0].MemberID {
					t.Fatalf("got %+v and %+v", a, b)
				}
			})
		})
	}
}

// TestRejoinDuringAssignment: the answer to a join was lost, the client asks again.
func TestRejoinDuringAssignment(t *testing.T) {
	inWorld(t, func(o *Options) { o.InitialRebalanceDelay = -1 }, func(w *world) {
		a := w.join(joinRequest("g", "")).get()
		again := w.join(joinRequest("g", a.MemberID)).get()
		if again.Err != nil || again.Generation != 1 || len(again.Members) != 1 {
			t.Fatalf("got %+v", again)
		}
		w.wantState("g", CompletingRebalance)
		changed := joinRequest("g", a.MemberID)
		changed.Protocols[0].Metadata = subscription("x")
		if r := w.join(changed).get(); r.Err != nil || r.Generation != 2 {
			t.Fatalf("got %+v", r)
		}
	})
}

// TestParkedJoinIsReplaced: a client that lost its connection joins again on another.
func TestParkedJoinIsReplaced(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 2)
		first := w.join(joinRequest("g", members[0].MemberID))
		second := w.join(joinRequest("g", members[0].MemberID))
		wantErr(t, first.get().Err, ErrRebalanceInProgress)
		second.wantParked()
		w.join(joinRequest("g", members[1].MemberID))
		if r := second.get(); r.Err != nil || r.Generation != 2 {
			t.Fatalf("got %+v", r)
		}
	})
}

func TestRequestBuffersMayBeReused(t *testing.T) {
	inWorld(t, func(o *Options) { o.InitialRebalanceDelay = -1 }, func(w *world) {
		r := joinRequest("g", "")
		want := slices.Clone(r.Protocols[0].Metadata)
		m := w.join(r).get()
		clear(r.Protocols[0].Metadata)
		assignment := []byte("mine")
		w.log.set(true, nil, nil)
		s := w.sync(SyncRequest{
			GroupID: "g", MemberID: m.MemberID, Generation: 1,
			Assignments: []Assignment{{m.MemberID, assignment}},
		})
		clear(assignment)
		w.log.set(false, nil, nil)
		if got := s.get(); string(got.Assignment) != "mine" {
			t.Errorf("assignment is %q", got.Assignment)
		}
		if got := w.group("g").members[0].metadata("range"); !slices.Equal(got, want) {
			t.Errorf("subscription is %q", got)
		}
	})
}
