package api_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
)

func TestFindCoordinator(t *testing.T) {
	b := newBench(t)
	for version := int16(0); version <= 6; version++ {
		for kind, want := range map[int8]int16{
			0: 0, 1: kerr.TransactionalIDAuthorizationFailed.Code, 2: kerr.InvalidRequest.Code,
		} {
			if version == 0 && kind != 0 {
				continue
			}
			r := populated(t, 10, version, [16]byte{}).(*kmsg.FindCoordinatorRequest)
			r.CoordinatorType = kind
			out := b.do(r).(*kmsg.FindCoordinatorResponse)
			node, host, code, message := out.NodeID, out.Host, out.ErrorCode, out.ErrorMessage
			if version >= 4 {
				if len(out.Coordinators) != 2 || out.Coordinators[1].Key != "h" {
					t.Fatalf("v%d: %+v", version, out.Coordinators)
				}
				c := out.Coordinators[1]
				node, host, code, message = c.NodeID, c.Host, c.ErrorCode, c.ErrorMessage
			}
			if code != want || (node == apitest.Node && host == "broker.test") != (want == 0) {
				t.Errorf("v%d type %d: code %d, node %d at %q", version, kind, code, node, host)
			}
			if version >= 1 && (message != nil) != (want != 0) {
				t.Errorf("v%d type %d: message %v", version, kind, message)
			}
		}
	}
}

func TestJoinGroup(t *testing.T) {
	for version := int16(0); version <= 9; version++ {
		b := newBench(t)
		r := populated(t, 11, version, [16]byte{}).(*kmsg.JoinGroupRequest)
		r.InstanceID, r.Reason = kmsg.StringPtr("i"), kmsg.StringPtr("because")
		out := b.do(r).(*kmsg.JoinGroupResponse)
		if out.ErrorCode != 0 || out.Generation != 5 || out.MemberID != "member-1" || *out.Protocol != "range" ||
			len(out.Members) != 1 || string(out.Members[0].ProtocolMetadata) != "meta" {
			t.Errorf("v%d: %+v", version, out)
		}
		if version >= 7 && *out.ProtocolType != "consumer" {
			t.Errorf("v%d: protocol type %v", version, out.ProtocolType)
		}
		in := b.groups.Joins()[0]
		rebalance, known := 20*time.Second, version >= 4
		if version == 0 {
			rebalance = 0
		}
		if in.GroupID != "g" || in.ClientID != "test-client" || in.ClientHost != "/10.0.0.9" ||
			in.SessionTimeout != 10*time.Second || in.RebalanceTimeout != rebalance ||
			in.RequireKnownMember != known || in.CanSkipAssignment != (version >= 9) ||
			(in.InstanceID != nil) != (version >= 5) || (in.Reason == "because") != (version >= 8) {
			t.Errorf("v%d: asked %+v", version, in)
		}
		b.groups.Fail(groups.ErrMemberIDRequired)
		out = b.do(r).(*kmsg.JoinGroupResponse)
		if out.ErrorCode != kerr.MemberIDRequired.Code || out.Generation != -1 || out.MemberID != "member-1" ||
			(out.Protocol == nil) != (version >= 7) {
			t.Errorf("v%d: refused with %+v", version, out)
		}
	}
}

// TestJoinGroupKeepsItsOwnBytes: the frame's buffer is reused, what the group remembers is not.
func TestJoinGroupKeepsItsOwnBytes(t *testing.T) {
	b := newBench(t)
	for _, request := range []kmsg.Request{populated(t, 11, 9, [16]byte{}), populated(t, 14, 5, [16]byte{})} {
		frame := frameOf(request)
		if _, err := b.service.Start(t.Context(), b.session, frame); err != nil {
			t.Fatal(err)
		}
		for i := range frame {
			frame[i] = 'x'
		}
	}
	join, sync := b.groups.Joins()[0], b.groups.Syncs()[0]
	if join.GroupID != "g" || string(join.Protocols[0].Metadata) != "meta" || join.ClientID != "test-client" {
		t.Errorf("join remembers %+v", join)
	}
	if sync.MemberID != "member-1" || string(sync.Assignments[0].Assignment) != "assigned" {
		t.Errorf("sync remembers %+v", sync)
	}
}

func TestJoinGroupParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.groups.Hold = true
		r := populated(t, 11, 5, [16]byte{})
		answer, err := b.start(r)
		if err != nil || answer.Ready() || answer.Held() < 4 {
			t.Fatalf("ready %v, holds %d, %v", answer.Ready(), answer.Held(), err)
		}
		done := b.parked(answer)
		<-time.After(time.Minute)
		synctest.Wait()
		still(t, done)
		b.groups.Answer()
		if raw := <-done; raw == nil {
			t.Error("no answer")
		}
	})
}

// TestGroupsDrain: when the server goes down, who waits for other members is told to look for the
// coordinator again; what needs nobody else is waited for.
func TestGroupsDrain(t *testing.T) {
	follower := populated(t, 14, 5, [16]byte{}).(*kmsg.SyncGroupRequest)
	follower.GroupAssignment = nil
	for name, c := range map[string]struct {
		r     kmsg.Request
		waits bool
	}{
		"join":          {populated(t, 11, 9, [16]byte{}), false},
		"follower sync": {follower, false},
		"leader sync":   {populated(t, 14, 5, [16]byte{}), true},
		"commit":        {populated(t, 8, 9, [16]byte{}), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t)
			b.topic("t", 1)
			b.groups.Hold = true
			answer, err := b.start(c.r)
			if err != nil {
				t.Fatal(err)
			}
			done := b.parked(answer)
			synctest.Wait()
			close(b.drain)
			synctest.Wait()
			if c.waits {
				still(t, done)
				b.groups.Answer()
			}
			raw := <-done
			b.groups.Answer() // nobody waits any more, and it does not block
			if raw == nil {
				t.Fatalf("%s: no answer", name)
			}
			out := c.r.ResponseKind()
			out.SetVersion(c.r.GetVersion())
			if err := out.ReadFrom(raw[5:]); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := kerr.CoordinatorNotAvailable.Code
			if c.waits {
				want = 0
			}
			if code := firstError(out); code != want {
				t.Errorf("%s: code %d, want %d", name, code, want)
			}
		})
	}
}

func TestSyncGroup(t *testing.T) {
	for version := int16(0); version <= 5; version++ {
		b := newBench(t)
		r := populated(t, 14, version, [16]byte{}).(*kmsg.SyncGroupRequest)
		r.ProtocolType, r.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
		out := b.do(r).(*kmsg.SyncGroupResponse)
		if out.ErrorCode != 0 || string(out.MemberAssignment) != "assigned" {
			t.Errorf("v%d: %+v", version, out)
		}
		if in := b.groups.Syncs()[0]; (in.Protocol != nil) != (version >= 5) || in.GroupID != "g" {
			t.Errorf("v%d: asked %+v", version, in)
		}
		b.groups.Fail(groups.ErrRebalanceInProgress)
		out = b.do(r).(*kmsg.SyncGroupResponse)
		if out.ErrorCode != kerr.RebalanceInProgress.Code || out.MemberAssignment == nil {
			t.Errorf("v%d: refused with %+v", version, out)
		}
	}
}

func TestHeartbeatErrors(t *testing.T) {
	b := newBench(t)
	for err, want := range map[error]*kerr.Error{
		groups.ErrUnknownMember:       kerr.UnknownMemberID,
		groups.ErrIllegalGeneration:   kerr.IllegalGeneration,
		groups.ErrRebalanceInProgress: kerr.RebalanceInProgress,
		groups.ErrFencedInstanceID:    kerr.FencedInstanceID,
		groups.ErrCoordinatorLoading:  kerr.CoordinatorLoadInProgress,
	} {
		b.groups.Fail(err)
		if out := b.do(populated(t, 12, 4, [16]byte{})).(*kmsg.HeartbeatResponse); out.ErrorCode != want.Code {
			t.Errorf("%v: code %d, want %v", err, out.ErrorCode, want)
		}
	}
}

