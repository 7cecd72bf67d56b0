package timer

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

func openTestIndex(t testing.TB, fs vfs.FS) *PebbleIndex {
	t.Helper()
	ix, err := OpenIndex(fs, "/index", nil)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

func entryAt(due UnixMs, epoch batch.LeaderEpoch, offset Offset) Entry {
	return Entry{
		Key:   Key{due, Position{epoch, offset, 0}},
		Delta: int32(offset % 7), At: int32(offset % 1000), Length: 50, Flags: EntryFlags(offset % 2),
	}
}

func scanAll(t testing.TB, ix Index, p PartitionNumber, from Key, limit int) (out []Entry) {
	t.Helper()
	err := ix.Scan(p, from, limit, func(e Entry) bool { out = append(out, e); return true })
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestKeysSortAsTheyCompare(t *testing.T) {
	keys := []Key{
		minKey,
		{-5, Position{-1, 7, 0}},
		{-5, Position{0, 7, 0}},
		{0, Position{0, 0, 0}},
		{0, Position{0, 0, 1}},
		{0, Position{0, 1, 0}},
		{0, Position{1, 0, 0}},
		{testNow, Position{1, 255, 0}},
		{testNow, Position{1, 256, 0}},
		{testNow + 1, Position{0, 0, 0}},
		maxKey,
	}
	encode := func(k Key) []byte {
		p := make([]byte, entryKeyBytes)
		putEntryKey(p, 3, k)
		return p
	}
	for i, k := range keys {
		if got := keyOf(encode(k)[spaceKeyBytes:]); got != k {
			t.Errorf("%v was read as %v", k, got)
		}
		for j, o := range keys {
			got := bytes.Compare(encode(k), encode(o))
			if got != k.Compare(o) || got != cmpInt(i, j) {
				t.Errorf("%v against %v: bytes say %d, Compare %d", k, o, got, k.Compare(o))
			}
		}
	}
}

func cmpInt(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestIndexKeepsPartitionsApart(t *testing.T) {
	ix := openTestIndex(t, vfs.NewCrash(1))
	defer ix.Close()
	partitions := []PartitionNumber{0, 1, 2, 255, 256, math.MaxUint64}
	for i, p := range partitions {
		a := Applied{
			Staging: Offset(i), Visible: 2, SettledTo: 3, Low: Key{4, Position{5, 6, 7}},
			Pending: 8, OwedFrom: 9,
		}
		change := &Change{Add: []Entry{entryAt(20, 1, Offset(i)), entryAt(10, 2, 100)}, Applied: &a}
		if err := ix.Apply(p, change); err != nil {
			t.Fatal(err)
		}
	}
	if err := ix.Drop(1); err != nil {
		t.Fatal(err)
	}
	for i, p := range partitions {
		got := scanAll(t, ix, p, minKey, 100)
		a, ok, err := ix.Load(p)
		if p == 1 {
			if len(got) != 0 || ok || err != nil {
				t.Fatalf("dropped partition has %v, %v, %v", got, ok, err)
			}
			continue
		}
		want := []Entry{entryAt(10, 2, 100), entryAt(20, 1, Offset(i))}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("partition %d has %v, want %v", p, got, want)
		}
		if !ok || err != nil || a.Staging != Offset(i) || a.Low != (Key{4, Position{5, 6, 7}}) ||
			a.Visible != 2 || a.SettledTo != 3 || a.Pending != 8 || a.OwedFrom != 9 {
			t.Fatalf("partition %d: applied %+v, %v, %v", p, a, ok, err)
		}
		if got := scanAll(t, ix, p, want[1].Key, 100); len(got) != 1 || got[0] != want[1] {
			t.Fatalf("from the second entry: %v", got)
		}
		if got := scanAll(t, ix, p, minKey, 1); len(got) != 1 {
			t.Fatalf("limit 1: %v", got)
		}
		_, has, err := ix.Get(p, want[0].Key)
		_, hasNot, err2 := ix.Get(p, Key{10, Position{2, 101, 0}})
		if !has || hasNot || err != nil || err2 != nil {
			t.Fatalf("has %v %v, %v %v", has, hasNot, err, err2)
		}
	}
}

func TestIndexRemoves(t *testing.T) {
	ix := openTestIndex(t, vfs.NewCrash(1))
	defer ix.Close()
	var all []Entry
	for i := range 100 {
		all = append(all, entryAt(UnixMs(i), 1, Offset(i)))
	}
	for _, c := range []*Change{
		{Add: all},
		{Remove: []Key{all[50].Key, all[70].Key}},
		{
			RemoveFrom: all[10].Key, RemoveTo: all[40].Key,
			Remove: []Key{all[99].Key}, Add: all[20:21],
		},
	} {
		if err := ix.Apply(1, c); err != nil {
			t.Fatal(err)
		}
	}
	want := slices.Concat(all[:10], all[20:21], all[40:50], all[51:70], all[71:99])
	if got := scanAll(t, ix, 1, minKey, 1000); !slices.Equal(got, want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
}

// After a power cut the index is as it was after some change, and Applied says which.
func TestIndexSurvivesAsAPrefix(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		crash := vfs.NewCrash(seed)
		ix := openTestIndex(t, crash)
		flushed := -1
		for i := range 200 {
			a := Applied{Staging: Offset(i)}
			c := &Change{Add: []Entry{entryAt(UnixMs(rng.IntN(50)), 1, Offset(i))}, Applied: &a}
			if err := ix.Apply(1, c); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(60) == 0 {
				if err := ix.Flush(); err != nil {
					t.Fatal(err)
				}
				flushed = i
			}
		}
		ix = openTestIndex(t, crash.Crash(rng.Float64(), rng))
		got := scanAll(t, ix, 1, minKey, 1000)
		a, ok, err := ix.Load(1)
		if err != nil || (!ok && len(got) > 0) || (ok && len(got) != int(a.Staging)+1) {
			t.Fatalf("seed %d: %d entries, applied %+v %v %v", seed, len(got), a, ok, err)
		}
		if flushed >= 0 && (!ok || int(a.Staging) < flushed) {
			t.Fatalf("seed %d: applied %+v %v after a flush of %d", seed, a, ok, flushed)
		}
		if err := ix.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADamagedIndexIsWiped(t *testing.T) {
	damage := map[string]func(f *vfs.Crash, names []string) error{
		"every file cut": func(f *vfs.Crash, names []string) error {
			for _, name := range names {
				if name == "LOCK" {
					continue
				}
				if err := f.WriteFileAtomic("/index/"+name, []byte("not what it was")); err != nil {
					return err
				}
			}
			return nil
		},
		"note": func(f *vfs.Crash, _ []string) error {
			return f.WriteFileAtomic("/index/"+rebuildNote, nil)
		},
	}
	for name, spoil := range damage {
		t.Run(name, func(t *testing.T) {
			crash := vfs.NewCrash(1)
			ix := openTestIndex(t, crash)
			c := &Change{Add: []Entry{entryAt(1, 1, 1)}, Applied: &Applied{}}
			if err := errors.Join(ix.Apply(1, c), ix.Close()); err != nil {
				t.Fatal(err)
			}
			names, err := crash.List("/index")
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(crash, names); err != nil {
				t.Fatal(err)
			}
			ix = openTestIndex(t, crash)
			if _, ok, err := ix.Load(1); ok || err != nil {
				t.Fatalf("Load = %v, %v", ok, err)
			}
			if _, err := crash.Stat("/index/" + rebuildNote); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("the note is still there: %v", err)
			}
			if err := errors.Join(ix.Apply(1, c), ix.Close()); err != nil {
				t.Fatal(err)
			}
			ix = openTestIndex(t, crash)
			defer ix.Close()
			if _, ok, err := ix.Load(1); !ok || err != nil {
				t.Fatalf("the new index did not last: %v, %v", ok, err)
			}
		})
	}
}

func TestASyncErrorEndsTheIndex(t *testing.T) {
	crash := vfs.NewCrash(1)
	faulty := vfs.NewFaulty(crash)
	ix := openTestIndex(t, faulty)
	faulty.Add(vfs.Fault{Op: vfs.OpSync, Glob: "*.sst", Err: errBroken})
	one := &Change{Add: []Entry{entryAt(1, 1, 1)}, Applied: &Applied{}}
	if err := ix.Apply(1, one); err != nil {
		t.Fatal(err)
	}
	if err := ix.Flush(); !errors.Is(err, ErrIndex) || !errors.Is(err, errBroken) {
		t.Fatalf("Flush: %v", err)
	}
	<-ix.Failed()
	if err := ix.Apply(1, &Change{}); !errors.Is(err, errBroken) {
		t.Fatalf("Apply afterwards: %v", err)
	}
	if err := ix.Close(); !errors.Is(err, errBroken) {
		t.Fatalf("Close: %v", err)
	}
	faulty.Clear()
	ix = openTestIndex(t, crash.Crash(0, nil))
	if _, ok, err := ix.Load(1); ok || err != nil {
		t.Fatalf("what was never durable is there: %v, %v", ok, err)
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
}

// A full disk makes the index wait, and go on when there is space.
func TestTheIndexWaitsForSpace(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewCrash(1))
	ix := openTestIndex(t, faulty)
	var add []Entry
	for i := range 1000 {
		add = append(add, entryAt(UnixMs(i), 1, Offset(i)))
	}
	if err := ix.Apply(1, &Change{Add: add, Applied: &Applied{}}); err != nil {
		t.Fatal(err)
	}
	met := make(chan struct{})
	faulty.SetFree(100)
	faulty.Add(vfs.Fault{Op: vfs.OpWrite, Nth: 3, Times: 1, Before: func(string) { close(met) }})
	flushed := make(chan error, 1)
	// Stopped by its own end, waited for below.
	go func() { flushed <- ix.Flush() }()
	<-met
	select {
	case err := <-flushed:
		t.Fatalf("Flush on a full disk: %v", err)
	default:
	}
	faulty.SetFree(-1)
	if err := <-flushed; err != nil {
		t.Fatal(err)
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskDoesNotHoldUpClose(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewCrash(1))
	ix := openTestIndex(t, faulty)
	one := &Change{Add: []Entry{entryAt(1, 1, 1)}, Applied: &Applied{}}
	if err := ix.Apply(1, one); err != nil {
		t.Fatal(err)
	}
	faulty.SetFree(0)
	if err := ix.Close(); !vfs.IsNoSpace(err) {
		t.Fatalf("Close on a full disk: %v", err)
	}
}

func TestIndexFullDiskAtOpenIsAnError(t *testing.T) {
	faulty := vfs.NewFaulty(vfs.NewCrash(1))
	faulty.SetFree(0)
	if _, err := OpenIndex(faulty, "/index", nil); !vfs.IsNoSpace(err) {
		t.Fatalf("err = %v", err)
	}
}

// TestCompactionsKeepUp flushes after every change: if one compaction is lost, the files on the
// first level reach Pebble's limit and the next flush waits for ever.
func TestCompactionsKeepUp(t *testing.T) {
	ix, err := OpenIndex(vfs.NewCrash(1), "/index", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		c := Change{Add: []Entry{{Key: Key{Due: UnixMs(i * 7919 % 400)}}}}
		if err := ix.Apply(1, &c); err != nil {
			t.Fatal(err)
		}
		if err := ix.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := ix.Close(); err != nil {
		t.Fatal(err)
	}
}
