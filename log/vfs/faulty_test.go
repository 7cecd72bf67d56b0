package vfs

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// eachOp runs one operation of every kind and returns the errors by kind.
func eachOp(fsys FS, dir string) map[Op]error {
	at := func(name string) string { return fsys.PathJoin(dir, name) }
	errs := make(map[Op]error)
	f, err := fsys.OpenLog(at("log"))
	errs[OpOpen] = err
	if err == nil {
		_, errs[OpWrite] = f.WriteAt([]byte("abc"), 0)
		_, errs[OpRead] = f.ReadAt(make([]byte, 2), 0)
		errs[OpAllocate] = f.Allocate(0, 100)
		errs[OpTruncate] = f.Truncate(2)
		errs[OpSync] = f.SyncData()
		_, errs[OpStat] = f.Size()
		_ = f.Close()
	}
	made, err := fsys.Create(at("made"), "")
	errs[OpCreate] = err
	if err == nil {
		_ = made.Close()
	}
	errs[OpSyncDir] = fsys.SyncDir(dir)
	errs[OpRename] = fsys.Rename(at("made"), at("renamed"))
	errs[OpLink] = fsys.Link(at("renamed"), at("linked"))
	errs[OpRemove] = fsys.Remove(at("linked"))
	errs[OpMkdir] = fsys.MkdirAll(at("sub"), 0o755)
	_, errs[OpList] = fsys.List(dir)
	lock, err := fsys.Lock(at("lock"))
	errs[OpLock] = err
	if err == nil {
		_ = lock.Close()
	}
	return errs
}

func TestEachKindCanFail(t *testing.T) {
	for op := OpOpen; op < opCount; op++ {
		t.Run(op.String(), func(t *testing.T) {
			c := NewCrash(1)
			dir := newDir(t, c)
			f := NewFaulty(c)
			for got, err := range eachOp(f, dir) {
				if err != nil {
					t.Fatalf("without a fault, %v fails: %v", got, err)
				}
			}
			f.Add(Fault{Op: op, Err: ErrIO})
			must(t, c.RemoveAll(dir+"/linked"))
			for got, err := range eachOp(f, dir) {
				if got == op && !errors.Is(err, ErrIO) {
					t.Errorf("%v returned %v, want EIO", got, err)
				}
				if got != op && errors.Is(err, ErrIO) && op != OpOpen {
					t.Errorf("a fault of %v hit %v: %v", op, got, err)
				}
			}
			if f.Ops(op) < 2 || f.Stats().Injected == 0 {
				t.Errorf("%d operations counted, %d injected", f.Ops(op), f.Stats().Injected)
			}
			f.Clear()
			must(t, c.RemoveAll(dir+"/linked"))
			for got, err := range eachOp(f, dir) {
				if err != nil {
					t.Errorf("after Clear, %v fails: %v", got, err)
				}
			}
		})
	}
}

func TestFaultSelection(t *testing.T) {
	tests := []struct {
		name  string
		fault Fault
		want  string // of five syncs of /d/a.log, then five of /d/b.log; x fails
	}{
		{"all", Fault{Op: OpSync, Err: ErrIO}, "xxxxx xxxxx"},
		{"any kind", Fault{Glob: "a.*", Err: ErrIO}, "xxxxx ....."},
		{"other kind", Fault{Op: OpRead, Err: ErrIO}, "..... ....."},
		{"third", Fault{Op: OpSync, Nth: 3, Times: 1, Err: ErrIO}, "..x.. ....."},
		{"from the fourth", Fault{Op: OpSync, Nth: 4, Err: ErrIO}, "...xx xxxxx"},
		{
			"second and third of b",
			Fault{Op: OpSync, Glob: "b.log", Nth: 2, Times: 2, Err: ErrIO},
			"..... .xx..",
		},
		{"whole path", Fault{Op: OpSync, Glob: "/d/a*", Err: ErrIO}, "xxxxx ....."},
		{"another path", Fault{Op: OpSync, Glob: "/e/*", Err: ErrIO}, "..... ....."},
		{"nothing but time", Fault{Op: OpSync, Latency: time.Hour}, "..... ....."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := NewFaulty(NewCrash(1))
			f.Sleep = func(time.Duration) {}
			must(t, f.MkdirAll("/d", 0o755))
			a, b := openLog(t, f, "/d/a.log"), openLog(t, f, "/d/b.log")
			f.Add(tt.fault)
			var got strings.Builder
			for i := range 10 {
				if i == 5 {
					got.WriteByte(' ')
				}
				if err := []LogFile{a, b}[i/5].Sync(); err == nil {
					got.WriteByte('.')
				} else {
					got.WriteByte('x')
				}
			}
			if got.String() != tt.want {
				t.Errorf("got %s, want %s", &got, tt.want)
			}
		})
	}
}

