package vfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// idBytes begin every file of the model test and say which one it is. They are synced when the
// file is made and never change, so that a file can be recognised under any name.
const idBytes = 8

// modelFile is what the test knows about a file, kept the simplest way.
type modelFile struct {
	id            uint64
	live, durable []byte
	may           map[int64][]byte // unsynced: the bytes that a position may have instead
	sizes         []int64          // unsynced: the lengths that the file may have
	places        []string         // where it may be found; "" is nowhere
}

func (f *modelFile) write(p []byte, off int) {
	f.unsyncedSize(int64(len(f.live)))
	if grown := off + len(p); grown > len(f.live) {
		f.live = append(f.live, make([]byte, grown-len(f.live))...)
	}
	copy(f.live[off:], p)
	for i, b := range p {
		f.may[int64(off+i)] = append(f.may[int64(off+i)], b)
	}
	for n := range len(p) + 1 { // torn at any byte
		f.unsyncedSize(int64(off + n))
	}
}

func (f *modelFile) truncate(size int) {
	for i := size; i < len(f.durable); i++ {
		f.may[int64(i)] = append(f.may[int64(i)], 0)
	}
	if size <= len(f.live) {
		f.live = f.live[:size:size]
	} else {
		f.live = append(f.live, make([]byte, size-len(f.live))...)
	}
	f.unsyncedSize(int64(size))
}

func (f *modelFile) unsyncedSize(n int64) { f.sizes = append(f.sizes, n) }

func (f *modelFile) sync() {
	f.durable = bytes.Clone(f.live)
	clear(f.may)
	f.sizes = nil
}

// allows reports why the file cannot have been left like this, or "".
func (f *modelFile) allows(left []byte) string {
	size := int64(len(left))
	if size != int64(len(f.durable)) && !slices.Contains(f.sizes, size) {
		return fmt.Sprintf("length %d, durable %d", size, len(f.durable))
	}
	for i, b := range left {
		durable := byte(0) // a hole
		if i < len(f.durable) {
			durable = f.durable[i]
		}
		if b != durable && !bytes.Contains(f.may[int64(i)], []byte{b}) {
			return fmt.Sprintf("byte %d is %d, durable %d, unsynced %v",
				i, b, durable, f.may[int64(i)])
		}
	}
	return ""
}

// modelTest drives a Crash and the model side by side.
type modelTest struct {
	t      *testing.T
	rng    *rand.Rand
	c      *Crash
	dirs   []string
	files  map[uint64]*modelFile
	names  map[string]uint64 // live
	nextID uint64
}

func (m *modelTest) place() string {
	return fmt.Sprintf("%s/f%d", m.dirs[m.rng.IntN(len(m.dirs))], m.rng.IntN(6))
}

func (m *modelTest) anyName() (string, *modelFile) {
	if len(m.names) == 0 {
		return "", nil
	}
	all := slices.Sorted(maps.Keys(m.names))
	name := all[m.rng.IntN(len(all))]
	return name, m.files[m.names[name]]
}

// create makes a file with a durable id and an unsynced name.
func (m *modelTest) create(name string) {
	m.displace(name)
	m.nextID++
	f := &modelFile{id: m.nextID, may: make(map[int64][]byte), places: []string{"", name}}
	f.live = binary.BigEndian.AppendUint64(nil, f.id)
	f.sync()
	m.files[f.id], m.names[name] = f, f.id
	h, err := m.c.Create(name, "")
	must(m.t, err)
	_, err = h.Write(f.live)
	must(m.t, err)
	must(m.t, h.Sync())
	must(m.t, h.Close())
}

// displace notes that whatever has this name may be gone.
func (m *modelTest) displace(name string) {
	if old := m.files[m.names[name]]; old != nil {
		old.places = append(old.places, "")
	}
}

func (m *modelTest) change(name string, f *modelFile) {
	h := openLog(m.t, m.c, name)
	if m.rng.IntN(4) == 0 {
		size := idBytes + m.rng.IntN(3*chunkBytes)
		f.truncate(size)
		must(m.t, h.Truncate(int64(size)))
	} else {
		p := make([]byte, 1+m.rng.IntN(40))
		if m.rng.IntN(8) == 0 {
			p = make([]byte, m.rng.IntN(3*chunkBytes)+1)
		}
		for i := range p {
			p[i] = byte(1 + m.rng.IntN(255))
		}
		off := idBytes + m.rng.IntN(2*chunkBytes)
		if m.rng.IntN(2) == 0 {
			off = len(f.live)
		}
		f.write(p, off)
		writeAt(m.t, h, string(p), int64(off))
	}
	if m.rng.IntN(3) == 0 {
		f.sync()
		must(m.t, h.SyncData())
	}
	must(m.t, h.Close())
}

func (m *modelTest) rename(from string, f *modelFile) {
	to := m.place()
	must(m.t, m.c.Rename(from, to))
	if from == to {
		return
	}
	m.displace(to)
	delete(m.names, from)
	m.names[to] = f.id
	f.places = append(f.places, to)
}

func (m *modelTest) remove(name string) {
	must(m.t, m.c.Remove(name))
	m.displace(name)
	delete(m.names, name)
}

