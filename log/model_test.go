package log

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

var (
	modelSeed      = flag.Uint64("model.seed", 0, "run this one history of the model test")
	modelHistories = flag.Int("model.histories", 400, "how many histories the model test runs")
)

// TestModel runs random histories against a slice of batches, with power cuts between any two
// syncs and in between operations. What was flushed must be there after each, byte for byte.
func TestModel(t *testing.T) {
	if *modelSeed != 0 {
		runHistory(t, *modelSeed)
		return
	}
	first := rand.Uint64() | 1
	t.Logf("first seed %d", first)
	n := *modelHistories
	if testing.Short() {
		n /= 8
	}
	for i := range n {
		if runHistory(t, first+uint64(i)); t.Failed() {
			t.Fatalf("rerun with -run TestModel -model.seed=%d", first+uint64(i))
		}
	}
}

// modelBatch is one appended batch.
type modelBatch struct {
	base, next Offset
	bytes      []byte
	times      []UnixMs
}

// model is the log as it should be, and the machine under it.
type model struct {
	t    *testing.T
	rng  *rand.Rand
	seed uint64
	ops  []string // for the failure's text

	fs  *vfs.Crash
	o   Options
	log *Log

	batches   []modelBatch
	start     Offset // first offset that can be read
	startMin  Offset // after a crash the start may be this low
	acked     Offset // after a crash the end must not be lower
	cutMin    Offset // after a crash the end may be this low: a truncation was under way
	recovery  Offset // after a crash the recovery point must not be lower
	epoch     LeaderEpoch
	epochMin  LeaderEpoch
	clockMs   UnixMs
	recovered []modelBatch // what OnRecover has seen in the last Open
	crashed   *vfs.Crash   // set when OnSync has cut the power
}

func runHistory(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := &model{t: t, rng: rng, seed: seed, fs: vfs.NewCrash(seed), clockMs: 1_000_000}
	m.o = Options{
		SegmentBytes:       int64(300 + rng.IntN(3000)),
		SegmentMs:          int64(1 + rng.IntN(200)),
		IndexIntervalBytes: int64(1 + rng.IntN(600)),
		OnRecover:          m.onRecover,
	}
	if rng.IntN(2) == 0 {
		m.o.Buffers = testBuffers(t, int64(rng.IntN(64<<10)))
	}
	defer func() {
		if t.Failed() {
			t.Logf("history of seed %d:\n%s", seed, strings.Join(m.ops, "\n"))
		}
	}()
	m.open()
	for range 20 + rng.IntN(60) {
		if t.Failed() {
			return
		}
		m.step()
	}
	m.note("close")
	if err := m.log.Close(); err != nil {
		m.fail("close: %v", err)
		return
	}
	m.checkpointed(m.end())
	m.open()
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("seed %d, op %d: %s", m.seed, len(m.ops), fmt.Sprintf(format, args...))
}

func (m *model) note(format string, args ...any) {
	m.ops = append(m.ops, fmt.Sprintf(format, args...))
}

func (m *model) end() Offset {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].next
}

// onRecover keeps what Open hands to the owner.
func (m *model) onRecover(b batch.Batch) error {
	m.recovered = append(m.recovered, modelBatch{base: b.BaseOffset(), bytes: bytes.Clone(b)})
	return nil
}

// step does one random operation, and may cut the power at one of its syncs.
func (m *model) step() {
	if m.rng.IntN(12) == 0 {
		m.armCrash()
	}
	switch k := m.rng.IntN(100); {
	case k < 45:
		m.append()
	case k < 65:
		m.flush()
	case k < 71:
		m.checkpoint()
	case k < 74:
		m.roll()
	case k < 78:
		m.advance()
	case k < 82:
		m.truncate()
	case k < 90:
		m.check()
	case k < 94:
		m.reopen()
	default:
		m.cutPower()
	}
	if m.crashed != nil {
		m.afterCrash()
	}
	m.fs.OnSync = nil
}

