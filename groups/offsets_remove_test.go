package groups

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// TestRetention says when an offset and its group are gone.
func TestRetention(t *testing.T) {
	member := func(w *world) {
		m := w.stable("g", 1)[0]
		r := commitRequest("g", 1)
		r.MemberID, r.Generation = m.MemberID, m.Generation
		w.mustCommit(r)
	}
	tests := map[string]struct {
		story func(w *world)
		lives time.Duration // after the story, at least; a check later it must be gone
	}{
		"simple commit": {func(w *world) { w.mustCommit(commitRequest("g", 1)) }, 7 * day},
		"retention of its own": {func(w *world) {
			r := commitRequest("g", 1)
			r.RetentionMs = time.Hour.Milliseconds()
			w.mustCommit(r)
		}, time.Hour},
		"from the last member on": {func(w *world) {
			member(w)
			w.advance(session)
		}, 7 * day},
		"from a commit after that": {func(w *world) {
			member(w)
			w.advance(session)
			w.advance(6 * day)
			w.mustCommit(commitRequest("g", 2))
		}, 7 * day},
	}
	for name, tt := range tests {
		for _, restarts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", name, restarts), func(t *testing.T) {
				inWorld(t, nil, func(w *world) {
					tt.story(w)
					if restarts {
						w.restart()
					}
					w.advance(tt.lives - time.Second)
					if w.offset("g", "orders", 0) == -1 {
						t.Fatal("gone too early")
					}
					w.advance(2*OffsetRetentionCheckDefault + time.Second)
					if w.offset("g", "orders", 0) != -1 {
						t.Fatal("still there")
					}
					if m := w.c.Metrics(); m.ExpiredOffsets != 1 {
						t.Errorf("counted %d", m.ExpiredOffsets)
					}
					if all, _ := w.c.List(ListFilter{}); len(all) != 0 {
						t.Errorf("groups are left: %+v", all)
					}
					w.restart()
					if all, _ := w.c.List(ListFilter{}); len(all) != 0 {
						t.Errorf("groups are back: %+v", all)
					}
				})
			})
		}
	}
}

// TestRetentionSparesWhatIsConsumed: an offset of a subscribed topic stays for as long
// as the group is there, that of another topic does not.
func TestRetentionSparesWhatIsConsumed(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		m := w.stable("g", 1)[0]
		r := commitRequest("g", 1)
		r.MemberID, r.Generation = m.MemberID, m.Generation
		r.Topics = append(r.Topics, CommitTopic{
			Topic: "left", Partitions: []CommitPartition{{Offset: 2}},
		})
		w.mustCommit(r)
		for range 8 * 24 * 60 * 60 / 9 {
			w.clk.Advance(9 * time.Second)
			wantErr(t, w.heartbeat("g", m), nil)
		}
		w.settle()
		if got := w.offset("g", "orders", 0); got != 1 {
			t.Errorf("the offset of a consumed topic is %d", got)
		}
		if got := w.offset("g", "left", 0); got != -1 {
			t.Errorf("the offset of a topic left is %d", got)
		}
	})
}

// TestRetentionSparesWhatIsBeingCommitted: the old offset is over its time, the new one
// is on its way to the disk.
func TestRetentionSparesWhatIsBeingCommitted(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.mustCommit(commitRequest("g", 1))
		w.advance(7*day - time.Second)
		w.log.set(true, nil, nil)
		c := w.commit(commitRequest("g", 2))
		w.advance(2 * OffsetRetentionCheckDefault)
		w.log.set(false, nil, nil)
		wantErr(t, c.get().Err, nil)
		for range 2 {
			if got := w.offset("g", "orders", 0); got != 2 {
				t.Fatalf("offset is %d", got)
			}
			w.restart()
		}
	})
}

// TestEmptyGroupWithoutOffsetsGoes at the next check.
func TestEmptyGroupWithoutOffsetsGoes(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.stable("g", 1)
		w.advance(session)
		w.wantState("g", Empty)
		w.advance(OffsetRetentionCheckDefault)
		_, err := w.c.Describe("g")
		wantErr(t, err, ErrGroupNotFound)
		w.advance(OffsetRetentionCheckDefault)
		if n := w.clk.Armed(); n != 0 {
			t.Errorf("%d timers are armed without a group", n)
		}
	})
}

func deleteGroup(w *world, id string) *call[error] {
	c := newCall[error](w.t)
	w.c.DeleteGroup(id, c.reply)
	w.settle()
	return c
}

func TestDeleteGroup(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		wantErr(t, deleteGroup(w, "g").get(), ErrGroupNotFound)
		w.stable("g", 1)
		wantErr(t, deleteGroup(w, "g").get(), ErrNonEmptyGroup)
		w.advance(session)
		w.mustCommit(commitRequest("g", 1))

		w.log.set(true, nil, nil)
		late := w.commit(commitRequest("g", 2))
		c := deleteGroup(w, "g")
		c.wantParked()
		w.wantState("g", Dead)
		wantErr(t, deleteGroup(w, "g").get(), ErrGroupNotFound)
		wantErr(t, w.join(joinRequest("g", "")).get().Err, ErrCoordinatorNotAvailable)
		wantErr(t, w.commit(commitRequest("g", 3)).get().Err, ErrCoordinatorNotAvailable)
		w.log.set(false, nil, nil)
		wantErr(t, late.get().Err, nil)
		wantErr(t, c.get(), nil)
		for range 2 {
			if got := w.offset("g", "orders", 0); got != -1 {
				t.Errorf("offset is %d", got)
			}
			_, err := w.c.Describe("g")
			wantErr(t, err, ErrGroupNotFound)
			w.restart()
		}
		w.mustCommit(commitRequest("g", 4)) // the name is free again
	})
}

