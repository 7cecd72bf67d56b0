package groups

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// TestPartitionFor compares with values of Java's String.hashCode.
func TestPartitionFor(t *testing.T) {
	tests := map[string]struct{ hash, want int32 }{
		"":                       {0, 0},
		"a":                      {97, 47},
		"abc":                    {96354, 4},
		"hello":                  {99162322, 22},
		"polygenelubricants":     {-2147483648, 0},
		"\U0001F600":             {1772899, 49}, // two UTF-16 units
		"consumer-group":         {0, -1},       // computed below
		"console-consumer-12345": {0, -1},
	}
	for id, tt := range tests {
		if tt.want < 0 {
			tt.want = javaPartition(id)
		}
		if got := PartitionFor(id, 50); got != tt.want {
			t.Errorf("PartitionFor(%q) = %d, want %d", id, got, tt.want)
		}
	}
}

// javaPartition computes the same for ASCII in another way: with powers, in 64 bits.
func javaPartition(id string) int32 {
	var h, pow uint64 = 0, 1
	for i := len(id) - 1; i >= 0; i-- {
		h += uint64(id[i]) * pow
		pow *= 31
	}
	signed := int64(int32(uint32(h)))
	if signed < 0 {
		signed = -signed
	}
	return int32(signed % 50)
}

func TestOptionsValidate(t *testing.T) {
	open := func(int32) (OffsetsLog, error) { return &memLog{}, nil }
	tests := map[string]struct {
		o  Options
		ok bool
	}{
		"defaults":         {Options{OpenLog: open}, true},
		"no log":           {Options{}, false},
		"bounds reversed":  {Options{OpenLog: open, SessionTimeoutMin: time.Hour}, false},
		"negative members": {Options{OpenLog: open, GroupMaxSize: -1}, false},
		"negative shards":  {Options{OpenLog: open, Partitions: -1}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.o.EnsureDefaults()
			if err := tt.o.Validate(); (err == nil) != tt.ok {
				t.Errorf("Validate: %v", err)
			}
		})
	}
}

func TestListAndDescribe(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("b", 2)
		w.mustCommit(commitRequest("a", 1))
		tests := []struct {
			f    ListFilter
			want []string
		}{
			{ListFilter{}, []string{"a", "b"}},
			{ListFilter{States: []string{"stable"}}, []string{"b"}},
			{ListFilter{States: []string{"Empty", "Stable"}}, []string{"a", "b"}},
			{ListFilter{States: []string{"nonsense"}}, nil},
			{ListFilter{Types: []string{"Classic"}}, []string{"a", "b"}},
			{ListFilter{Types: []string{"consumer"}}, nil},
		}
		for _, tt := range tests {
			all, err := w.c.List(tt.f)
			wantErr(t, err, nil)
			var ids []string
			for _, l := range all {
				ids = append(ids, l.GroupID)
			}
			if !slices.Equal(ids, tt.want) {
				t.Errorf("%+v lists %v, want %v", tt.f, ids, tt.want)
			}
		}
		all, _ := w.c.List(ListFilter{States: []string{"Stable"}})
		if want := (Listing{"b", "consumer", "Stable", "classic"}); all[0] != want {
			t.Errorf("listed %+v, want %+v", all[0], want)
		}

		_, err := w.c.Describe("none")
		wantErr(t, err, ErrGroupNotFound)
		d, err := w.c.Describe("b")
		wantErr(t, err, nil)
		if d.State != "Stable" || d.Protocol != "range" || len(d.Members) != 2 {
			t.Fatalf("described %+v", d)
		}
		m := d.Members[1]
		if m.MemberID != members[1].MemberID || m.ClientID != "client" ||
			m.ClientHost != "/127.0.0.1" || string(m.Assignment) != m.MemberID ||
			!slices.Equal(m.Metadata, subscription("orders")) {
			t.Errorf("described %+v", m)
		}
		w.join(joinRequest("b", members[0].MemberID))
		d, _ = w.c.Describe("b")
		if d.State != "PreparingRebalance" || d.Protocol != "" || d.Members[0].Metadata != nil {
			t.Errorf("described %+v", d)
		}
		got := w.c.Metrics()
		if got.Groups["Empty"] != 1 || got.Groups["PreparingRebalance"] != 1 ||
			got.Members != 2 || got.Offsets != 1 || got.Rebalances != 1 || got.Commits != 1 {
			t.Errorf("metrics %+v", got)
		}
	})
}