// armCrash cuts the power at one of the next syncs.
func (m *model) armCrash() {
	in := 1 + m.rng.IntN(4)
	keep := []float64{0, 0.5, 1}[m.rng.IntN(3)]
	m.note("(power fails at sync %d, keeps %v)", in, keep)
	fs := m.fs
	fs.OnSync = func(string, int) {
		if in--; in == 0 {
			m.crashed = fs.Crash(keep, m.rng)
		}
	}
}

// failed says whether an operation failed because the power did.
func (m *model) failed(what string, err error) bool {
	if err == nil {
		return false
	}
	if m.crashed == nil || !errors.Is(err, vfs.ErrCrashed) {
		m.fail("%s: %v", what, err)
	}
	return true
}

func (m *model) append() {
	var p []byte
	var added []modelBatch
	next := m.end()
	for range 1 + m.rng.IntN(3) {
		b, times := m.newBatch()
		added = append(added, modelBatch{base: next, next: next + Offset(len(times)), times: times})
		next += Offset(len(times))
		p = append(p, b...)
	}
	if m.rng.IntN(10) == 0 {
		m.epoch++
	}
	m.note("append %d batches, %d bytes, offsets %d to %d, epoch %d", len(added), len(p), m.end(),
		next, m.epoch)
	first, end, err := m.log.Append(p, m.epoch)
	if m.failed("append", err) {
		return
	}
	if first != m.end() || end != next {
		m.fail("append = %d, %d", first, end)
	}
	m.epochMin = m.epoch
	for _, a := range added {
		b, rest, _ := batch.Next(p)
		a.bytes, p = bytes.Clone(b), rest
		m.batches = append(m.batches, a)
	}
}

