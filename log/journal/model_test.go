package journal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// model is what a journal must know, kept the simplest way.
type model struct {
	rng      *rand.Rand
	fs       *vfs.Crash
	faulty   *vfs.Faulty
	j        *Journal
	commits  map[Sequence][]string // that Commit has returned
	maybe    []string              // of the commit that was under way when the power went
	last     Sequence
	released Sequence
	next     int64
	crashes  int
	recycled int64
}

// TestModel plays random histories with power cuts at any operation, and compares what is replayed
// after each with what Commit had returned.
func TestModel(t *testing.T) {
	crashes, recycled := 0, int64(0)
	for seed := range uint64(150) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			m := &model{
				rng: rand.New(rand.NewPCG(seed, 1)), fs: newFS(t, seed),
				commits: map[Sequence][]string{},
			}
			for range 12 {
				m.life(t)
			}
			crashes += m.crashes
			recycled += m.recycled
		})
	}
	if !t.Failed() && (crashes < 900 || recycled < 1000) {
		t.Errorf("only %d crashes and %d recycled files: the test has lost its teeth", crashes, recycled)
	}
}

// life opens the journal, checks what it replays, and uses it until the power goes, or until a
// clean stop.
func (m *model) life(t *testing.T) {
	m.faulty = vfs.NewFaulty(m.fs)
	if m.rng.IntN(6) > 0 {
		cutAt := 1 + m.rng.IntN(80)
		cut := m.fs
		var after *vfs.Crash
		keep := []float64{0, 0.5, 1}[m.rng.IntN(3)]
		m.faulty.Add(vfs.Fault{Op: vfs.OpAny, Nth: cutAt, Times: 1, Before: func(string) {
			after = cut.Crash(keep, m.rng)
		}})
		defer func() {
			if after != nil {
				m.fs = after
				m.crashes++
			} else {
				m.fs = m.fs.Crash(1, m.rng)
			}
		}()
	}
	o := testOptions(m.faulty)
	var err error
	if m.j, err = Open(o); err != nil {
		m.died(t, err)
		return
	}
	if !m.check(t) {
		return
	}
	m.released = m.last // also if the power goes within Recovered
	if err := m.j.Recovered(); err != nil {
		m.died(t, err)
		return
	}
	for range 20 + m.rng.IntN(60) {
		if !m.step(t) {
			return
		}
	}
	if m.rng.IntN(2) == 0 {
		m.j.Release(m.last)
		m.released = m.last
	}
	m.recycled += m.j.Stats().Recycled
	if err := m.j.Close(); err != nil {
		m.died(t, err)
	}
}

// died accepts an error only from a disk that has lost its power.
func (m *model) died(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, vfs.ErrCrashed) {
		t.Fatalf("died of something else than the power cut: %v", err)
	}
}

func (m *model) step(t *testing.T) bool {
	if m.rng.IntN(8) == 0 {
		upTo := m.released + Sequence(m.rng.IntN(int(m.last-m.released)+1))
		m.j.Release(upTo)
		m.released = upTo
		return true
	}
	entries := randomEntries(m.rng, &m.next)
	var texts []string
	for _, e := range entries {
		texts = append(texts, stored(e))
	}
	s, err := m.j.Commit(entries)
	if errors.Is(err, ErrFull) {
		end := m.j.OldestFileEnd()
		if end == 0 || end <= m.released {
			t.Fatalf("full, and the oldest file ends at %d, released is %d", end, m.released)
		}
		m.j.Release(end)
		m.released = end
		return true
	}
	if err != nil {
		m.died(t, err)
		m.maybe = texts
		return false
	}
	if s != m.last+1 {
		t.Fatalf("sequence %d follows %d", s, m.last)
	}
	m.commits[s], m.last = texts, s
	return true
}

// check compares what the journal replays. What was released may be there or not, but in full
// suffixes only; the commit that was under way may be there. It is false if the power went.
func (m *model) check(t *testing.T) bool {
	t.Helper()
	got := map[Sequence][]string{}
	for _, name := range m.j.Logs() {
		before := Sequence(0)
		err := m.j.Replay(name, 0, func(s Sequence, e Entry) error {
			if s < before {
				t.Fatalf("log %s: record %d comes after %d", name, s, before)
			}
			before = s
			got[s] = append(got[s], e.text())
			return nil
		})
		if err != nil {
			m.died(t, err)
			return false
		}
	}
	if len(got[m.last+1]) > 0 && m.maybe != nil {
		m.last++
		m.commits[m.last] = m.maybe
	}
	m.maybe = nil
	for s := m.released + 1; s <= m.last; s++ {
		if !sameSet(got[s], m.commits[s]) {
			t.Fatalf("record %d of %d (released %d): replayed %q, committed %q", s, m.last, m.released,
				got[s], m.commits[s])
		}
	}
	for s := range got {
		if !sameSet(got[s], m.commits[s]) {
			t.Fatalf("record %d was replayed with %q, committed was %q", s, got[s], m.commits[s])
		}
	}
	if next := m.j.Next(); next != m.last+1 {
		t.Fatalf("the next sequence is %d, want %d", next, m.last+1)
	}
	return true
}

func sameSet(a, b []string) bool {
	count := map[string]int{}
	for _, s := range a {
		count[s]++
	}
	for _, s := range b {
		count[s]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}
