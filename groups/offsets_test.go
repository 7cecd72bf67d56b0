package groups

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// commitRequest commits the offset for orders-0.
func commitRequest(group string, offset int64) CommitRequest {
	return CommitRequest{
		GroupID: group, Generation: -1, RetentionMs: -1,
		Topics: []CommitTopic{{Topic: "orders", Partitions: []CommitPartition{
			{Partition: 0, Offset: offset, LeaderEpoch: 7, Metadata: "note"},
		}}},
	}
}

func (w *world) mustCommit(r CommitRequest) {
	w.t.Helper()
	resp := w.commit(r).get()
	wantErr(w.t, resp.Err, nil)
	for _, topic := range resp.Topics {
		for _, p := range topic.Partitions {
			wantErr(w.t, p.Err, nil)
		}
	}
}

// offset fetches one committed offset.
func (w *world) offset(group, topic string, partition int32) int64 {
	w.t.Helper()
	r := w.c.Fetch(FetchRequest{
		GroupID: group, Topics: []FetchTopic{{Topic: topic, Partitions: []int32{partition}}},
	})
	wantErr(w.t, r.Err, nil)
	return r.Topics[0].Partitions[0].Offset
}

// prepared is a group in some state, and a member's view of it.
type prepared struct {
	group      string
	member     string
	generation int32
}

func noGroup(*world) prepared { return prepared{"g", "", -1} }

func stableGroup(w *world) prepared {
	m := w.stable("g", 2)
	return prepared{"g", m[1].MemberID, 1}
}

func preparingGroup(w *world) prepared {
	p := stableGroup(w)
	w.join(joinRequest("g", w.group("g").leader))
	return p
}

func completingGroup(w *world) prepared {
	a := w.join(joinRequest("g", ""))
	w.advance(3 * time.Second)
	return prepared{"g", a.get().MemberID, 1}
}

func emptyGroup(w *world) prepared {
	p := stableGroup(w)
	w.advance(session)
	w.wantState("g", Empty)
	return p
}

// asItIs and asSimple change a member's commit.
func asItIs(*CommitRequest) {}

func asSimple(r *CommitRequest) { r.MemberID, r.Generation = "", -1 }

var commitErrors = map[string]struct {
	prepare func(w *world) prepared
	change  func(r *CommitRequest)
	want    error
}{
	"simple, no group": {noGroup, asItIs, nil},
	"simple, empty id": {noGroup, func(r *CommitRequest) { r.GroupID = "" }, nil},
	"long group id": {noGroup, func(r *CommitRequest) {
		r.GroupID = strings.Repeat("g", 40000)
	}, ErrInvalidGroupID},
	"member, no group": {noGroup, func(r *CommitRequest) {
		r.Generation = 3
	}, ErrIllegalGeneration},
	"member, no group, v9": {noGroup, func(r *CommitRequest) {
		r.Generation, r.CanTellGroupNotFound = 3, true
	}, ErrGroupNotFound},
	"member":          {stableGroup, asItIs, nil},
	"simple, members": {stableGroup, asSimple, ErrUnknownMember},
	"old generation": {stableGroup, func(r *CommitRequest) {
		r.Generation = 0
	}, ErrIllegalGeneration},
	"id without generation": {stableGroup, func(r *CommitRequest) {
		r.Generation = -1
	}, ErrIllegalGeneration},
	"stranger": {stableGroup, func(r *CommitRequest) {
		r.MemberID = "x"
	}, ErrUnknownMember},
	"unknown instance": {stableGroup, func(r *CommitRequest) {
		r.InstanceID = ptr("i")
	}, ErrUnknownMember},
	"members join":             {preparingGroup, asItIs, nil},
	"assignment on its way":    {completingGroup, asItIs, ErrRebalanceInProgress},
	"simple, members are gone": {emptyGroup, asSimple, nil},
	"member that is gone":      {emptyGroup, asItIs, ErrUnknownMember},
	"too many bytes": {noGroup, func(r *CommitRequest) {
		for p := range int32(3000) {
			r.Topics[0].Partitions = append(r.Topics[0].Partitions, CommitPartition{
				Partition: p, Metadata: strings.Repeat("m", 4096),
			})
		}
	}, ErrCommitTooLarge},
}

// TestCommitErrors is the table of who may commit when.
func TestCommitErrors(t *testing.T) {
	for name, tt := range commitErrors {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				p := tt.prepare(w)
				r := commitRequest(p.group, 42)
				r.MemberID, r.Generation = p.member, p.generation
				tt.change(&r)
				resp := w.commit(r).get()
				wantErr(t, resp.Err, tt.want)
				wantErr(t, resp.Topics[0].Partitions[0].Err, tt.want)
				if tt.want != nil {
					return
				}
				if got := w.offset(r.GroupID, "orders", 0); got != 42 {
					t.Errorf("committed %d", got)
				}
			})
		})
	}
}