// newBatch returns a batch with timestamps that mostly rise.
func (m *model) newBatch() (batch.Batch, []UnixMs) {
	m.clockMs += UnixMs(m.rng.IntN(30))
	b := batch.NewBuilder(batch.BuilderOptions{
		BaseTimestamp: m.clockMs, Codec: batch.Codec(m.rng.IntN(2)),
	}.NoProducer())
	var times []UnixMs
	for range 1 + m.rng.IntN(4) {
		at := m.clockMs
		switch m.rng.IntN(10) {
		case 0:
			at = -1
		case 1, 2:
			at -= UnixMs(m.rng.IntN(200))
		}
		times = append(times, at)
		value := make([]byte, m.rng.IntN(120))
		for i := range value {
			value[i] = byte(m.rng.Uint32())
		}
		if err := b.Append(batch.RecordFields{TimestampMs: at, Value: value}); err != nil {
			m.t.Fatal(err)
		}
	}
	out, err := b.Build(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return out, times
}

func (m *model) flush() {
	m.note("flush at %d", m.end())
	end, err := m.log.Flush()
	if m.failed("flush", err) {
		return
	}
	if end != m.end() || m.log.FlushedEnd() != end {
		m.fail("flush = %d, flushed end %d, want %d", end, m.log.FlushedEnd(), m.end())
	}
	m.acked, m.cutMin = end, end
}

func (m *model) checkpoint() {
	to := m.end()
	m.note("checkpoint at %d", to)
	var err error
	if m.rng.IntN(2) == 0 {
		to = m.start + Offset(m.rng.Int64N(int64(m.end()-m.start)+1))
		m.note("  only to %d", to)
		err = m.log.CheckpointTo(to)
	} else {
		err = m.log.Checkpoint()
	}
	if !m.failed("checkpoint", err) {
		m.checkpointed(to)
	}
}

// checkpointed is what holds after a checkpoint up to an offset.
func (m *model) checkpointed(to Offset) {
	m.acked, m.cutMin = m.end(), m.end()
	for _, b := range m.batches {
		if b.next <= to && b.next > m.recovery {
			m.recovery = b.next
		}
	}
}

func (m *model) roll() {
	m.note("roll at %d", m.end())
	m.failed("roll", m.log.Roll())
}

func (m *model) advance() {
	to := m.start + Offset(m.rng.Int64N(int64(m.end()-m.start)+1))
	if m.rng.IntN(2) == 0 {
		to = m.log.RetentionPoint(RetentionPolicy{Ms: int64(m.rng.IntN(400)), Bytes: -1}, m.clockMs, m.end())
		m.note("retention point is %d", to)
	}
	m.note("advance start from %d to %d", m.start, to)
	if m.failed("advance start", m.log.AdvanceStart(to)) {
		if to > m.start {
			m.startMin, m.start = m.start, to
		}
		return
	}
	m.start, m.startMin = max(m.start, to), max(m.start, to)
	if to > m.acked {
		m.acked, m.cutMin = to, to
	}
	if l := m.log.Start(); l != m.start {
		m.fail("start = %d, want %d", l, m.start)
	}
}

func (m *model) truncate() {
	to := m.start + Offset(m.rng.Int64N(int64(m.end()-m.start)+1))
	cut := m.end()
	keep := len(m.batches)
	for keep > 0 && m.batches[keep-1].next > to {
		keep--
		cut = m.batches[keep].base
	}
	m.note("truncate %d to %d, that is %d", m.end(), to, cut)
	m.acked, m.cutMin = min(m.acked, cut), min(m.cutMin, cut)
	m.recovery = min(m.recovery, cut)
	m.startMin, m.epochMin = min(m.startMin, cut), -1 // epochs go with their records
	if m.failed("truncate", m.log.Truncate(to)) {
		return
	}
	m.batches = m.batches[:keep]
	m.start, m.epochMin = min(m.start, cut), m.log.LastEpoch()
	if m.log.End() != cut || m.log.Start() != m.start {
		m.fail("log is %d to %d after truncation", m.log.Start(), m.log.End())
	}
}

// reopen closes the log cleanly: the next Open must read no batch.
func (m *model) reopen() {
	m.note("close and open")
	if m.failed("close", m.log.Close()) {
		return
	}
	m.checkpointed(m.end())
	m.damageIndex()
	m.open()
	if m.crashed == nil && len(m.recovered) > 0 {
		m.fail("open after a clean close read %d batches", len(m.recovered))
	}
}

func (m *model) cutPower() {
	keep := []float64{0, 0.5, 1}[m.rng.IntN(3)]
	m.note("power fails, keeps %v", keep)
	m.crashed = m.fs.Crash(keep, m.rng)
}

// afterCrash opens the log on what the power cut has left, perhaps through more power cuts.
func (m *model) afterCrash() {
	for m.crashed != nil && !m.t.Failed() {
		m.fs, m.crashed = m.crashed, nil
		m.damageIndex()
		if m.rng.IntN(4) == 0 {
			m.armCrash()
		}
		m.open()
		m.fs.OnSync = nil
	}
}

// damageIndex deletes, cuts or rots an index file now and then. Nothing may change by that.
func (m *model) damageIndex() {
	if m.rng.IntN(3) > 0 {
		return
	}
	names, err := m.fs.List(testDir)
	if err != nil {
		return // there is no log yet
	}
	for _, name := range names {
		if (path.Ext(name) != indexSuffix && path.Ext(name) != timesSuffix) || m.rng.IntN(2) == 0 {
			continue
		}
		m.note("damage %s", name)
		damageFile(m.t, m.fs, testDir+"/"+name, m.rng)
	}
}

// damageFile deletes, cuts, extends or rots a file.
func damageFile(t *testing.T, fs vfs.FS, name string, rng *rand.Rand) {
	t.Helper()
	kind := rng.IntN(4)
	if kind == 0 {
		if err := fs.Remove(name); err != nil {
			t.Fatal(err)
		}
		return
	}
	f, err := fs.OpenLog(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	switch kind {
	case 1:
		err = f.Truncate(rng.Int64N(size + 1))
	case 2:
		_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, 1+rng.IntN(40)), size)
	case 3:
		if size > 0 {
			_, err = f.WriteAt([]byte{byte(rng.Uint32())}, rng.Int64N(size))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the log and takes from it what a crash was allowed to change.
func (m *model) open() {
	m.recovered = nil
	m.o.FS = m.fs
	l, err := Open(testDir, m.o)
	if m.failed("open", err) {
		return
	}
	m.log = l
	end := l.End()
	m.note("opened: start %d, recovery point %d, flushed and end %d", l.Start(), l.RecoveryPoint(), end)
	if end < min(m.acked, m.cutMin) || end > m.end() {
		m.fail("end = %d after open, acked %d, appended %d", end, m.acked, m.end())
		return
	}
	if l.FlushedEnd() != end {
		m.fail("flushed end = %d after open, end %d", l.FlushedEnd(), end)
	}
	if l.Start() < m.startMin || l.Start() > m.start {
		m.fail("start = %d after open, want %d to %d", l.Start(), m.startMin, m.start)
	}
	if l.RecoveryPoint() < m.recovery || l.RecoveryPoint() > end {
		m.fail("recovery point = %d after open, want at least %d", l.RecoveryPoint(), m.recovery)
	}
	if l.LastEpoch() < m.epochMin && end > 0 {
		m.fail("epoch = %d after open, want %d", l.LastEpoch(), m.epochMin)
	}
	for len(m.batches) > 0 && m.end() > end {
		m.batches = m.batches[:len(m.batches)-1]
	}
	m.acked, m.cutMin = end, end
	m.start, m.startMin = l.Start(), l.Start()
	m.recovery = l.RecoveryPoint()
	m.epoch = max(m.epoch, l.LastEpoch())
	m.checkRecovered()
	m.check()
}

// checkRecovered makes sure that OnRecover has seen each batch at or past the recovery point once.
func (m *model) checkRecovered() {
	var want []modelBatch
	for _, b := range m.batches {
		if b.base >= m.recovery {
			want = append(want, b)
		}
	}
	if len(want) != len(m.recovered) {
		m.fail("OnRecover saw %d batches, want %d from %d on", len(m.recovered), len(want), m.recovery)
		return
	}
	for i, b := range want {
		if !bytes.Equal(b.bytes, m.recovered[i].bytes) {
			m.fail("OnRecover saw other bytes of batch %d", b.base)
		}
	}
}

// check compares all that can be read with the model.
func (m *model) check() {
	if m.crashed != nil {
		return
	}
	var want []byte
	for _, b := range m.batches {
		if b.next > m.start {
			want = append(want, b.bytes...)
		}
	}
	got, err := m.log.Read(nil, ReadRequest{From: m.start, Bound: m.end(), MaxBytes: 1 << 30})
	if m.failed("read", err) {
		return
	}
	if !bytes.Equal(got, want) {
		m.fail("read %d bytes of [%d, %d), want %d", len(got), m.start, m.end(), len(want))
		return
	}
	m.checkTimes()
}

// checkTimes compares lookups by time with a walk over all records.
func (m *model) checkTimes() {
	bound := m.end()
	if n := len(m.batches); n > 0 {
		bound = m.batches[m.rng.IntN(n)].next
	}
	ts := m.clockMs - UnixMs(m.rng.IntN(300))
	first, firstTime := noOffset, noTime
	best, bestTime := noOffset, noTime
	for _, b := range m.batches {
		for i, t := range b.times {
			o := b.base + Offset(i)
			if o < m.start || o >= bound {
				continue
			}
			if first == noOffset && t >= ts {
				first, firstTime = o, t
			}
			if best == noOffset || t > bestTime {
				best, bestTime = o, t
			}
		}
	}
	o, at, ok, err := m.log.OffsetForTime(ts, bound)
	if m.failed("offset for time", err) {
		return
	}
	if o != first || at != firstTime || ok != (first != noOffset) {
		m.fail("offset for time %d below %d = %d at %d, want %d at %d", ts, bound, o, at, first, firstTime)
	}
	o, at, ok, err = m.log.MaxTimestamp(bound)
	if m.failed("greatest timestamp", err) {
		return
	}
	if o != best || at != bestTime || ok != (best != noOffset) {
		m.fail("greatest timestamp below %d = %d at %d, want %d at %d", bound, o, at, best, bestTime)
	}
}
