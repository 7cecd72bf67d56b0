package vfs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chronosdb/chronosdb/log/mutant"
)

func testRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// script runs one operation per line on the file system: enough to tell a crash story.
//
//	write NAME TEXT | at NAME OFFSET TEXT | truncate NAME SIZE | sync NAME | syncdir DIR
//	rename OLD NEW | remove NAME | removeall NAME | mkdir NAME | link OLD NEW | atomic NAME TEXT
func script(t *testing.T, c *Crash, lines string) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(lines), "\n") {
		f := append(strings.Fields(line), "", "")
		if err := scriptLine(c, f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

func scriptLine(c *Crash, f []string) error {
	var n int64
	switch f[0] {
	case "at", "truncate":
		if _, err := fmt.Sscan(f[2], &n); err != nil {
			return err
		}
	}
	switch f[0] {
	case "write":
		return onFile(c, f[1], func(l LogFile) error { return second(l.WriteAt([]byte(f[2]), 0)) })
	case "at":
		return onFile(c, f[1], func(l LogFile) error { return second(l.WriteAt([]byte(f[3]), n)) })
	case "truncate":
		return onFile(c, f[1], func(l LogFile) error { return l.Truncate(n) })
	case "sync":
		return onFile(c, f[1], LogFile.SyncData)
	case "syncdir":
		return c.SyncDir(f[1])
	case "rename":
		return c.Rename(f[1], f[2])
	case "remove":
		return c.Remove(f[1])
	case "removeall":
		return c.RemoveAll(f[1])
	case "mkdir":
		return c.MkdirAll(f[1], 0o755)
	case "link":
		return c.Link(f[1], f[2])
	case "atomic":
		return c.WriteFileAtomic(f[1], []byte(f[2]))
	}
	return fmt.Errorf("unknown command %q", f[0])
}

func second(_ int, err error) error { return err }

func onFile(c *Crash, name string, do func(LogFile) error) error {
	f, err := c.OpenLog(name)
	if err != nil {
		return err
	}
	return errors.Join(do(f), f.Close())
}

// tree returns all files as "path=content", and empty directories as "path/", in order.
func tree(t *testing.T, c *Crash, dir string) string {
	t.Helper()
	var all []string
	names, err := c.List(dir)
	must(t, err)
	for _, name := range names {
		p := strings.TrimSuffix(dir, "/") + "/" + name
		info, err := c.Stat(p)
		must(t, err)
		switch {
		case !info.IsDir():
			all = append(all, p+"="+contentOf(t, c, p))
		case tree(t, c, p) == "":
			all = append(all, p+"/")
		default:
			all = append(all, tree(t, c, p))
		}
	}
	return strings.Join(all, " ")
}

func TestCrashStories(t *testing.T) {
	tests := []struct {
		name   string
		script string
		none   string // what a cut leaves that keeps nothing unsynced
		all    string // what the death of the process leaves
	}{
		{
			"synced file without its directory loses its name",
			"write /a one\nsync /a",
			"", "/a=one",
		},
		{
			"synced directory without the file keeps an empty file",
			"write /a one\nsyncdir /",
			"/a=", "/a=one",
		},
		{
			"both synced",
			"write /a one\nsync /a\nsyncdir /",
			"/a=one", "/a=one",
		},
		{
			"later writes are lost",
			"write /a one\nsync /a\nsyncdir /\nat /a 1 ZZZZ",
			"/a=one", "/a=oZZZZ",
		},
		{
			"unsynced truncation is undone",
			"write /a longtext\nsync /a\nsyncdir /\ntruncate /a 4",
			"/a=longtext", "/a=long",
		},
		{
			"truncated, grown again and synced reads zeros, not the old bytes",
			"write /a longtext\nsync /a\nsyncdir /\ntruncate /a 4\nat /a 6 Z\nsync /a",
			"/a=long\x00\x00Z", "/a=long\x00\x00Z",
		},
		{
			"unsynced rename is undone",
			"write /a one\nsync /a\nsyncdir /\nrename /a /b",
			"/a=one", "/b=one",
		},
		{
			"unsynced rename over a file is undone for both",
			"write /a one\nsync /a\nwrite /b two\nsync /b\nsyncdir /\nrename /a /b",
			"/a=one /b=two", "/b=one",
		},
		{
			"unsynced removal is undone",
			"write /a one\nsync /a\nsyncdir /\nremove /a",
			"/a=one", "",
		},
		{
			"synced removal stays",
			"write /a one\nsync /a\nsyncdir /\nremove /a\nsyncdir /",
			"", "",
		},
		{
			"a file in a new directory needs the parent's sync too",
			"mkdir /d\nwrite /d/a one\nsync /d/a\nsyncdir /d",
			"", "/d/a=one",
		},
		{
			"all levels synced",
			"mkdir /d/e\nwrite /d/e/a one\nsync /d/e/a\nsyncdir /d/e\nsyncdir /d\nsyncdir /",
			"/d/e/a=one", "/d/e/a=one",
		},
		{
			"a rename to another directory becomes durable as a whole",
			"mkdir /d\nmkdir /e\nwrite /d/a x\nsync /d/a\nsyncdir /\nsyncdir /d\n" +
				"rename /d/a /e/b\nsyncdir /e",
			"/d/ /e/b=x", "/d/ /e/b=x",
		},
		{
			"the same when the other directory is synced",
			"mkdir /d\nmkdir /e\nwrite /d/a x\nsync /d/a\nsyncdir /\nsyncdir /d\n" +
				"rename /d/a /e/b\nsyncdir /d",
			"/d/ /e/b=x", "/d/ /e/b=x",
		},
		{
			"a new file moved to another directory does not keep its first name",
			"mkdir /d\nmkdir /e\nsyncdir /\nwrite /d/a x\nsync /d/a\n" +
				"rename /d/a /e/b\nsyncdir /e\nsyncdir /d",
			"/d/ /e/b=x", "/d/ /e/b=x",
		},
		{
			"a move out of a directory that is removed for good",
			"mkdir /d\nmkdir /e\nwrite /d/a x\nsync /d/a\nsyncdir /d\nsyncdir /\n" +
				"rename /d/a /e/b\nremove /d\nsyncdir /\nsyncdir /e",
			"/e/b=x", "/e/b=x",
		},
		{
			"a removed tree comes back whole",
			"mkdir /d\nwrite /d/a x\nsync /d/a\nsyncdir /d\nsyncdir /\nremoveall /d",
			"/d/a=x", "",
		},
		{
			"two names, one synced",
			"write /a x\nsync /a\nsyncdir /\nlink /a /b",
			"/a=x", "/a=x /b=x",
		},
		{
			"a file replaced as it should be",
			"atomic /a one\natomic /a two",
			"/a=two", "/a=two",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCrash(1)
			script(t, c, tt.script)
			if got := tree(t, c.CrashClone(0, nil), "/"); got != tt.none {
				t.Errorf("a cut that keeps nothing leaves %q, want %q", got, tt.none)
			}
			if got := tree(t, c.CrashClone(1, nil), "/"); got != tt.all {
				t.Errorf("a cut that keeps all leaves %q, want %q", got, tt.all)
			}
			if got := tree(t, c, "/"); got != tt.all {
				t.Errorf("the running file system shows %q, want %q", got, tt.all)
			}
		})
	}
}

// outcomes collects what many cuts at one point leave.
func outcomes(t *testing.T, c *Crash, cuts int) map[string]int {
	t.Helper()
	seen := make(map[string]int)
	rng := testRand(uint64(cuts))
	for range cuts {
		seen[tree(t, c.CrashClone(0.5, rng), "/")]++
	}
	return seen
}

// TestCutsReachEveryOutcome proves that the cuts are as bad as promised, and no worse.
func TestCutsReachEveryOutcome(t *testing.T) {
	tests := []struct {
		name   string
		synced string
		then   string
		want   []string
	}{
		{
			"two writes and a torn end", "write /a ....\nsync /a\nsyncdir /",
			"at /a 0 xx\nat /a 2 yy",
			[]string{"/a=....", "/a=xx..", "/a=..yy", "/a=xxyy", "/a=x...", "/a=xxy.", "/a=..y."},
		},
		{
			"a torn end behind the old one may have grown", "write /a .\nsync /a\nsyncdir /",
			"at /a 1 xy",
			[]string{"/a=.", "/a=.x", "/a=.xy", "/a=.x\x00", "/a=.\x00\x00"},
		},
		{
			"a rename is never half done", "write /a 1\nsync /a\nwrite /b 2\nsync /b\nsyncdir /",
			"rename /a /b",
			[]string{"/a=1 /b=2", "/b=1"},
		},
		{
			"two renames of one file", "write /a 1\nsync /a\nsyncdir /",
			"rename /a /b\nrename /b /c",
			[]string{"/a=1", "/b=1", "/c=1"},
		},
		{
			"a new file renamed", "mkdir /d\nsyncdir /",
			"write /d/t 1\nsync /d/t\nrename /d/t /d/f",
			[]string{"/d/", "/d/t=1", "/d/f=1"},
		},
		{
			"removals keep their order", "write /a 1\nsync /a\nwrite /b 2\nsync /b\nsyncdir /",
			"remove /a\nremove /b",
			[]string{"/a=1 /b=2", "/b=2", ""},
		},
		{
			"two directories know nothing of each other",
			"mkdir /d\nmkdir /e\nsyncdir /",
			"write /d/a 1\nsync /d/a\nwrite /e/a 1\nsync /e/a",
			[]string{"/d/ /e/", "/d/a=1 /e/", "/d/ /e/a=1", "/d/a=1 /e/a=1"},
		},
		{
			"a move ties two directories",
			"mkdir /d\nmkdir /e\nwrite /d/a 1\nsync /d/a\nsyncdir /d\nsyncdir /",
			"rename /d/a /e/a\nwrite /d/a 2\nsync /d/a",
			[]string{"/d/a=1 /e/", "/d/ /e/a=1", "/d/a=2 /e/a=1"},
		},
		{
			"a move is never half done",
			"mkdir /d\nmkdir /e\nwrite /d/a 1\nsync /d/a\nsyncdir /d\nsyncdir /",
			"rename /d/a /e/a",
			[]string{"/d/a=1 /e/", "/d/ /e/a=1"},
		},
		{
			"a truncation and a write", "write /a abcd\nsync /a\nsyncdir /",
			"truncate /a 1\nat /a 1 Z",
			[]string{"/a=abcd", "/a=a", "/a=aZcd", "/a=aZ", "/a=a\x00"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := NewCrash(1)
			script(t, c, tt.synced)
			script(t, c, tt.then)
			seen := outcomes(t, c, 1000)
			for _, want := range tt.want {
				if seen[want] == 0 {
					t.Errorf("no cut leaves %q", want)
				}
				delete(seen, want)
			}
			for got, n := range seen {
				t.Errorf("%d cuts leave %q, which cannot happen", n, got)
			}
		})
	}
}

func TestCrashKillsHandles(t *testing.T) {
	c := NewCrash(1)
	f := openLog(t, c, "/a")
	writeAt(t, f, "x", 0)
	after := c.Crash(1, testRand(1))
	_, errWrite := f.WriteAt([]byte("y"), 0)
	_, errRead := f.ReadAt(make([]byte, 1), 0)
	_, errSize := f.Size()
	_, errList := c.List("/")
	_, errCreate := c.OpenLog("/b")
	for i, err := range []error{
		errWrite, errRead, errSize, errList, errCreate, f.Truncate(0), f.Sync(), f.SyncData(),
		c.SyncDir("/"), c.MkdirAll("/d", 0o755), c.Rename("/a", "/b"), c.RemoveAll("/a"),
		c.WriteFileAtomic("/a", nil),
	} {
		if !errors.Is(err, ErrCrashed) {
			t.Errorf("operation %d after the crash: %v, want ErrCrashed", i, err)
		}
	}
	if got := tree(t, after, "/"); got != "/a=x" {
		t.Errorf("the new file system has %q: the dead one reached it", got)
	}
}

// TestClonesAreApart writes to a file system and to clones of it that share its pages.
func TestClonesAreApart(t *testing.T) {
	c := NewCrash(1)
	script(t, c, "write /a 0000\nsync /a\nsyncdir /")
	one, two := c.CrashClone(1, nil), c.CrashClone(1, nil)
	script(t, c, "at /a 0 c\nsync /a")
	script(t, one, "at /a 1 1\nsync /a")
	script(t, two, "truncate /a 2\nat /a 3 2\nsync /a")
	for want, fs := range map[string]*Crash{"c000": c, "0100": one, "00\x002": two} {
		if got := contentOf(t, fs.CrashClone(0, nil), "/a"); got != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
}

func TestOnSyncCanCrash(t *testing.T) {
	for at := 1; at <= 3; at++ {
		c := NewCrash(1)
		var after *Crash
		var paths []string
		c.OnSync = func(path string, n int) {
			paths = append(paths, path)
			if n == at {
				after = c.Crash(0, testRand(1))
			}
		}
		f := openLog(t, c, "a") // a relative path starts at the root
		writeAt(t, f, "x", 0)
		errs := []error{f.SyncData(), c.SyncDir("/"), f.Sync()}
		for i, err := range errs {
			if failed := errors.Is(err, ErrCrashed); failed != (i+1 >= at) {
				t.Errorf("crash at sync %d: sync %d returned %v", at, i+1, err)
			}
		}
		want := []string{"", "", "/a=x"}[at-1]
		if got := tree(t, after, "/"); got != want {
			t.Errorf("crash at sync %d leaves %q, want %q", at, got, want)
		}
		if want := []string{"/a", "/", "/a"}[:at]; !slices.Equal(paths, want) {
			t.Errorf("the hook saw %q, want %q", paths, want)
		}
	}
}

func TestCrashStats(t *testing.T) {
	c := NewCrash(1)
	script(t, c, "mkdir /d\nwrite /d/a 12345\nsync /d/a\nsyncdir /d\nsyncdir /")
	script(t, c, "at /d/a 5 678\nwrite /b 12")
	if got := contentOf(t, c, "/d/a"); len(got) != 8 {
		t.Fatalf("content %q", got)
	}
	want := Stats{BytesRead: 8, BytesWritten: 10, Syncs: 1, DirSyncs: 2}
	if got := c.Stats(); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
	if d, b := c.BytesReadUnder("/d/"), c.BytesReadUnder("/b"); d != 8 || b != 0 {
		t.Errorf("BytesReadUnder = %d, %d, want 8, 0", d, b)
	}
	if got := c.Crash(0, testRand(1)).Stats(); got != (Stats{DroppedBytes: 5}) {
		t.Errorf("after the crash Stats = %+v, want 5 dropped bytes", got)
	}
}

func TestSameSeedsSameBytes(t *testing.T) {
	run := func() string {
		c := NewCrash(5)
		script(t, c, "mkdir /d\nsyncdir /\nwrite /d/a 1\nwrite /d/b 2222222222")
		script(t, c, "write /c 3\nrename /c /d/c")
		for range 20 {
			c = c.Crash(0.7, nil)
			script(t, c, "at /d/e 3 444444\natomic /n 5\nwrite /d/f 66666")
		}
		return tree(t, c, "/")
	}
	if a, b := run(), run(); a != b {
		t.Errorf("two runs differ:\n%q\n%q", a, b)
	}
}

func TestLockedFileDoesNotSurviveACrash(t *testing.T) {
	c := NewCrash(1)
	_, err := LockDir(c, "/", Holder{Pid: 1})
	must(t, err)
	if _, err := LockDir(c, "/", Holder{Pid: 2}); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	if _, err := LockDir(c.Crash(1, nil), "/", Holder{Pid: 3}); err != nil {
		t.Fatalf("lock after the crash: %v", err)
	}
}

// TestNoDirSync shows that the fault is noticed: run with the tag mutants.
func TestNoDirSync(t *testing.T) {
	t.Setenv("CHRONOS_MUTANT", string(mutant.NoDirSync))
	if !mutant.On(mutant.NoDirSync) {
		t.Skip("needs -tags mutants")
	}
	c := NewCrash(1)
	script(t, c, "atomic /a one")
	if got := tree(t, c.Crash(0, nil), "/"); got != "" {
		t.Errorf("with the fault on, the crash leaves %q", got)
	}
}

// TestRemovedFilesAreForgotten keeps long runs from growing: what cannot come back is not kept.
func TestRemovedFilesAreForgotten(t *testing.T) {
	c := NewCrash(1)
	for i := range 200 {
		d := fmt.Sprintf("/d%d", i)
		script(t, c, "mkdir "+d+"\nwrite "+d+"/a x\nsyncdir "+d+"\nsyncdir /\nat "+d+"/a 1 y")
		script(t, c, "removeall "+d+"\nsyncdir /")
	}
	if n := len(c.mu.dirty); n > 0 {
		t.Errorf("%d inodes are still kept", n)
	}
}

// TestConcurrentUse is for the race detector: several goroutines work, others cut the power.
func TestConcurrentUse(t *testing.T) {
	c := NewCrash(1)
	var wait sync.WaitGroup
	for i := range 4 {
		// Each ends by itself; Wait below waits for all.
		wait.Go(func() {
			name := fmt.Sprintf("/f%d", i)
			for k := range 200 {
				err := onFile(c, name, func(l LogFile) error {
					_, err := l.WriteAt([]byte("text"), int64(k*1000))
					return err
				})
				err = errors.Join(err, onFile(c, name, LogFile.Sync), c.SyncDir("/"))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	rng := testRand(1)
	for range 100 {
		clone := c.CrashClone(0.5, rng)
		names, err := clone.List("/")
		must(t, err)
		for _, name := range names { // pages that both share
			must(t, onFile(clone, "/"+name, func(l LogFile) error {
				return second(l.WriteAt([]byte("clone"), 100))
			}))
		}
	}
	wait.Wait()
}

func BenchmarkCrash(b *testing.B) {
	c := NewCrash(1)
	f, _ := c.OpenLog("/log")
	record := make([]byte, 300)
	for i := range 10_000 { // 3 MB, synced
		_, _ = f.WriteAt(record, int64(i*len(record)))
	}
	_ = f.Sync()
	_ = c.SyncDir("/")
	for i := range 100 {
		_, _ = f.WriteAt(record, int64((10_000+i)*len(record)))
	}
	rng := testRand(1)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		c.CrashClone(0.5, rng)
	}
}

func BenchmarkCrashAppendSync(b *testing.B) {
	c := NewCrash(1)
	f, _ := c.OpenLog("/log")
	record := make([]byte, 300)
	b.ReportAllocs()
	for i := range b.N {
		_, _ = f.WriteAt(record, int64(i%10_000*len(record)))
		if i%4 == 0 {
			_ = f.SyncData()
		}
	}
}
