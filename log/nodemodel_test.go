package log

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

var (
	nodeSeed      = flag.Uint64("node.seed", 0, "run this one history of the node model test")
	nodeHistories = flag.Int("node.histories", 150, "how many histories the node model test runs")
)

// TestNodeModel runs random histories of a few logs that share a journal, buffers and a committer,
// with power cuts and kills between any two syncs, also within recovery. What a log was told must
// be there after each, byte for byte, and nothing else than a beginning of what was appended.
func TestNodeModel(t *testing.T) {
	if *nodeSeed != 0 {
		runNode(t, *nodeSeed)
		return
	}
	first := rand.Uint64() | 1
	t.Logf("first seed %d", first)
	n := *nodeHistories
	if testing.Short() {
		n /= 8
	}
	for i := range n {
		if runNode(t, first+uint64(i)); t.Failed() {
			t.Fatalf("rerun with -run TestNodeModel -node.seed=%d", first+uint64(i))
		}
	}
}

// nodeLog is one log as it should be.
type nodeLog struct {
	name    string
	log     *Log
	member  *Member
	batches []modelBatch
	told    Offset // what the member was told, or Flush has returned: it must not be lost
	start   Offset
	started Offset // an advance that a crash interrupted may have come this far
	cut     Offset // or a truncation as low as this; -1 if there was none
}

func (n *nodeLog) end() Offset {
	if len(n.batches) == 0 {
		return 0
	}
	return n.batches[len(n.batches)-1].next
}

// nodeModel is a node and what should be in it.
type nodeModel struct {
	t    *testing.T
	rng  *rand.Rand
	seed uint64
	ops  []string

	disk      *vfs.Crash
	fs        *vfs.Faulty // over the disk; a kill makes it refuse everything
	journal   *journal.Journal
	buffers   *Buffers
	c         *Committer
	o         CommitterOptions
	logs      []*nodeLog
	mark      uint64
	sizes     int   // how large values are
	fileBytes int64 // of the journal
	segment   int64
	crashed   *vfs.Crash // set when OnSync has cut the power
	killed    bool       // set when the process has died
}

// errKilled is what every file operation of a process returns that should be dead.
var errKilled = errors.New("killed")

func runNode(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := &nodeModel{
		t: t, rng: rng, seed: seed, disk: vfs.NewCrash(seed),
		sizes: []int{50, 500, 20_000}[rng.IntN(3)], segment: int64(2000 + rng.IntN(100_000)),
	}
	m.fileBytes = alignUp(int64(16<<10 + rng.IntN(200<<10)))
	m.o = CommitterOptions{Mode: Mode(rng.IntN(2)), Manual: true, DirectBytes: int64(1 + rng.IntN(30_000))}
	for i := range 1 + rng.IntN(4) {
		m.logs = append(m.logs, &nodeLog{name: fmt.Sprintf("topics/p%d", i), cut: -1})
	}
	defer func() {
		if p := recover(); p != nil {
			m.fail("panic: %v\n%s", p, debug.Stack())
		}
		if t.Failed() {
			t.Logf("history of seed %d:\n%s", seed, strings.Join(m.ops, "\n"))
		}
	}()
	if err := makeDir(m.disk, "/data"); err != nil {
		t.Fatal(err)
	}
	m.open()
	m.live()
	for range 20 + rng.IntN(60) {
		if t.Failed() {
			return
		}
		m.step()
	}
	m.reopen()
	m.live()
}

func (m *nodeModel) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("seed %d, op %d: %s", m.seed, len(m.ops), fmt.Sprintf(format, args...))
}

func (m *nodeModel) note(format string, args ...any) {
	m.ops = append(m.ops, fmt.Sprintf(format, args...))
}

// failed says whether an operation failed because the power did.
func (m *nodeModel) failed(what string, err error) bool {
	if err == nil {
		return false
	}
	m.killed = m.killed || errors.Is(err, errKilled)
	if errors.Is(err, vfs.ErrIO) && !m.killed {
		m.note("(dies of %v)", err)
		m.killed = true
	}
	if (m.crashed == nil || !errors.Is(err, vfs.ErrCrashed)) && !m.killed {
		m.fail("%s: %v", what, err)
	}
	return true
}