func TestLeaveGroup(t *testing.T) {
	b := newBench(t)
	for version := int16(0); version <= 5; version++ {
		r := populated(t, 13, version, [16]byte{}).(*kmsg.LeaveGroupRequest)
		r.MemberID = "stranger"
		r.Members = append(r.Members, kmsg.LeaveGroupRequestMember{MemberID: "stranger"})
		out := b.do(r).(*kmsg.LeaveGroupResponse)
		if version < 3 {
			if out.ErrorCode != kerr.UnknownMemberID.Code {
				t.Errorf("v%d: %+v", version, out)
			}
			continue
		}
		if out.ErrorCode != 0 || len(out.Members) != 2 || out.Members[0].ErrorCode != 0 ||
			out.Members[1].ErrorCode != kerr.UnknownMemberID.Code {
			t.Errorf("v%d: %+v", version, out)
		}
	}
}

func TestOffsetCommit(t *testing.T) {
	for version := int16(2); version <= 10; version++ {
		b := newBench(t)
		id := b.topic("t", 1)
		r := populated(t, 8, version, id).(*kmsg.OffsetCommitRequest)
		r.RetentionTimeMillis = 777
		missing := r.Topics[0]
		missing.Topic, missing.TopicID = "no", [16]byte{1}
		r.Topics = append([]kmsg.OffsetCommitRequestTopic{missing}, r.Topics...)
		out := b.do(r).(*kmsg.OffsetCommitResponse)
		unknown := kerr.UnknownTopicOrPartition.Code
		if version >= 10 {
			unknown = kerr.UnknownTopicID.Code
		}
		if len(out.Topics) != 2 || out.Topics[0].Partitions[0].ErrorCode != unknown ||
			out.Topics[1].Partitions[0].ErrorCode != 0 {
			t.Errorf("v%d: %+v", version, out.Topics)
		}
		if version >= 10 && (out.Topics[0].TopicID != [16]byte{1} || out.Topics[1].TopicID != id) {
			t.Errorf("v%d: ids %x and %x", version, out.Topics[0].TopicID, out.Topics[1].TopicID)
		}
		in := b.groups.Commits()[0]
		if len(in.Topics) != 1 || in.Topics[0].Topic != "t" || [16]byte(in.Topics[0].TopicID) != id ||
			in.Topics[0].Partitions[0].Offset != 5 || in.Topics[0].Partitions[0].Metadata != "m" {
			t.Errorf("v%d: asked %+v", version, in)
		}
		if (in.RetentionMs == 777) != (version <= 4) || version > 4 && in.RetentionMs != -1 {
			t.Errorf("v%d: retention %d", version, in.RetentionMs)
		}
		if in.CanTellGroupNotFound != (version >= 9) {
			t.Errorf("v%d: can tell that the group is not found: %v", version, in.CanTellGroupNotFound)
		}
		b.groups.Fail(groups.ErrIllegalGeneration)
		out = b.do(r).(*kmsg.OffsetCommitResponse)
		if out.Topics[1].Partitions[0].ErrorCode != kerr.IllegalGeneration.Code {
			t.Errorf("v%d: refused with %+v", version, out.Topics)
		}
	}
}

func TestOffsetFetch(t *testing.T) {
	b := newBench(t)
	b.topic("t", 2)
	for version := int16(1); version <= 7; version++ {
		r := populated(t, 9, version, [16]byte{}).(*kmsg.OffsetFetchRequest)
		b.groups.Fail(nil)
		out := b.do(r).(*kmsg.OffsetFetchResponse)
		if len(out.Topics) != 1 || out.Topics[0].Partitions[1].Offset != 101 || *out.Topics[0].Partitions[1].Metadata != "m" {
			t.Errorf("v%d: %+v", version, out)
		}
		r.Topics = nil
		out = b.do(r).(*kmsg.OffsetFetchResponse)
		if all := len(out.Topics) == 2; all != (version >= 2) {
			t.Errorf("v%d: null topics give %d topics", version, len(out.Topics))
		}
		r = populated(t, 9, version, [16]byte{}).(*kmsg.OffsetFetchRequest)
		b.groups.Fail(groups.ErrCoordinatorLoading)
		out = b.do(r).(*kmsg.OffsetFetchResponse)
		loading := kerr.CoordinatorLoadInProgress.Code
		if version >= 2 && (out.ErrorCode != loading || len(out.Topics) != 0) {
			t.Errorf("v%d: refused with %+v", version, out)
		}
		if version < 2 && out.Topics[0].Partitions[1].ErrorCode != loading {
			t.Errorf("v%d: refused with %+v", version, out)
		}
	}
}

