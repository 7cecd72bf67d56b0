package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// pages returns n aligned pages, each filled with its own byte, from first on.
func pages(n int, first byte) []byte {
	p := AlignedBuffer(n * DirectAlign)
	for i := range p {
		p[i] = first + byte(i/DirectAlign)
	}
	return p
}

// eachFS runs a test on every kind of file system.
func eachFS(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("crash", func(t *testing.T) {
		c := NewCrash(1)
		test(t, c, newDir(t, c))
	})
	t.Run("faulty", func(t *testing.T) {
		c := NewCrash(1)
		test(t, NewFaulty(c), newDir(t, c))
	})
}

// TestDirectIsCoherent mixes direct writes, writes, reads and truncations at random and compares
// each read with a plain slice.
func TestDirectIsCoherent(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		f, err := fsys.OpenLog(fsys.PathJoin(dir, "f"))
		must(t, err)
		defer func() { must(t, f.Close()) }()
		rng := rand.New(rand.NewPCG(7, 7))
		var want []byte
		grow := func(n int) { want = append(want, make([]byte, max(n-len(want), 0))...) }
		for i := range 300 {
			off := rng.IntN(20)
			switch rng.IntN(5) {
			case 0:
				p := pages(1+rng.IntN(5), byte(i))
				must(t, f.WriteDirect(p, int64(off*DirectAlign)))
				grow(off*DirectAlign + len(p))
				copy(want[off*DirectAlign:], p)
			case 4:
				var pieces [][]byte
				at := off * DirectAlign
				for k := range rng.IntN(4) {
					p := pages(1+rng.IntN(3), byte(i+k))
					pieces = append(pieces, p)
					grow(at + len(p))
					at += copy(want[at:], p)
				}
				must(t, f.WriteDirectAll(pieces, int64(off*DirectAlign)))
			case 1:
				p := bytes.Repeat([]byte{byte(i)}, rng.IntN(10_000))
				_, err := f.WriteAt(p, int64(off*1000))
				must(t, err)
				if len(p) > 0 {
					grow(off*1000 + len(p))
				}
				copy(want[min(off*1000, len(want)):], p)
			case 2:
				must(t, f.Truncate(int64(off*3000)))
				want = want[:min(len(want), off*3000)]
				grow(off * 3000)
			case 3:
				must(t, f.SyncData())
			}
			size, err := f.Size()
			must(t, err)
			if size != int64(len(want)) {
				t.Fatalf("step %d: size %d, want %d", i, size, len(want))
			}
			got := make([]byte, size)
			if _, err := f.ReadAt(got, 0); err != nil && size > 0 {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("step %d: content differs", i)
			}
		}
	})
}

func TestDirectRefusesWhatADiskWould(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys FS, dir string) {
		f, err := fsys.OpenLog(fsys.PathJoin(dir, "f"))
		must(t, err)
		defer func() { must(t, f.Close()) }()
		p := pages(2, 1)
		for name, err := range map[string]error{
			"position": f.WriteDirect(p, 512),
			"negative": f.WriteDirect(p, -DirectAlign),
			"length":   f.WriteDirect(p[:DirectAlign+1], 0),
			"memory":   f.WriteDirect(p[8:8+DirectAlign], 0),
			"piece":    f.WriteDirectAll([][]byte{p[:DirectAlign+1], p[DirectAlign:]}, 0),
		} {
			if !errors.Is(err, unix.EINVAL) {
				t.Errorf("%s: got %v, want EINVAL", name, err)
			}
		}
		if size, err := f.Size(); err != nil || size != 0 {
			t.Errorf("a refused write has left %d bytes, %v", size, err)
		}
		must(t, f.WriteDirect(nil, 0))
	})
}

// TestDirectPagesAreLostOneByOne looks at many power cuts of one unsynced direct write: every page
// is sometimes kept and sometimes lost, whatever becomes of the others, and one may be torn.
func TestDirectPagesAreLostOneByOne(t *testing.T) {
	const n = 3
	seen := map[[n]bool]bool{}
	torn := false
	for seed := range uint64(400) {
		c := NewCrash(seed)
		dir := newDir(t, c)
		f, err := c.OpenLog(dir + "/f")
		must(t, err)
		must(t, f.WriteDirect(pages(n, 1), 0))
		must(t, f.Sync())
		must(t, c.SyncDir(dir))
		must(t, f.WriteDirect(pages(n, 101), 0))
		after, err := c.Crash(0.5, nil).ReadFile(dir + "/f")
		must(t, err)
		var kept [n]bool
		for i := range n {
			page := after[i*DirectAlign : (i+1)*DirectAlign]
			kept[i] = page[0] > 100
			torn = torn || page[0] != page[DirectAlign-1]
		}
		seen[kept] = true
	}
	if len(seen) != 1<<n || !torn {
		t.Errorf("of %d outcomes %d were seen, torn pages: %v", 1<<n, len(seen), torn)
	}
	c := NewCrash(1)
	dir := newDir(t, c)
	f, err := c.OpenLog(dir + "/f")
	must(t, err)
	must(t, f.WriteDirect(pages(n, 1), 0))
	must(t, f.SyncData())
	must(t, c.SyncDir(dir))
	if got, err := c.Crash(0, nil).ReadFile(dir + "/f"); err != nil || !bytes.Equal(got, pages(n, 1)) {
		t.Errorf("a synced direct write is lost: %d bytes, %v", len(got), err)
	}
}

