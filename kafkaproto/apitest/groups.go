package apitest

import (
	"sync"

	"github.com/chronosdb/chronosdb/groups"
)

// Groups is a coordinator that keeps what it is asked, and answers what it is told.
type Groups struct {
	mu struct {
		sync.Mutex
		err       error
		joins     []groups.JoinRequest
		held      []func()
		syncs     []groups.SyncRequest
		commits   []groups.CommitRequest
		fetches   []groups.FetchRequest
		forgotten []string
	}
	// Hold keeps joins, syncs and commits unanswered until Answer.
	Hold bool
}

// Fail makes all answers fail; nil ends that.
func (g *Groups) Fail(err error) {
	g.mu.Lock()
	g.mu.err = err
	g.mu.Unlock()
}

func (g *Groups) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.err
}

// Joins, Syncs, Commits, Fetches and Forgotten are what was asked so far.
func (g *Groups) Joins() []groups.JoinRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.joins
}

// Syncs is what was asked so far.
func (g *Groups) Syncs() []groups.SyncRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.syncs
}

// Commits is what was asked so far.
func (g *Groups) Commits() []groups.CommitRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.commits
}

// Fetches is what was asked so far.
func (g *Groups) Fetches() []groups.FetchRequest {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.fetches
}

// Forgotten is the topics whose offsets were to be forgotten.
func (g *Groups) Forgotten() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.forgotten
}

// Join implements api.Groups.
func (g *Groups) Join(r groups.JoinRequest, reply func(groups.JoinResponse)) {
	g.mu.Lock()
	g.mu.joins = append(g.mu.joins, r)
	g.mu.Unlock()
	g.answer(func() { reply(g.joined(r)) })
}

// answer answers now, or keeps the answer.
func (g *Groups) answer(reply func()) {
	if !g.Hold {
		reply()
		return
	}
	g.mu.Lock()
	g.mu.held = append(g.mu.held, reply)
	g.mu.Unlock()
}

func (g *Groups) joined(r groups.JoinRequest) groups.JoinResponse {
	a := groups.JoinResponse{Err: g.failure(), MemberID: "member-1", Leader: "member-1", Generation: 5}
	a.ProtocolType, a.Protocol = r.ProtocolType, "range"
	if a.Err == nil && len(r.Protocols) > 0 {
		a.Members = []groups.JoinMember{{
			MemberID: "member-1", InstanceID: r.InstanceID, Metadata: r.Protocols[0].Metadata,
		}}
	}
	return a
}

// Answer answers all that is held, and says how many.
func (g *Groups) Answer() int {
	g.mu.Lock()
	held := g.mu.held
	g.mu.held = nil
	g.mu.Unlock()
	for _, reply := range held {
		reply()
	}
	return len(held)
}

// Sync implements api.Groups.
func (g *Groups) Sync(r groups.SyncRequest, reply func(groups.SyncResponse)) {
	g.mu.Lock()
	g.mu.syncs = append(g.mu.syncs, r)
	g.mu.Unlock()
	a := groups.SyncResponse{Err: g.failure(), ProtocolType: "consumer", Protocol: "range"}
	if a.Err == nil {
		for _, assignment := range r.Assignments {
			if assignment.MemberID == r.MemberID {
				a.Assignment = assignment.Assignment
			}
		}
	}
	// It ends at once: the reply only hands the answer over.
	g.answer(func() { go reply(a) })
}

// Heartbeat implements api.Groups.
func (g *Groups) Heartbeat(groups.HeartbeatRequest) error { return g.failure() }

// Leave implements api.Groups: a member called "stranger" is not known.
func (g *Groups) Leave(r groups.LeaveRequest) groups.LeaveResponse {
	a := groups.LeaveResponse{Err: g.failure()}
	for _, m := range r.Members {
		var err error
		if m.MemberID == "stranger" {
			err = groups.ErrUnknownMember
		}
		a.Members = append(a.Members, groups.LeaveResult{
			MemberID: m.MemberID, InstanceID: m.InstanceID, Err: err,
		})
	}
	return a
}

// Commit implements api.Groups.
func (g *Groups) Commit(r groups.CommitRequest, reply func(groups.CommitResponse)) {
	g.mu.Lock()
	g.mu.commits = append(g.mu.commits, r)
	g.mu.Unlock()
	a := groups.CommitResponse{Err: g.failure()}
	for _, t := range r.Topics {
		to := groups.CommitTopicResult{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			to.Partitions = append(to.Partitions, groups.CommitPartitionResult{
				Partition: p.Partition, Err: a.Err,
			})
		}
		a.Topics = append(a.Topics, to)
	}
	g.answer(func() { reply(a) })
}

// Fetch implements api.Groups: partition n of every topic has offset 100+n; all topics are "t".
func (g *Groups) Fetch(r groups.FetchRequest) groups.FetchResponse {
	g.mu.Lock()
	g.mu.fetches = append(g.mu.fetches, r)
	g.mu.Unlock()
	if err := g.failure(); err != nil {
		return groups.FetchResponse{Err: err}
	}
	asked := r.Topics
	if asked == nil {
		asked = []groups.FetchTopic{
			{Topic: "gone", Partitions: []int32{0}}, {Topic: "t", Partitions: []int32{0}},
		}
	}
	var a groups.FetchResponse
	for _, t := range asked {
		to := groups.FetchTopicResult{Topic: t.Topic, TopicID: t.TopicID}
		for _, p := range t.Partitions {
			to.Partitions = append(to.Partitions, groups.FetchedOffset{
				Partition: p, Offset: 100 + int64(p), LeaderEpoch: 3, Metadata: "m",
			})
		}
		a.Topics = append(a.Topics, to)
	}
	return a
}

// List implements api.Groups.
func (g *Groups) List(groups.ListFilter) ([]groups.Listing, error) {
	return []groups.Listing{
		{GroupID: "g", ProtocolType: "consumer", State: "Stable", Type: "classic"},
	}, g.failure()
}

// ForgetTopic implements api.Groups.
func (g *Groups) ForgetTopic(name string, _ groups.TopicID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mu.forgotten = append(g.mu.forgotten, name)
	return nil
}