func (m *nodeModel) step() {
	switch m.rng.IntN(16) {
	case 0:
		m.armCrash()
	case 1:
		m.armKill()
	case 2, 3:
		m.armIO()
	}
	n := m.logs[m.rng.IntN(len(m.logs))]
	switch k := m.rng.IntN(100); {
	case k < 45:
		m.append(n)
	case k < 68:
		m.commit()
	case k < 71:
		m.note("%s: flush", n.name)
		if end, err := n.log.Flush(); !m.failed("flush", err) {
			n.told, n.cut = end, -1
		}
	case k < 75:
		m.note("%s: checkpoint at %d", n.name, n.end())
		if err := n.log.Checkpoint(); !m.failed("checkpoint", err) {
			n.told, n.cut = n.end(), -1
		}
	case k < 78:
		m.note("%s: roll at %d", n.name, n.end())
		m.failed("roll", n.log.Roll())
	case k < 81:
		m.advance(n)
	case k < 83:
		m.truncate(n)
	case k < 86:
		m.note("drain %s", n.name)
		_, err := n.log.flush(drainHow{})
		m.failed("drain", err)
	case k < 91:
		n.log.CloseUnused()
		m.check(n)
	case k < 94:
		m.reopen()
	case k < 96:
		m.note("kill")
		m.killed = true
	default:
		m.cutPower()
	}
	m.live()
}

func (m *nodeModel) cutPower() {
	keep := []float64{0, 0.5, 1}[m.rng.IntN(3)]
	m.note("power fails, keeps %v", keep)
	m.crashed = m.disk.Crash(keep, m.rng)
}

// live opens the node again if it has died, perhaps through more deaths. A process that was killed
// has left its unsynced writes behind, which a power cut may take at any time later.
func (m *nodeModel) live() {
	m.disk.OnSync = nil
	m.fs.Clear()
	for (m.crashed != nil || m.killed) && !m.t.Failed() {
		if m.crashed != nil {
			m.disk = m.crashed
		}
		m.crashed, m.killed = nil, false
		switch m.rng.IntN(6) {
		case 0:
			m.armCrash()
		case 1:
			m.cutPower()
			continue
		}
		m.open()
		m.disk.OnSync = nil
		m.fs.Clear()
	}
}

func (m *nodeModel) armIO() {
	fault := vfs.Fault{
		Op: vfs.OpSync, Nth: 1 + m.rng.IntN(10), Times: 1, Err: vfs.ErrIO,
		Glob: []string{"*.journal", "recovery-point"}[m.rng.IntN(2)],
	}
	if m.rng.IntN(3) == 0 {
		fault.Op = vfs.OpWrite
	}
	m.note("(EIO at %d of %v)", fault.Nth, fault.Op)
	m.fs.Add(fault)
}

// armKill ends the process at one of its next file operations.
func (m *nodeModel) armKill() {
	fault := vfs.Fault{Nth: 1 + m.rng.IntN(60), Err: errKilled}
	m.note("(killed at file operation %d)", fault.Nth)
	m.fs.Add(fault)
}

// armCrash cuts the power at one of the next syncs.
func (m *nodeModel) armCrash() {
	in := 1 + m.rng.IntN(6)
	keep := []float64{0, 0.5, 1}[m.rng.IntN(3)]
	m.note("(power fails at sync %d, keeps %v)", in, keep)
	fs := m.disk
	fs.OnSync = func(string, int) {
		if in--; in == 0 {
			m.crashed = fs.Crash(keep, m.rng)
		}
	}
}

func (m *nodeModel) append(n *nodeLog) {
	var p []byte
	var added []modelBatch
	next := n.end()
	for range 1 + m.rng.IntN(3) {
		m.mark++
		records := 1 + m.rng.IntN(3)
		p = append(p, buildBatch(m.t, m.mark, records, m.rng.IntN(m.sizes), 1000)...)
		added = append(added, modelBatch{base: next, next: next + Offset(records)})
		next += Offset(records)
	}
	m.note("%s: append %d bytes, offsets %d to %d", n.name, len(p), n.end(), next)
	if _, end, err := n.log.Append(p, 1); m.failed("append", err) {
		if m.journal != nil { // else the bytes may be in the file all the same
			return
		}
	} else if end != next {
		m.fail("append = %d", end)
	}
	for _, a := range added {
		size := int(uint32(p[8])<<24|uint32(p[9])<<16|uint32(p[10])<<8|uint32(p[11])) + 12
		a.bytes, p = bytes.Clone(p[:size]), p[size:]
		n.batches = append(n.batches, a)
	}
	if m.rng.IntN(8) > 0 && !m.killed && m.crashed == nil {
		n.member.Dirty()
	}
}

func (m *nodeModel) commit() {
	m.note("commit")
	_, err := m.c.CommitOnce()
	m.failed("commit", err)
}

func (m *nodeModel) advance(n *nodeLog) {
	to := n.start + Offset(m.rng.Int64N(int64(n.end()-n.start)+1))
	m.note("%s: advance start from %d to %d", n.name, n.start, to)
	n.started = max(n.started, to)
	if m.failed("advance start", n.log.AdvanceStart(to)) {
		return
	}
	n.start = max(n.start, to)
	n.told = max(n.told, to)
}

