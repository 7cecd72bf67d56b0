package vfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// quietLogger keeps Pebble's narration out of the test and turns its way out of the process into
// a failure.
type quietLogger struct{ t *testing.T }

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}

func (l quietLogger) Fatalf(format string, args ...any) {
	l.t.Errorf("pebble gives up: "+format, args...)
}

// openPebble opens a database that flushes and compacts often.
func openPebble(t *testing.T, fsys FS, name string) *pebble.DB {
	t.Helper()
	db, err := pebble.Open(name, &pebble.Options{
		FS: fsys, Logger: quietLogger{t}, MemTableSize: 32 << 10, MaxManifestFileSize: 4 << 10,
		L0CompactionThreshold: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func pebbleKey(i int) []byte { return fmt.Appendf(nil, "key-%06d", i) }

// survivors returns how many keys from 0 on the database has. A key behind a missing one, or a
// wrong value, fails the test.
func survivors(t *testing.T, db *pebble.DB, written int) int {
	t.Helper()
	have := written
	for i := range written {
		value, closer, err := db.Get(pebbleKey(i))
		switch {
		case errors.Is(err, pebble.ErrNotFound):
			have = min(have, i)
			continue
		case err != nil:
			t.Fatal(err)
		case i > have:
			t.Errorf("key %d survived and key %d did not", i, have)
		case string(value[:6]) != string(pebbleKey(i)[4:]):
			t.Errorf("key %d has value %q", i, value[:6])
		}
		must(t, closer.Close())
	}
	return have
}

func writePebbleKey(t *testing.T, db *pebble.DB, i int, opts *pebble.WriteOptions) {
	t.Helper()
	value := make([]byte, 400)
	copy(value, pebbleKey(i)[4:])
	must(t, db.Set(pebbleKey(i), value, opts))
}

// writePebble writes n more keys, syncs now and then, and returns how many are synced.
func writePebble(t *testing.T, db *pebble.DB, rng *rand.Rand, from, n int) (synced int) {
	t.Helper()
	synced = from
	for i := from; i < from+n; i++ {
		opts := pebble.NoSync
		if rng.IntN(4) == 0 {
			opts = pebble.Sync
		}
		writePebbleKey(t, db, i, opts)
		if opts.Sync {
			synced = i + 1
		}
	}
	return synced
}

// TestPebbleOnEveryFS closes and reopens a database, and finds it locked in between.
func TestPebbleOnEveryFS(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := fsys.PathJoin(dir, "index")
		db := openPebble(t, fsys, name)
		writePebble(t, db, rand.New(rand.NewPCG(1, 1)), 0, 500)
		opts := &pebble.Options{FS: fsys, Logger: quietLogger{t}}
		if _, err := pebble.Open(name, opts); !errors.Is(err, ErrLocked) {
			t.Errorf("opened twice: %v", err)
		}
		must(t, db.Close())
		db = openPebble(t, fsys, name)
		if keys := survivors(t, db, 500); keys != 500 {
			t.Errorf("%d keys of 500", keys)
		}
		must(t, db.Close())
	})
}

// TestPebbleSurvivesCrashes runs Pebble through several power cuts in a row: what was synced is
// there, and what was not is there up to some point.
func TestPebbleSurvivesCrashes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	lost := 0
	for run := range uint64(25) {
		rng := rand.New(rand.NewPCG(seed, run))
		fsys := NewCrash(rng.Uint64())
		keys := 0
		for range 4 {
			db := openPebble(t, fsys, "/data/index")
			written := keys + 50 + rng.IntN(300)
			synced := max(keys, writePebble(t, db, rng, keys, written-keys))
			after := fsys.CrashClone([]float64{0, 0.5, 0.9, 1}[rng.IntN(4)], rng)
			must(t, db.Close()) // of the file system that we leave
			db = openPebble(t, after, "/data/index")
			keys = survivors(t, db, written)
			if keys < synced {
				t.Fatalf("seed %d, run %d: %d keys survived, %d were synced",
					seed, run, keys, synced)
			}
			lost += written - keys
			must(t, db.Close())
			fsys = after
		}
		if t.Failed() {
			t.Fatalf("seed %d, run %d", seed, run)
		}
	}
	if lost == 0 {
		t.Error("no cut ever lost an unsynced key: the cuts do nothing")
	}
}

// TestPebbleCrashesAtEachSync cuts the power just before each sync of a short history, among them
// those of opening, flushing and changing manifests.
func TestPebbleCrashesAtEachSync(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	type cut struct {
		path   string
		synced int64 // keys whose sync had returned before
		after  *Crash
	}
	const cutsMax = 2000 // bounds the syncs of the history
	cuts := make(chan cut, cutsMax)
	var synced atomic.Int64
	fsys := NewCrash(seed)
	fsys.OnSync = func(path string, n int) {
		before := synced.Load()
		keep := []float64{0, 0.5, 1}[n%3]
		after := fsys.CrashClone(keep, rand.New(rand.NewPCG(seed, uint64(n))))
		select {
		case cuts <- cut{path, before, after}:
		default:
			t.Error("too many syncs")
		}
	}
	db := openPebble(t, fsys, "/data/index")
	written := 0
	for range 40 {
		writePebble(t, db, rng, written, 9)
		written += 10
		writePebbleKey(t, db, written-1, pebble.Sync)
		synced.Store(int64(written))
	}
	must(t, db.Close())
	close(cuts)
	for c := range cuts {
		again := openPebble(t, c.after, "/data/index")
		if keys := survivors(t, again, written); int64(keys) < c.synced {
			t.Fatalf("seed %d: cut at the sync of %s leaves %d keys of %d",
				seed, c.path, keys, c.synced)
		}
		must(t, again.Close())
	}
}