// syncDirs syncs all directories: then every file is exactly where it is.
func (m *modelTest) syncDirs() {
	for _, dir := range m.dirs {
		must(m.t, m.c.SyncDir(dir))
	}
	for _, f := range m.files {
		f.places = nil
	}
	for name, id := range m.names {
		m.files[id].places = []string{name}
	}
	maps.DeleteFunc(m.files, func(_ uint64, f *modelFile) bool { return f.places == nil })
}

// syncDir syncs one directory: what it shows now is durable.
func (m *modelTest) syncDir(dir string) {
	must(m.t, m.c.SyncDir(dir))
	for name, id := range m.names {
		if strings.HasPrefix(name, dir+"/") {
			m.files[id].places = []string{name}
		}
	}
	for _, f := range m.files { // what it does not show is elsewhere or nowhere
		f.places = slices.DeleteFunc(f.places, func(p string) bool {
			return strings.HasPrefix(p, dir+"/") && m.names[p] != f.id
		})
		if len(f.places) == 0 {
			f.places = []string{""}
		}
	}
}

func (m *modelTest) step() {
	name, f := m.anyName()
	switch op := m.rng.IntN(100); {
	case f == nil || op < 15:
		m.create(m.place())
	case op < 65:
		m.change(name, f)
	case op < 80:
		m.rename(name, f)
	case op < 88:
		m.remove(name)
	case op < 96:
		m.syncDir(m.dirs[m.rng.IntN(len(m.dirs))])
	default:
		m.syncDirs()
	}
}

// found returns the files of a file system by name.
func (m *modelTest) found(c *Crash) map[string][]byte {
	all := make(map[string][]byte)
	for _, dir := range m.dirs {
		names, err := c.List(dir)
		must(m.t, err)
		for _, name := range names {
			data, err := c.ReadFile(dir + "/" + name)
			must(m.t, err)
			all[dir+"/"+name] = data
		}
	}
	return all
}

// checkLive compares the running file system, and one that keeps all, with the model.
func (m *modelTest) checkLive(c *Crash, what string) {
	got := m.found(c)
	for name, id := range m.names {
		if !bytes.Equal(got[name], m.files[id].live) {
			m.t.Errorf("%s: %s differs from the model", what, name)
		}
	}
	if len(got) != len(m.names) {
		m.t.Errorf("%s: %d files, want %d", what, len(got), len(m.names))
	}
}

// checkCut checks that a power cut can have left this.
func (m *modelTest) checkCut(c *Crash, keep float64) {
	at := make(map[uint64]string)
	for name, data := range m.found(c) {
		id := binary.BigEndian.Uint64(data)
		f := m.files[id]
		if other, twice := at[id]; twice {
			m.t.Errorf("keep %v: file %d is at %s and %s", keep, id, other, name)
		}
		at[id] = name
		if f == nil {
			m.t.Errorf("keep %v: file %d is at %s and cannot be", keep, id, name)
			continue
		}
		if why := f.allows(data); why != "" {
			m.t.Errorf("keep %v: file %d: %s", keep, id, why)
		}
		if keep == 0 && !bytes.Equal(data, f.durable) {
			m.t.Errorf("keep 0: file %d is not as it was synced", id)
		}
	}
	for id, f := range m.files {
		if !slices.Contains(f.places, at[id]) {
			m.t.Errorf("keep %v: file %d is at %q, may be at %q", keep, id, at[id], f.places)
		}
	}
}

// adopt goes on with the file system after a cut: what is there is durable.
func (m *modelTest) adopt(c *Crash) {
	m.c = c
	m.files, m.names = make(map[uint64]*modelFile), make(map[string]uint64)
	for name, data := range m.found(c) {
		id := binary.BigEndian.Uint64(data)
		f := &modelFile{id: id, live: data, may: make(map[int64][]byte), places: []string{name}}
		f.sync()
		m.files[id], m.names[name] = f, id
	}
}

// TestRandomModel does random operations and cuts the power again and again.
func TestRandomModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	runs := uint64(30)
	if invariant.Enabled { // the race detector takes ten times as long
		runs = 5
	}
	for run := range runs {
		rng := rand.New(rand.NewPCG(seed, run))
		m := &modelTest{t: t, rng: rng, dirs: []string{"/a", "/b", "/c"}}
		c := NewCrash(rng.Uint64())
		for _, dir := range m.dirs {
			must(t, c.MkdirAll(dir, 0o755))
		}
		must(t, c.SyncDir("/"))
		m.adopt(c)
		for range 8 {
			for range 1 + rng.IntN(60) {
				m.step()
			}
			m.checkLive(m.c, "running")
			m.checkLive(m.c.CrashClone(1, rng), "keep 1")
			for range 4 {
				m.checkCut(m.c.CrashClone(0.5, rng), 0.5)
			}
			m.checkCut(m.c.CrashClone(0, rng), 0)
			if t.Failed() {
				t.Fatalf("seed %d, run %d", seed, run)
			}
			m.adopt(m.c.Crash([]float64{0, 0.3, 0.8, 1}[rng.IntN(4)], rng))
		}
	}
}