func (m *nodeModel) truncate(n *nodeLog) {
	to := n.start + Offset(m.rng.Int64N(int64(n.end()-n.start)+1))
	cut, keep := n.end(), len(n.batches)
	for keep > 0 && n.batches[keep-1].next > to {
		keep--
		cut = n.batches[keep].base
	}
	m.note("%s: truncate %d to %d, that is %d", n.name, n.end(), to, cut)
	n.told, n.cut = min(n.told, cut), cut
	n.start = min(n.start, cut)
	if m.failed("truncate", n.log.Truncate(to)) {
		return
	}
	n.batches = n.batches[:keep]
	n.started, n.cut = n.start, -1
	if n.log.End() != cut {
		m.fail("%s ends at %d after truncation to %d", n.name, n.log.End(), cut)
	}
}

// reopen closes the node cleanly and opens it again.
func (m *nodeModel) reopen() {
	m.note("close and open")
	for _, n := range m.logs {
		if m.crashed != nil || m.killed {
			return
		}
		n.member.Leave()
		if m.failed("close", n.log.Close()) {
			return
		}
		n.told, n.cut = n.end(), -1
	}
	if m.failed("close committer", m.c.Close()) || (m.journal != nil && m.failed("close journal", m.journal.Close())) {
		return
	}
	m.open()
}

// open opens the node on what there is, and takes from it what a crash was allowed to change.
func (m *nodeModel) open() {
	var err error
	m.fs = vfs.NewFaulty(m.disk)
	if m.rng.IntN(8) == 0 {
		m.armKill()
	}
	m.journal, err = journal.Open(journal.Options{
		FS: m.fs, Dir: "/data/journal", FileBytes: m.fileBytes, FilesMax: 2 + m.rng.IntN(3),
		Manual: true, Salt: m.rng.Uint64,
	})
	if m.failed("open journal", err) {
		return
	}
	early := m.rng.IntN(2) == 0
	if early {
		for _, name := range m.journal.Logs() {
			if m.failed("replay", Replay("/data/"+name, Options{FS: m.fs, Journal: m.journal, Name: name})) {
				return
			}
		}
		if m.rng.IntN(3) == 0 {
			m.note("written through")
			if m.failed("close journal", m.journal.Close()) {
				return
			}
			m.journal = nil
		} else if m.failed("recovered early", m.journal.Recovered()) {
			return
		}
	}
	m.buffers = testBuffers(m.t, int64(m.rng.IntN(64<<10)))
	if m.rng.IntN(2) == 0 {
		m.buffers.o.UndrainedBytesMax = int64(chunkBytesMin * (1 + m.rng.IntN(20)))
	}
	m.o.Journal, m.o.Buffers = m.journal, m.buffers
	if m.journal == nil {
		m.o.Buffers = nil
	}
	for _, n := range m.logs {
		o := Options{
			FS: m.fs, Journal: m.journal, Name: n.name, Buffers: m.buffers, SegmentBytes: m.segment,
			IndexIntervalBytes: 300,
		}
		if m.journal == nil {
			o.Buffers = nil
		}
		n.log, err = Open("/data/"+n.name, o)
		if m.failed("open "+n.name, err) {
			return
		}
		m.opened(n)
		if m.t.Failed() {
			return
		}
	}
	if !early && m.failed("recovered", m.journal.Recovered()) {
		return
	}
	m.c = NewCommitter(m.o)
	for _, n := range m.logs {
		n.member = m.c.Join(n.log, func(end Offset) {
			if end > n.told {
				n.told = end
			}
			if end > n.log.FlushedEnd() {
				m.fail("%s was told %d, flushed %d", n.name, end, n.log.FlushedEnd())
			}
		})
	}
}

func (m *nodeModel) opened(n *nodeLog) {
	end := n.log.End()
	m.note("%s opened: start %d, end %d; told %d, appended %d", n.name, n.log.Start(), end, n.told, n.end())
	low := n.told
	if end < low || end > n.end() {
		m.fail("%s ends at %d, told %d, appended %d", n.name, end, n.told, n.end())
		return
	}
	if s := n.log.Start(); s < n.start || s > n.started {
		m.fail("%s starts at %d, want %d to %d", n.name, s, n.start, n.started)
	}
	for n.end() > end {
		n.batches = n.batches[:len(n.batches)-1]
	}
	// What was recovered may be read, so it must not be lost any more.
	n.told, n.cut = end, -1
	n.start, n.started = n.log.Start(), n.log.Start()
	m.check(n)
}

func (m *nodeModel) check(n *nodeLog) {
	var want []byte
	for _, b := range n.batches {
		if b.next > n.log.Start() {
			want = append(want, b.bytes...)
		}
	}
	got, err := n.log.Read(nil, ReadRequest{From: n.log.Start(), Bound: n.end(), MaxBytes: 1 << 30})
	if m.failed("read", err) {
		return
	}
	if !bytes.Equal(got, want) {
		m.fail("%s: read %d bytes of [%d, %d), want %d", n.name, len(got), n.log.Start(), n.end(), len(want))
	}
}