// TestCommitPartly: one bad partition does not spoil the others.
func TestCommitPartly(t *testing.T) {
	inWorld(t, func(o *Options) { o.OffsetsPerGroupMax = 2 }, func(w *world) {
		r := commitRequest("g", 1)
		r.Topics[0].Partitions = []CommitPartition{
			{Partition: 0, Offset: 10, Metadata: strings.Repeat("m", 4096)},
			{Partition: 1, Offset: 11, Metadata: strings.Repeat("m", 4097)},
			{Partition: 2, Offset: 12},
		}
		resp := w.commit(r).get()
		wantErr(t, resp.Err, nil)
		for i, want := range []error{nil, ErrOffsetMetadataTooLarge, nil} {
			wantErr(t, resp.Topics[0].Partitions[i].Err, want)
		}
		r.Topics[0].Partitions = []CommitPartition{{Partition: 0, Offset: 20}, {Partition: 3}}
		resp = w.commit(r).get()
		wantErr(t, resp.Topics[0].Partitions[0].Err, nil)
		wantErr(t, resp.Topics[0].Partitions[1].Err, ErrLimit)
		for p, want := range map[int32]int64{0: 20, 1: -1, 2: 12, 3: -1} {
			if got := w.offset("g", "orders", p); got != want {
				t.Errorf("partition %d is at %d, want %d", p, got, want)
			}
		}
	})
}

// TestCommitWaitsForTheDisk: neither the answer nor the offset comes before.
func TestCommitWaitsForTheDisk(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.mustCommit(commitRequest("g", 1))
		w.log.set(true, nil, nil)
		c := w.commit(commitRequest("g", 2))
		c.wantParked()
		if got := w.offset("g", "orders", 0); got != 1 {
			t.Errorf("an offset that is not durable is seen: %d", got)
		}
		w.log.set(false, nil, nil)
		wantErr(t, c.get().Err, nil)
		if got := w.offset("g", "orders", 0); got != 2 {
			t.Errorf("offset is %d", got)
		}
	})
}

func TestCommitThatIsLost(t *testing.T) {
	lost := errors.New("disk is gone")
	for name, set := range map[string]func(*memLog){
		"refused": func(l *memLog) { l.set(false, lost, nil) },
		"lost":    func(l *memLog) { l.set(false, nil, lost) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				set(w.log)
				resp := w.commit(commitRequest("g", 1)).get()
				wantErr(t, resp.Err, ErrCoordinatorNotAvailable)
				wantErr(t, resp.Topics[0].Partitions[0].Err, lost)
				if n := len(w.c.shards[0].mu.slots); n != 0 {
					t.Errorf("%d groups are left of nothing", n)
				}
				if m := w.c.Metrics(); m.CommitFailures != 1 || m.Commits != 0 {
					t.Errorf("counted %+v", m)
				}
			})
		})
	}
}

func TestWritesAreBounded(t *testing.T) {
	inWorld(t, func(o *Options) { o.WritesMax = 2 }, func(w *world) {
		w.log.set(true, nil, nil)
		var parked []*call[CommitResponse]
		for range 3 { // the settler holds one in hand
			parked = append(parked, w.commit(commitRequest("g", 1)))
		}
		wantErr(t, w.commit(commitRequest("g", 2)).get().Err, ErrCoordinatorNotAvailable)
		w.log.set(false, nil, nil)
		for _, c := range parked {
			wantErr(t, c.get().Err, nil)
		}
	})
}

// TestCommitKeepsMemberAlive: it counts as a heartbeat.
func TestCommitKeepsMemberAlive(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		m := w.stable("g", 1)[0]
		for i := range 5 {
			w.advance(session / 2)
			r := commitRequest("g", int64(i))
			r.MemberID, r.Generation = m.MemberID, m.Generation
			w.mustCommit(r)
		}
	})
}

func TestFetch(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		all := w.c.Fetch(FetchRequest{GroupID: "g"})
		if all.Err != nil || len(all.Topics) != 0 {
			t.Fatalf("unknown group: %+v", all)
		}
		if got := w.offset("g", "orders", 0); got != -1 {
			t.Fatalf("unknown group: %d", got)
		}
		id := TopicID{1}
		r := commitRequest("g", 5)
		r.Topics = append(r.Topics, CommitTopic{
			Topic: "a", TopicID: id, Partitions: []CommitPartition{
				{Partition: 1, Offset: 9, LeaderEpoch: -1},
				{Partition: 0, Offset: 8, LeaderEpoch: -1},
			},
		})
		w.mustCommit(r)
		for _, restarted := range []bool{false, true} {
			if restarted {
				w.restart()
			}
			all = w.c.Fetch(FetchRequest{GroupID: "g", RequireStable: true})
			if len(all.Topics) != 2 || all.Topics[0].Topic != "a" || all.Topics[0].TopicID != id ||
				len(all.Topics[0].Partitions) != 2 || all.Topics[0].Partitions[1].Offset != 9 {
				t.Fatalf("all: %+v", all)
			}
			want := FetchedOffset{Partition: 0, Offset: 5, LeaderEpoch: 7, Metadata: "note"}
			if got := all.Topics[1].Partitions[0]; got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			// Asked by name, by its id, and by the id of a later topic of that name.
			for ask, want := range map[TopicID]int64{{}: 9, id: 9, {2}: -1} {
				got := w.c.Fetch(FetchRequest{GroupID: "g", Topics: []FetchTopic{
					{Topic: "a", TopicID: ask, Partitions: []int32{1}},
				}})
				if got.Topics[0].Partitions[0].Offset != want {
					t.Errorf("asked with id %v: %+v", ask, got)
				}
			}
		}
		long := FetchRequest{GroupID: strings.Repeat("g", 40000)}
		wantErr(t, w.c.Fetch(long).Err, ErrInvalidGroupID)
	})
}
