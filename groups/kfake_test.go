package groups

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// The same story is told to the coordinator and to kfake, an independent
// implementation of the protocol; both must answer alike.

// side is one of the two. Member ids differ, so the story names members by number.
type side interface {
	join(r JoinRequest) func() JoinResponse
	sync(r SyncRequest) func() SyncResponse
	heartbeat(r HeartbeatRequest) error
	leave(r LeaveRequest) LeaveResponse
	commit(r CommitRequest) CommitResponse
	fetch(group string) int64 // offset of orders-0
}

// own is the coordinator.
type own struct{ c *Coordinator }

func later[T any](ask func(reply func(T))) func() T {
	c := make(chan T, 1)
	ask(func(r T) { c <- r })
	return func() T { return <-c }
}

func (o own) join(r JoinRequest) func() JoinResponse {
	return later(func(reply func(JoinResponse)) { o.c.Join(r, reply) })
}

func (o own) sync(r SyncRequest) func() SyncResponse {
	return later(func(reply func(SyncResponse)) { o.c.Sync(r, reply) })
}

func (o own) heartbeat(r HeartbeatRequest) error { return o.c.Heartbeat(r) }

func (o own) leave(r LeaveRequest) LeaveResponse { return o.c.Leave(r) }

func (o own) commit(r CommitRequest) CommitResponse {
	return later(func(reply func(CommitResponse)) { o.c.Commit(r, reply) })()
}

func (o own) fetch(group string) int64 {
	r := o.c.Fetch(FetchRequest{
		GroupID: group, Topics: []FetchTopic{{Topic: "orders", Partitions: []int32{0}}},
	})
	return r.Topics[0].Partitions[0].Offset
}

// fake is kfake behind a client. Joins and syncs park, so each request runs on a client
// of its own. Versions are those of a Kafka that still names topics in commits.
type fake struct {
	t    *testing.T
	addr string
}

func ask[T kmsg.Response](f fake, r kmsg.Request) func() T {
	done := make(chan T, 1)
	// It ends with the answer, which the test waits for, or with the context.
	go func() {
		cl, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.MaxVersions(kversion.V3_7_0()))
		if err != nil {
			f.t.Error(err)
			close(done)
			return
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		resp, err := cl.SeedBrokers()[0].Request(ctx, r)
		if err != nil {
			f.t.Error(err)
			close(done)
			return
		}
		done <- resp.(T)
	}()
	return func() T { return <-done }
}

func (f fake) join(r JoinRequest) func() JoinResponse {
	q := kmsg.NewPtrJoinGroupRequest()
	q.Group, q.MemberID, q.InstanceID = r.GroupID, r.MemberID, r.InstanceID
	q.ProtocolType = r.ProtocolType
	q.SessionTimeoutMillis = int32(r.SessionTimeout.Milliseconds())
	q.RebalanceTimeoutMillis = int32(r.RebalanceTimeout.Milliseconds())
	for _, p := range r.Protocols {
		q.Protocols = append(q.Protocols, kmsg.JoinGroupRequestProtocol{
			Name: p.Name, Metadata: p.Metadata,
		})
	}
	wait := ask[*kmsg.JoinGroupResponse](f, q)
	return func() JoinResponse {
		a := wait()
		return JoinResponse{
			Err: sentinelOf(f.t, a.ErrorCode), Generation: a.Generation, MemberID: a.MemberID,
			Leader: a.LeaderID, Members: make([]JoinMember, len(a.Members)),
			SkipAssignment: a.SkipAssignment,
		}
	}
}

func (f fake) sync(r SyncRequest) func() SyncResponse {
	q := kmsg.NewPtrSyncGroupRequest()
	q.Group, q.MemberID = r.GroupID, r.MemberID
	q.Generation, q.InstanceID = r.Generation, r.InstanceID
	q.ProtocolType, q.Protocol = ptr("consumer"), ptr("range")
	for _, a := range r.Assignments {
		q.GroupAssignment = append(q.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{
			MemberID: a.MemberID, MemberAssignment: a.Assignment,
		})
	}
	wait := ask[*kmsg.SyncGroupResponse](f, q)
	return func() SyncResponse {
		a := wait()
		return SyncResponse{Err: sentinelOf(f.t, a.ErrorCode), Assignment: a.MemberAssignment}
	}
}

