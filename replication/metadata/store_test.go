package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

func openStore(t *testing.T, fs vfs.FS) *Store {
	t.Helper()
	s, err := OpenStore(StoreOptions{
		FS: fs, Dir: "/meta", Clock: clock.NewManual(time.UnixMilli(1000)), Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	return s
}

// TestProposedSurvivesPowerLoss cuts the power after random commands: what Propose returned is
// there.
func TestProposedSurvivesPowerLoss(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewCrash(seed)
	s := openStore(t, fs)
	var next int64
	names := map[string]bool{}
	for i := range 60 {
		if rng.IntN(5) == 0 {
			fs = fs.Crash(rng.Float64(), rng)
			s = openStore(t, fs)
		}
		r, err := s.Propose(Command{TakeIDs: &TakeIDs{Count: 3}})
		if err != nil {
			t.Fatal(err)
		}
		if int64(r.FirstID) < next {
			t.Fatalf("producer ids from %d were handed out twice", r.FirstID)
		}
		next = int64(r.LastIDPlus)
		name := fmt.Sprintf("t%d", i)
		if _, err := s.Propose(create(name, 1, nil)); err != nil {
			t.Fatal(err)
		}
		names[name] = true
		for name := range names {
			if s.Image().Topic(name) == nil {
				t.Fatalf("topic %s was acknowledged and is gone", name)
			}
		}
	}
}

// TestSnapshotBoundsTheLog writes past a snapshot and opens again with and without a clean stop.
func TestSnapshotBoundsTheLog(t *testing.T) {
	fs := vfs.NewCrash(1)
	s := openStore(t, fs)
	if _, err := s.Propose(create("kept", 3, map[string]string{ConfigRetentionMs: "77"})); err != nil {
		t.Fatal(err)
	}
	for range SnapshotEvery + 5 {
		if _, err := s.Propose(Command{TakeIDs: &TakeIDs{Count: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if s.mu.log.Start() == 0 {
		t.Fatal("the log was not cut after a snapshot")
	}
	want := s.Image().nextProducerID
	for _, clean := range []bool{false, true} {
		if clean {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		fs = fs.Crash(0, rand.New(rand.NewPCG(1, 1)))
		s = openStore(t, fs)
		kept := s.Image().Topic("kept")
		if s.Image().nextProducerID != want || kept == nil || kept.Config.RetentionMs != 77 {
			t.Fatalf("after a restart (clean %v) the state is %+v", clean, s.Image())
		}
	}
}

// TestDamagedSnapshotIsRefused flips each byte of a snapshot in turn: none may pass for another
// state.
func TestDamagedSnapshotIsRefused(t *testing.T) {
	whole, err := encodeSnapshot(snapshot{Applied: 1234, ClusterID: "c", NextProducerID: 5000})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := decodeSnapshot(whole); err != nil || s.NextProducerID != 5000 {
		t.Fatalf("a whole snapshot reads as %+v, %v", s, err)
	}
	for i := range whole {
		p := bytes.Clone(whole)
		p[i] ^= 1
		if s, err := decodeSnapshot(p); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatalf("with byte %d flipped it reads as %+v, %v", i, s, err)
		}
		if _, err := decodeSnapshot(whole[:i]); !errors.Is(err, ErrCorruptSnapshot) {
			t.Fatalf("cut at byte %d it reads as whole: %v", i, err)
		}
	}
}