func TestOffsetFetchOfManyGroups(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 2)
	for version := int16(8); version <= 10; version++ {
		b.groups.Fail(nil)
		r := populated(t, 9, version, id).(*kmsg.OffsetFetchRequest)
		all := kmsg.NewOffsetFetchRequestGroup()
		all.Group = "all"
		r.Groups = append(r.Groups, all)
		out := b.do(r).(*kmsg.OffsetFetchResponse)
		if len(out.Groups) != 2 || out.Groups[0].Topics[0].Partitions[0].Offset != 100 {
			t.Fatalf("v%d: %+v", version, out)
		}
		// The stand-in has offsets of "t" and of "gone", which is no topic any more: by id it
		// cannot be named.
		want := 2
		if version >= 10 {
			want = 1
		}
		if got := out.Groups[1].Topics; len(got) != want || version >= 10 && got[0].TopicID != id {
			t.Errorf("v%d: all topics are %+v", version, got)
		}
		b.groups.Fail(groups.ErrCoordinatorNotAvailable)
		out = b.do(r).(*kmsg.OffsetFetchResponse)
		for _, g := range out.Groups {
			if g.ErrorCode != kerr.CoordinatorNotAvailable.Code || len(g.Topics) != 0 {
				t.Errorf("v%d: refused with %+v", version, g)
			}
		}
	}
	b.groups.Fail(nil)
	r := populated(t, 9, 10, [16]byte{9}).(*kmsg.OffsetFetchRequest)
	got := b.do(r).(*kmsg.OffsetFetchResponse).Groups[0].Topics[0]
	p := got.Partitions[0]
	if got.TopicID != [16]byte{9} || p.ErrorCode != kerr.UnknownTopicID.Code || p.Offset != -1 {
		t.Errorf("unknown id: %+v", got)
	}
}

// TestOffsetFetchIsBounded: a few bytes may name a group with very many offsets, many times.
func TestOffsetFetchIsBounded(t *testing.T) {
	b := newBench(t)
	r := populated(t, 9, 8, [16]byte{}).(*kmsg.OffsetFetchRequest)
	all := kmsg.NewOffsetFetchRequestGroup()
	all.Group = "g"
	r.Groups = slices.Repeat([]kmsg.OffsetFetchRequestGroup{all}, 1_000_000)
	answer, err := b.start(r)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err := answer.AppendTo(&b.waiter, nil); !errors.Is(err, api.ErrRefused) {
		t.Errorf("an answer of %d bytes, %v", len(raw), err)
	}
}

func TestListGroups(t *testing.T) {
	b := newBench(t)
	for version := int16(0); version <= 5; version++ {
		out := b.do(populated(t, 16, version, [16]byte{})).(*kmsg.ListGroupsResponse)
		if len(out.Groups) != 1 || out.Groups[0].Group != "g" || out.Groups[0].ProtocolType != "consumer" ||
			(out.Groups[0].GroupState == "Stable") != (version >= 4) ||
			(out.Groups[0].GroupType == "classic") != (version >= 5) {
			t.Errorf("v%d: %+v", version, out.Groups)
		}
	}
}

// TestListIsSorted keeps the table in an order that a reader can search.
func TestListIsSorted(t *testing.T) {
	var keys []int16
	for _, a := range newBench(t).service.List() {
		keys = append(keys, a.Key)
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Errorf("keys %v", keys)
	}
}