func (f fake) heartbeat(r HeartbeatRequest) error {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID = r.GroupID, r.MemberID
	q.Generation, q.InstanceID = r.Generation, r.InstanceID
	return sentinelOf(f.t, ask[*kmsg.HeartbeatResponse](f, q)().ErrorCode)
}

func (f fake) leave(r LeaveRequest) LeaveResponse {
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Group = r.GroupID
	for _, m := range r.Members {
		q.Members = append(q.Members, kmsg.LeaveGroupRequestMember{
			MemberID: m.MemberID, InstanceID: m.InstanceID,
		})
	}
	a := ask[*kmsg.LeaveGroupResponse](f, q)()
	out := LeaveResponse{Err: sentinelOf(f.t, a.ErrorCode)}
	for _, m := range a.Members {
		out.Members = append(out.Members, LeaveResult{Err: sentinelOf(f.t, m.ErrorCode)})
	}
	return out
}

func (f fake) commit(r CommitRequest) CommitResponse {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.MemberID = r.GroupID, r.MemberID
	q.Generation, q.InstanceID = r.Generation, r.InstanceID
	p := r.Topics[0].Partitions[0]
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Offset, part.Metadata = p.Offset, &p.Metadata
	q.Topics = []kmsg.OffsetCommitRequestTopic{{
		Topic: "orders", Partitions: []kmsg.OffsetCommitRequestTopicPartition{part},
	}}
	a := ask[*kmsg.OffsetCommitResponse](f, q)()
	err := sentinelOf(f.t, a.Topics[0].Partitions[0].ErrorCode)
	return CommitResponse{Topics: []CommitTopicResult{{
		Partitions: []CommitPartitionResult{{Err: err}},
	}}}
}

func (f fake) fetch(group string) int64 {
	q := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	t := kmsg.NewOffsetFetchRequestGroupTopic()
	t.Topic, t.Partitions = "orders", []int32{0}
	g.Topics = append(g.Topics, t)
	q.Groups = append(q.Groups, g)
	a := ask[*kmsg.OffsetFetchResponse](f, q)()
	if len(a.Groups[0].Topics) == 0 {
		return -1 // kfake leaves out the topics of a group it does not know
	}
	return a.Groups[0].Topics[0].Partitions[0].Offset
}

var sentinels = map[*kerr.Error]error{
	kerr.IllegalGeneration:         ErrIllegalGeneration,
	kerr.InconsistentGroupProtocol: ErrInconsistentGroupProtocol,
	kerr.UnknownMemberID:           ErrUnknownMember,
	kerr.InvalidSessionTimeout:     ErrInvalidSessionTimeout,
	kerr.RebalanceInProgress:       ErrRebalanceInProgress,
	kerr.MemberIDRequired:          ErrMemberIDRequired,
	kerr.FencedInstanceID:          ErrFencedInstanceID,
	kerr.InvalidGroupID:            ErrInvalidGroupID,
}

func sentinelOf(t *testing.T, code int16) error {
	if code == 0 {
		return nil
	}
	for k, s := range sentinels {
		if k.Code == code {
			return s
		}
	}
	t.Errorf("kfake answers %v, which has no sentinel here", kerr.ErrorForCode(code))
	return errors.New("other")
}

// outcome is one line of a story: what can be compared of an answer.
type outcome struct {
	step       string
	err        error
	generation int32
	text       string
}

// teller runs the story on one side and keeps what happened.
type teller struct {
	s   side
	all []outcome
}

func (t *teller) note(step string, err error, generation int32, text string) {
	for _, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			err = sentinel
		}
	}
	t.all = append(t.all, outcome{step, err, generation, text})
}

func (t *teller) joined(step string, r JoinResponse) JoinResponse {
	text := "follower"
	if r.Err != nil {
		text = ""
	} else if r.Leader == r.MemberID {
		text = "leader"
	}
	t.note(step, r.Err, r.Generation, text)
	return r
}

func (t *teller) beat(step, member string, generation int32) {
	t.note(step, t.s.heartbeat(HeartbeatRequest{
		GroupID: "g", MemberID: member, Generation: generation,
	}), 0, "")
}