// TestFailedSyncLosesForGood is the trap of Linux: the second fsync succeeds, and the bytes of the
// first are gone.
func TestFailedSyncLosesForGood(t *testing.T) {
	c := NewCrash(1)
	f := NewFaulty(NewFaulty(c), Fault{Op: OpSync, Nth: 2, Times: 1, Err: ErrIO})
	log := openLog(t, f, "/a")
	must(t, c.SyncDir("/"))
	writeAt(t, log, "one", 0)
	must(t, log.SyncData())
	writeAt(t, log, "TWO", 8192) // in another page than the rest
	if err := log.SyncData(); !errors.Is(err, ErrIO) {
		t.Fatalf("the second sync returned %v, want EIO", err)
	}
	writeAt(t, log, "three", 16384)
	must(t, log.SyncData())
	if got := contentOf(t, f, "/a"); got[8192:8195] != "TWO" {
		t.Errorf("the running process reads %q", got[8192:8195])
	}
	left := contentOf(t, c.CrashClone(1, nil), "/a")
	if left[:3] != "one" || left[8192:8195] != "\x00\x00\x00" || left[16384:] != "three" {
		t.Errorf("a power cut leaves %q, %q, %q", left[:3], left[8192:8195], left[16384:])
	}
	want := Stats{BytesRead: 16389, BytesWritten: 11, Syncs: 2, Injected: 1}
	if got := f.Stats(); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
}

func TestLatencyAndHook(t *testing.T) {
	var events []string
	f := NewFaulty(NewCrash(1), Fault{
		Op: OpWrite, Latency: 3 * time.Second,
		Before: func(path string) { events = append(events, path) },
	})
	f.Sleep = func(d time.Duration) { events = append(events, d.String()) }
	log := openLog(t, f, "a")
	writeAt(t, log, "x", 0)
	must(t, log.Sync())
	if want := []string{"/a", "3s"}; !slices.Equal(events, want) {
		t.Errorf("events %q, want %q", events, want)
	}
}

func TestPartialWrite(t *testing.T) {
	f := NewFaulty(NewCrash(1), Fault{Op: OpWrite, Nth: 2, Err: ErrIO, Written: 2})
	log := openLog(t, f, "/a")
	writeAt(t, log, "abc", 0)
	if n, err := log.WriteAt([]byte("def"), 3); n != 2 || !errors.Is(err, ErrIO) {
		t.Errorf("WriteAt = %d, %v, want 2, EIO", n, err)
	}
	if got := contentOf(t, f, "/a"); got != "abcde" {
		t.Errorf("content %q", got)
	}
}

func TestFreeSpace(t *testing.T) {
	steps := []struct {
		name string
		do   func(f *Faulty, log LogFile) error
		full bool
		free uint64 // afterwards
	}{
		{"append", writing("12345678", 0), false, 2},
		{"append too much", writing("abcd", 8), true, 0},
		{"overwrite", writing("ABCDEFGHIJ", 0), false, 0},
		{"overwrite and one byte more", writing("ABCDEFGHIJK", 0), true, 0},
		{"cut", func(_ *Faulty, log LogFile) error { return log.Truncate(4) }, false, 6},
		{"a hole is free", writing("xy", 100), false, 4},
		{"raise", func(f *Faulty, _ LogFile) error { f.AddFree(3); return nil }, false, 7},
		{"a small file", func(f *Faulty, _ LogFile) error {
			return f.WriteFileAtomic("/b", []byte("1234"))
		}, false, 3},
		{"replace it with too much", func(f *Faulty, _ LogFile) error {
			return f.WriteFileAtomic("/b", []byte("12345"))
		}, true, 3},
		{"replace it", func(f *Faulty, _ LogFile) error {
			return f.WriteFileAtomic("/b", []byte("123"))
		}, false, 4},
		{"remove it", func(f *Faulty, _ LogFile) error { return f.Remove("/b") }, false, 7},
		{"remove what is missing", func(f *Faulty, _ LogFile) error {
			return f.RemoveAll("/b")
		}, false, 7},
	}
	c := NewCrash(1)
	f := NewFaulty(c)
	f.SetFree(10)
	log := openLog(t, f, "/a")
	for _, s := range steps {
		if err := s.do(f, log); IsNoSpace(err) != s.full || err != nil && !s.full {
			t.Errorf("%s: %v", s.name, err)
		}
		usage, err := f.GetDiskUsage("/")
		must(t, err)
		if usage.AvailBytes != s.free {
			t.Errorf("%s leaves %d bytes, want %d", s.name, usage.AvailBytes, s.free)
		}
	}
	if got := tree(t, c, "/"); strings.Contains(got, tmpSuffix) {
		t.Errorf("half-written files are left: %q", got)
	}
	f.SetFree(-1)
	must(t, writing(strings.Repeat("x", 1000), 0)(f, log))
}

func writing(text string, off int64) func(*Faulty, LogFile) error {
	return func(_ *Faulty, log LogFile) error {
		_, err := log.WriteAt([]byte(text), off)
		return err
	}
}

// TestSyncFaultsOnTheRealDisk shows that counters and faults work over the machine's file system.
func TestSyncFaultsOnTheRealDisk(t *testing.T) {
	dir := t.TempDir()
	f := NewFaulty(OS(), Fault{Op: OpSync, Nth: 2, Times: 1, Err: ErrIO})
	log := openLog(t, f, f.PathJoin(dir, "a"))
	writeAt(t, log, "abc", 0)
	must(t, log.SyncData())
	if err := log.SyncData(); !errors.Is(err, ErrIO) {
		t.Errorf("got %v, want EIO", err)
	}
	must(t, log.Sync())
	must(t, f.SyncDir(dir))
	if got := contentOf(t, f, f.PathJoin(dir, "a")); got != "abc" {
		t.Errorf("content %q", got)
	}
	want := Stats{BytesRead: 3, BytesWritten: 3, Syncs: 2, DirSyncs: 1, Injected: 1}
	if got := f.Stats(); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
	if got := f.BytesReadUnder(dir); got != 3 {
		t.Errorf("BytesReadUnder = %d, want 3", got)
	}
}