func TestAllocateTakesSpaceOnce(t *testing.T) {
	c := NewCrash(1)
	dir := newDir(t, c)
	f := NewFaulty(c)
	f.SetFree(100_000)
	free := func() int64 {
		usage, err := f.GetDiskUsage(dir)
		must(t, err)
		return int64(usage.AvailBytes)
	}
	log, err := f.OpenLog(dir + "/log")
	must(t, err)
	must(t, log.Allocate(0, 60_000))
	if err := log.Allocate(60_000, 50_000); !errors.Is(err, ErrNoSpace) {
		t.Errorf("more than there is: got %v, want ErrNoSpace", err)
	}
	must(t, log.WriteDirect(pages(10, 1), 0))
	if got := free(); got != 40_000 {
		t.Errorf("after a write into reserved space %d bytes are free, want 40000", got)
	}
	if size, err := log.Size(); err != nil || size != 40_960 {
		t.Errorf("size %d, %v: reserving must not change it", size, err)
	}
	must(t, log.Truncate(40_960))
	if got := free(); got != 100_000-40_960 {
		t.Errorf("after the truncation %d bytes are free", got)
	}
	must(t, log.Allocate(40_960, 1000))
	must(t, f.Remove(dir+"/log"))
	if got := free(); got != 100_000 {
		t.Errorf("after the removal %d bytes are free, want all", got)
	}
}

// TestDirectWithoutSpace writes what fits, in whole pages, and says that the disk is full.
func TestDirectWithoutSpace(t *testing.T) {
	c := NewCrash(1)
	dir := newDir(t, c)
	f := NewFaulty(c)
	f.SetFree(10_000)
	log, err := f.OpenLog(dir + "/log")
	must(t, err)
	if err := log.WriteDirect(pages(4, 1), 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("got %v, want ErrNoSpace", err)
	}
	if size, err := log.Size(); err != nil || size != 2*DirectAlign {
		t.Errorf("size %d, %v; two pages fit", size, err)
	}
}

func TestOSAllocateKeepsTheLength(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := OS().OpenLog(name)
	must(t, err)
	must(t, f.Allocate(0, 1<<20))
	if size, err := f.Size(); err != nil || size != 0 {
		t.Errorf("size %d, %v", size, err)
	}
	must(t, f.WriteDirect(pages(1, 1), 0))
	must(t, f.Truncate(DirectAlign))
	// More pieces than one call takes.
	var many [][]byte
	for i := range 1024 + 10 {
		many = append(many, pages(1, byte(i)))
	}
	must(t, f.WriteDirectAll(many, DirectAlign))
	for i, p := range many {
		got := make([]byte, DirectAlign)
		if _, err := f.ReadAt(got, int64(i+1)*DirectAlign); err != nil || !bytes.Equal(got, p) {
			t.Fatalf("piece %d: %v", i, err)
		}
	}
	must(t, f.Truncate(DirectAlign))
	must(t, f.Close())
	if err := f.WriteDirect(pages(1, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a direct write after Close: %v", err)
	}
	if got, err := os.ReadFile(name); err != nil || !slices.Equal(got, pages(1, 1)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestDirectFallsBack takes away what direct writes need.
func TestDirectFallsBack(t *testing.T) {
	f, err := OS().OpenLog(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	f.(*osLogFile).direct.refused = true
	must(t, f.WriteDirectAll([][]byte{pages(1, 1), pages(1, 2)}, 0))
	got := make([]byte, 2*DirectAlign)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, pages(2, 1)) {
		t.Errorf("the fallback wrote something else: %v", err)
	}
	must(t, f.Close())
}

// TestDirectWithoutHandles: the process has no more descriptors at the first direct write of a file.
// It goes the ordinary way; once there are some, the next one goes past the page cache again.
func TestDirectWithoutHandles(t *testing.T) {
	f, err := OS().OpenLog(filepath.Join(t.TempDir(), "f"))
	must(t, err)
	defer func() { must(t, f.Close()) }()
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 0
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &none))
	_, openErr := os.Open("/")
	err = errors.Join(f.WriteDirect(pages(1, 1), 0),
		f.WriteDirectAll([][]byte{pages(1, 2), pages(2, 3)}, DirectAlign), f.SyncData())
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	if !IsShortage(openErr) {
		t.Fatalf("without descriptors: %v", openErr)
	}
	must(t, err)
	if d := &f.(*osLogFile).direct; d.refused || d.file != nil {
		t.Error("the want of a descriptor is taken for a file system without direct writes")
	}
	must(t, f.WriteDirect(pages(1, 5), 4*DirectAlign))
	if d := &f.(*osLogFile).direct; d.file == nil && !d.refused {
		t.Error("no direct write was tried again")
	}
	got := make([]byte, 5*DirectAlign)
	if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, pages(5, 1)) {
		t.Errorf("other bytes: %v", err)
	}
}