func (t *teller) commit(step, member string, generation int32) {
	r := commitRequest("g", int64(len(t.all)))
	r.MemberID, r.Generation = member, generation
	t.note(step, t.s.commit(r).Topics[0].Partitions[0].Err, 0, "")
}

func knownJoin(id string) JoinRequest {
	r := joinRequest("g", id)
	r.RequireKnownMember, r.CanSkipAssignment = true, true
	return r
}

// alone is the story of the first member; it returns its id.
func (t *teller) alone() string {
	t.commit("simple commit", "", -1)
	t.beat("stranger beats", "x", 0)
	bad := knownJoin("")
	bad.SessionTimeout = time.Second
	t.joined("short session", t.s.join(bad)())
	t.joined("made-up id", t.s.join(knownJoin("x"))())
	id := t.joined("first join", t.s.join(knownJoin(""))()).MemberID
	t.joined("second join", t.s.join(knownJoin(id))())
	t.beat("beat before sync", id, 1)
	t.commit("commit before sync", id, 1)
	r := t.s.sync(SyncRequest{
		GroupID: "g", MemberID: id, Generation: 1,
		Assignments: []Assignment{{id, []byte("all")}},
	})()
	t.note("sync", r.Err, 0, string(r.Assignment))
	t.beat("beat", id, 1)
	t.beat("beat of a generation to come", id, 2)
	t.commit("commit", id, 1)
	t.commit("commit of an old generation", id, 0)
	t.commit("simple commit among members", "", -1)
	other := knownJoin("")
	other.Protocols[0].Name = "sticky"
	t.joined("no protocol in common", t.s.join(other)())
	return id
}

// together is the story of a second member that joins the first; it returns its id.
func (t *teller) together(first string) string {
	second := t.s.join(knownJoin(""))().MemberID
	waiting := t.s.join(knownJoin(second))
	for !errors.Is(t.s.heartbeat(HeartbeatRequest{
		GroupID: "g", MemberID: first, Generation: 1,
	}), ErrRebalanceInProgress) {
		continue // until the other side has the join
	}
	t.commit("commit while members join", first, 1)
	r := t.s.sync(SyncRequest{GroupID: "g", MemberID: first, Generation: 1})()
	t.note("sync while members join", r.Err, 0, "")
	t.joined("leader joins again", t.s.join(knownJoin(first))())
	t.joined("second member", waiting())
	follower := t.s.sync(SyncRequest{GroupID: "g", MemberID: second, Generation: 2})
	r = t.s.sync(SyncRequest{
		GroupID: "g", MemberID: first, Generation: 2,
		Assignments: []Assignment{{first, []byte("0")}, {second, []byte("1")}},
	})()
	t.note("leader syncs", r.Err, 0, string(r.Assignment))
	r = follower()
	t.note("follower syncs", r.Err, 0, string(r.Assignment))
	t.joined("follower joins again unchanged", t.s.join(knownJoin(second))())
	return second
}

// apart is the story of their leaving.
func (t *teller) apart(first, second string) {
	left := t.s.leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{
		{MemberID: second}, {MemberID: "x"},
	}})
	t.note("leave", left.Err, 0, "")
	for _, m := range left.Members {
		t.note("leave, one member", m.Err, 0, "")
	}
	t.beat("beat of one that left", second, 2)
	t.beat("beat of one that stays", first, 2)
	t.s.leave(LeaveRequest{GroupID: "g", Members: []LeaveMember{{MemberID: first}}})
	t.commit("simple commit after all left", "", -1)
	t.note("fetch", nil, int32(t.s.fetch("g")), "")
	t.note("fetch of nothing", nil, int32(t.s.fetch("none")), "")
}

func tell(s side) []outcome {
	t := &teller{s: s}
	first := t.alone()
	t.apart(first, t.together(first))
	return t.all
}

func TestAgreesWithKfake(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"),
		kfake.GroupMinSessionTimeout(6*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	c, err := Open(Options{
		Partitions: 1, InitialRebalanceDelay: -1,
		OpenLog: func(int32) (OffsetsLog, error) { return &memLog{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	<-c.Ready()
	want := tell(fake{t, cluster.ListenAddrs()[0]})
	got := tell(own{c})
	if len(got) != len(want) {
		t.Fatalf("%d steps, kfake %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%+v, kfake %+v", got[i], want[i])
		}
	}
}