func TestGroupsAreBounded(t *testing.T) {
	inWorld(t, func(o *Options) { o.GroupsMax = 2 }, func(w *world) {
		w.mustCommit(commitRequest("a", 1))
		w.mustCommit(commitRequest("b", 1))
		wantErr(t, w.commit(commitRequest("c", 1)).get().Err, ErrLimit)
		wantErr(t, w.join(joinRequest("c", "")).get().Err, ErrLimit)
		w.mustCommit(commitRequest("a", 2))
	})
}

// everyRequest sends one of each and wants them all refused with want.
func everyRequest(w *world, want error) {
	w.t.Helper()
	t := w.t
	wantErr(t, w.join(joinRequest("g", "")).get().Err, want)
	wantErr(t, w.sync(SyncRequest{GroupID: "g"}).get().Err, want)
	wantErr(t, w.c.Heartbeat(HeartbeatRequest{GroupID: "g"}), want)
	wantErr(t, w.c.Leave(LeaveRequest{GroupID: "g"}).Err, want)
	wantErr(t, w.commit(commitRequest("g", 1)).get().Err, want)
	wantErr(t, w.c.Fetch(FetchRequest{GroupID: "g"}).Err, want)
	wantErr(t, deleteGroup(w, "g").get(), want)
	wantErr(t, w.c.ForgetTopic("orders", TopicID{}), want)
	c := newCall[CommitResponse](t)
	w.c.DeleteOffsets(DeleteOffsetsRequest{GroupID: "g"}, c.reply)
	wantErr(t, c.get().Err, want)
	_, err := w.c.List(ListFilter{})
	wantErr(t, err, want)
	_, err = w.c.Describe("g")
	wantErr(t, err, want)
}

// TestLoading: until the log is replayed every request is told to come back, and a
// shard that cannot be loaded is tried again.
func TestLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, clk: clock.NewManual(epoch), log: &memLog{}}
		gate := make(chan error)
		w.o = Options{Partitions: 1, Clock: w.clk, OpenLog: func(int32) (OffsetsLog, error) {
			return w.log, <-gate
		}}
		c, err := Open(w.o)
		wantErr(t, err, nil)
		w.c = c
		everyRequest(w, ErrCoordinatorLoading)
		gate <- errors.New("no such disk")
		w.settle()
		everyRequest(w, ErrCoordinatorNotAvailable)
		w.log.mu.replayErr = errors.New("unreadable")
		w.clk.Advance(loadRetryMin)
		gate <- nil
		w.settle()
		everyRequest(w, ErrCoordinatorNotAvailable)
		if w.c.Metrics().ShardsLoading != 1 {
			t.Error("the shard does not count as loading")
		}
		w.log.mu.replayErr = nil
		w.clk.Advance(2 * loadRetryMin)
		gate <- nil
		<-w.c.Ready()
		w.mustCommit(commitRequest("g", 1))
		w.close()
	})
}

