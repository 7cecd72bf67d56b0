package timer

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// closedIndex returns a file system with an index of one entry, which was closed.
func closedIndex(t *testing.T) *vfs.Crash {
	t.Helper()
	crash := vfs.NewCrash(1)
	ix := openTestIndex(t, crash)
	one := &Change{Add: []Entry{entryAt(1, 1, 1)}, Applied: &Applied{}}
	if err := errors.Join(ix.Apply(1, one), ix.Close()); err != nil {
		t.Fatal(err)
	}
	return crash
}

// checkServes has an index take a change, closes it and finds the change again.
func checkServes(t *testing.T, ix *PebbleIndex, fs vfs.FS) {
	t.Helper()
	two := &Change{Add: []Entry{entryAt(2, 1, 2)}, Applied: &Applied{Staging: 2}}
	if err := errors.Join(ix.Apply(2, two), ix.Flush(), ix.Close()); err != nil {
		t.Fatal(err)
	}
	checkKept(t, fs)
}

func checkKept(t *testing.T, fs vfs.FS) {
	t.Helper()
	ix := openTestIndex(t, fs)
	if a, ok, err := ix.Load(2); !ok || err != nil || a.Staging != 2 {
		t.Fatalf("Load = %+v, %v, %v", a, ok, err)
	}
	if got := scanAll(t, ix, 2, minKey, 10); len(got) != 1 || got[0] != entryAt(2, 1, 2) {
		t.Fatalf("the index has %v", got)
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
}

// goroutineName is how a dump of all goroutines begins this one.
func goroutineName() string {
	p := make([]byte, 64)
	name, _, _ := strings.Cut(string(p[:runtime.Stack(p, false)]), "[")
	return name
}

func awaitEnd(name string) {
	p := make([]byte, 4<<20)
	for strings.Contains(string(p[:runtime.Stack(p, true)]), name) {
		runtime.Gosched()
	}
}

// stuckLogger returns a logger whose first error stops its goroutine, which then tells its name.
func stuckLogger(goOn <-chan struct{}) (*zap.Logger, <-chan string) {
	stuck := make(chan string, 1)
	var first sync.Once
	encoder := zapcore.NewJSONEncoder(zapcore.EncoderConfig{})
	core := zapcore.NewCore(encoder, zapcore.AddSync(io.Discard), zapcore.ErrorLevel)
	return zap.New(core, zap.Hooks(func(zapcore.Entry) error {
		first.Do(func() { stuck <- goroutineName(); <-goOn })
		return nil
	})), stuck
}

// TestAStuckOpeningHarmsNoOther stops a goroutine of a first opening where it reports that it has
// failed, in the midst of Pebble, lets the index be made anew and used, and lets the first go on.
func TestAStuckOpeningHarmsNoOther(t *testing.T) {
	closed := closedIndex(t)
	nth := 1
	for ; ; nth++ {
		faulty := vfs.NewFaulty(closed.CrashClone(1, nil))
		faulty.Add(vfs.Fault{Op: vfs.OpSyncDir, Glob: "index", Nth: nth, Times: 1, Err: errBroken})
		goOn := make(chan struct{})
		logger, stuck := stuckLogger(goOn)
		ix, err := OpenIndex(faulty, "/index", logger)
		if err != nil {
			t.Fatalf("sync %d: %v", nth, err)
		}
		_, ok, err := ix.Load(1)
		if ok || err != nil { // the opening is over before that sync
			_ = ix.Close()
			break
		}
		name := <-stuck
		checkServes(t, ix, faulty)
		before := faulty.Ops(vfs.OpAny)
		close(goOn)
		awaitEnd(name)
		if n := faulty.Ops(vfs.OpAny) - before; n != 0 {
			t.Fatalf("sync %d: the abandoned opening made %d operations in another's folder", nth, n)
		}
		checkKept(t, faulty)
	}
	if nth < 4 {
		t.Fatalf("only %d syncs of an opening failed", nth-1)
	}
}

// TestEverySyncOfAnOpeningMayFail fails each of an opening's syncs in turn. Some of these end a job
// for which the opening then waits for ever; the index must be made anew all the same.
func TestEverySyncOfAnOpeningMayFail(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSyncDir, vfs.OpSync} {
		closed := closedIndex(t)
		faulty := vfs.NewFaulty(closed.CrashClone(1, nil))
		if err := openTestIndex(t, faulty).Close(); err != nil {
			t.Fatal(err)
		}
		syncs := int(faulty.Ops(op))
		anew := 0
		for nth := 1; nth <= syncs; nth++ {
			faulty := vfs.NewFaulty(closed.CrashClone(1, nil))
			faulty.Add(vfs.Fault{Op: op, Nth: nth, Times: 1, Err: errBroken})
			ix, err := OpenIndex(faulty, "/index", nil)
			if errors.Is(err, errBroken) && strings.Contains(err.Error(), "parent") {
				continue // our own sync, before anything is opened
			}
			if err != nil {
				t.Fatalf("%v %d of %d: %v", op, nth, syncs, err)
			}
			_, ok, err := ix.Load(1)
			if err != nil {
				continue // of those after the opening
			}
			if !ok {
				anew++
			}
			faulty.Clear()
			checkServes(t, ix, faulty)
		}
		if anew == 0 {
			t.Errorf("none of %d syncs (%v) failed an opening", syncs, op)
		}
	}
}

// TestDamageMetByAnOpening flips bits in the index's tables. Pebble reads some of them in goroutines
// of its own while it opens, and may tell of the damage just when the opening succeeds.
func TestDamageMetByAnOpening(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	closed := closedIndex(t)
	names, err := closed.List("/index")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		data, err := closed.ReadFile("/index/" + name)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			at := rng.IntN(len(data))
			data[at] ^= 1
			what := fmt.Sprintf("seed %d: byte %d of %s", seed, at, name)
			crash := closed.CrashClone(1, nil)
			if err := crash.WriteFileAtomic("/index/"+name, data); err != nil {
				t.Fatal(err)
			}
			data[at] ^= 1
			ix, err := OpenIndex(crash, "/index", nil)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			// Met a moment later, the damage ends the index, and the next opening makes it anew.
			if err := ix.Close(); err != nil && !errors.Is(err, ErrIndex) {
				t.Fatalf("%s: %v", what, err)
			} else if err != nil {
				found++
			}
			ix, err = OpenIndex(crash, "/index", nil)
			if err != nil {
				t.Fatalf("%s, opened again: %v", what, err)
			}
			_ = ix.Close()
		}
	}
	t.Logf("%d times the damage was met after the opening", found)
}