func TestDeleteGroupThatCannotBeStored(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.mustCommit(commitRequest("g", 1))
		w.log.set(false, errors.New("disk is gone"), nil)
		wantErr(t, deleteGroup(w, "g").get(), ErrCoordinatorNotAvailable)
		w.wantState("g", Empty)
		if got := w.offset("g", "orders", 0); got != 1 {
			t.Errorf("offset is %d", got)
		}
	})
}

// TestDeleteOvertakesNothing: the record of the group is still on its way to the disk.
func TestDeleteOvertakesNothing(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.log.set(true, nil, nil)
		w.join(joinRequest("g", ""))
		w.advance(3 * time.Second)
		w.advance(session) // the first record of the group says that it is empty
		w.wantState("g", Empty)
		c := deleteGroup(w, "g")
		w.log.set(false, nil, nil)
		wantErr(t, c.get(), nil)
		w.restart()
		_, err := w.c.Describe("g")
		wantErr(t, err, ErrGroupNotFound)
	})
}

// TestDeleteLargeGroup needs several appends for its tombstones.
func TestDeleteLargeGroup(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		name := strings.Repeat("n", 20_000)
		for i := range 10 {
			r := commitRequest(name, 1)
			r.Topics[0].Partitions = nil
			for p := range int32(10) {
				r.Topics[0].Partitions = append(r.Topics[0].Partitions,
					CommitPartition{Partition: int32(i)*10 + p, Offset: 1})
			}
			w.mustCommit(r)
		}
		if m := w.c.Metrics(); m.Offsets != 100 {
			t.Fatalf("%d offsets", m.Offsets)
		}
		wantErr(t, deleteGroup(w, name).get(), nil)
		if m := w.c.Metrics(); m.Offsets != 0 {
			t.Fatalf("%d offsets are left", m.Offsets)
		}
		w.restart()
		if m := w.c.Metrics(); m.Offsets != 0 {
			t.Fatalf("%d offsets are back", m.Offsets)
		}
	})
}

func TestDeleteOffsets(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		del := func(group string) CommitResponse {
			c := newCall[CommitResponse](w.t)
			w.c.DeleteOffsets(DeleteOffsetsRequest{GroupID: group, Topics: []FetchTopic{
				{Topic: "orders", Partitions: []int32{0}},
				{Topic: "left", Partitions: []int32{0, 5}},
			}}, c.reply)
			return c.get()
		}
		wantErr(t, del("g").Err, ErrGroupNotFound)
		m := w.stable("g", 1)[0]
		r := commitRequest("g", 1)
		r.MemberID, r.Generation = m.MemberID, m.Generation
		r.Topics = append(r.Topics, CommitTopic{
			Topic: "left", Partitions: []CommitPartition{{Offset: 2}},
		})
		w.mustCommit(r)
		resp := del("g")
		wantErr(t, resp.Err, nil)
		wantErr(t, resp.Topics[0].Partitions[0].Err, ErrGroupSubscribed)
		wantErr(t, resp.Topics[1].Partitions[0].Err, nil)
		wantErr(t, resp.Topics[1].Partitions[1].Err, nil)
		if a, b := w.offset("g", "orders", 0), w.offset("g", "left", 0); a != 1 || b != -1 {
			t.Errorf("offsets are %d and %d", a, b)
		}
		w.advance(session)
		wantErr(t, del("g").Topics[0].Partitions[0].Err, nil)
		if a := w.offset("g", "orders", 0); a != -1 {
			t.Errorf("offset is %d", a)
		}
	})
}

func TestDeleteOffsetsOfAnotherKindOfGroup(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r := joinRequest("g", "")
		r.ProtocolType = "connect"
		w.join(r)
		c := newCall[CommitResponse](w.t)
		w.c.DeleteOffsets(DeleteOffsetsRequest{GroupID: "g"}, c.reply)
		wantErr(t, c.get().Err, ErrNonEmptyGroup)
	})
}

func TestForgetTopic(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		r := commitRequest("g", 1)
		r.Topics[0].TopicID = TopicID{1}
		r.Topics = append(r.Topics, CommitTopic{
			Topic: "other", Partitions: []CommitPartition{{Offset: 2}},
		})
		w.mustCommit(r)
		wantErr(t, w.c.ForgetTopic("orders", TopicID{2}), nil)
		w.settle()
		if got := w.offset("g", "orders", 0); got != 1 {
			t.Errorf("the topic is another one, offset is %d", got)
		}
		wantErr(t, w.c.ForgetTopic("orders", TopicID{1}), nil)
		w.settle()
		w.restart()
		if a, b := w.offset("g", "orders", 0), w.offset("g", "other", 0); a != -1 || b != 2 {
			t.Errorf("offsets are %d and %d", a, b)
		}
	})
}