// TestBadRecord: a shard does not serve half of its groups.
func TestBadRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, clk: clock.NewManual(epoch), log: &memLog{}}
		w.log.mu.records = []Record{
			{Key: []byte{0, 99, 1}, Value: []byte("a kind of a later version")},
			{Key: metadataKey("g"), Value: []byte{0, 3, 1}},
		}
		w.log.mu.durable = 2
		w.o = Options{
			Partitions: 1, Clock: w.clk,
			OpenLog: func(int32) (OffsetsLog, error) { return w.log, nil },
		}
		c, err := Open(w.o)
		wantErr(t, err, nil)
		w.c = c
		w.settle()
		err = w.c.Heartbeat(HeartbeatRequest{GroupID: "g"})
		wantErr(t, err, ErrCoordinatorNotAvailable)
		wantErr(t, err, errRecord)
		w.close()
	})
}

// TestClose answers whatever is parked, and everything after it.
func TestClose(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 2)
		a, b := w.join(joinRequest("h", "")), w.join(joinRequest("h", ""))
		w.advance(6 * time.Second)
		_ = a.get()
		parkedSync := w.sync(SyncRequest{
			GroupID: "h", MemberID: b.get().MemberID, Generation: 1,
		})
		parkedJoin := w.join(joinRequest("g", members[0].MemberID))
		w.log.set(true, nil, nil)
		var commits []*call[CommitResponse]
		for range 3 {
			commits = append(commits, w.commit(commitRequest("i", 1)))
		}
		w.close()
		wantErr(t, parkedSync.get().Err, ErrCoordinatorNotAvailable)
		wantErr(t, parkedJoin.get().Err, ErrCoordinatorNotAvailable)
		for _, c := range commits {
			wantErr(t, c.get().Err, ErrCoordinatorNotAvailable)
		}
		everyRequest(w, ErrCoordinatorNotAvailable)
		if n := w.clk.Armed(); n != 0 {
			t.Errorf("%d timers are armed", n)
		}
		w.advance(time.Hour)
	})
}

// TestManyShards: groups are spread and found again.
func TestManyShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logs := make([]memLog, 7)
		w := &world{t: t, clk: clock.NewManual(epoch)}
		w.o = Options{Partitions: 7, Clock: w.clk, OpenLog: func(p int32) (OffsetsLog, error) {
			return &logs[p], nil
		}}
		w.open()
		for i := range 100 {
			w.mustCommit(commitRequest(fmt.Sprint("group-", i), int64(i)))
		}
		w.restart()
		for i := range 100 {
			id := fmt.Sprint("group-", i)
			if got := w.offset(id, "orders", 0); got != int64(i) {
				t.Errorf("%s is at %d", id, got)
			}
			if len(logs[w.c.PartitionFor(id)].mu.records) == 0 {
				t.Errorf("%s is not in partition %d", id, w.c.PartitionFor(id))
			}
		}
		w.close()
	})
}

// TestMembersFindBackAfterRestart: they have a session timeout to be heard of.
func TestMembersFindBackAfterRestart(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 2)
		w.advance(session - time.Second)
		w.restart()
		w.advance(session - time.Second)
		wantErr(t, w.heartbeat("g", members[0]), nil)
		s := w.sync(SyncRequest{GroupID: "g", MemberID: members[0].MemberID, Generation: 1})
		if r := s.get(); r.Err != nil || string(r.Assignment) != members[0].MemberID {
			t.Errorf("got %+v", r)
		}
		w.advance(time.Second)
		wantErr(t, w.heartbeat("g", members[1]), ErrUnknownMember)
		wantErr(t, w.heartbeat("g", members[0]), ErrRebalanceInProgress)
	})
}

// TestSmallerLimitAfterRestart: a group above it has to gather anew.
func TestSmallerLimitAfterRestart(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		members := w.stable("g", 3)
		w.o.GroupMaxSize = 2
		w.restart()
		var calls []*call[JoinResponse]
		for _, m := range members {
			calls = append(calls, w.join(joinRequest("g", m.MemberID)))
		}
		wantErr(t, calls[2].get().Err, ErrGroupMaxSizeReached)
		for _, c := range calls[:2] {
			if r := c.get(); r.Err != nil || r.Generation != 2 {
				t.Errorf("got %+v", r)
			}
		}
	})
}
