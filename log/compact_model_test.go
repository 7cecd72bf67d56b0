package log

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/compaction"
	"github.com/chronosdb/chronosdb/log/vfs"
)

var (
	compactSeed      = flag.Uint64("compact.seed", 0, "run this one history of the compaction test")
	compactHistories = flag.Int("compact.histories", 300, "how many histories it runs")
)

// TestCompactionModel runs random histories with compactions against a list of all records ever
// appended. The power fails, or the process dies, at any file operation.
func TestCompactionModel(t *testing.T) {
	if *compactSeed != 0 {
		runCompaction(t, *compactSeed)
		return
	}
	first := rand.Uint64() | 1
	t.Logf("first seed %d", first)
	n := *compactHistories
	if testing.Short() {
		n /= 6
	}
	var sum compactionTotals
	for i := range n {
		sum.add(runCompaction(t, first+uint64(i)))
		if t.Failed() {
			t.Fatalf("rerun with -run TestCompactionModel -compact.seed=%d", first+uint64(i))
		}
	}
	t.Logf("%+v", sum)
	if n >= 50 && (sum.Removed == 0 || sum.TombstonesGone == 0 || sum.Crashes == 0 || sum.Merged == 0 ||
		sum.Full == 0 || sum.Stale+sum.Empties == 0) {
		t.Errorf("the histories did not see everything: %+v", sum)
	}
}

// compactionTotals counts what the histories have met.
type compactionTotals struct {
	Compactions, Removed, TombstonesGone, Merged, Full, Stale, Crashes, Empties int
}

func (a *compactionTotals) add(b compactionTotals) {
	a.Compactions += b.Compactions
	a.Removed += b.Removed
	a.TombstonesGone += b.TombstonesGone
	a.Merged += b.Merged
	a.Full += b.Full
	a.Stale += b.Stale
	a.Crashes += b.Crashes
	a.Empties += b.Empties
}

// compactRecord is one record that was appended.
type compactRecord struct {
	offset Offset
	at     UnixMs
	key    string // "" for none
	value  string
	dead   bool   // a tombstone
	last   Offset // of its batch
	keepTo UnixMs // a tombstone that was compacted is kept until then
	dated  bool   // keepTo is final: a compaction got through

	replaced bool // a record that a truncation took was the last of its key
}

func (r compactRecord) String() string {
	return fmt.Sprintf("%d(%s=%q,%v,%d)", r.offset, r.key, r.value, r.dead, r.at)
}

// compactModel is the log, the machine under it, and all records.
type compactModel struct {
	t    *testing.T
	rng  *rand.Rand
	seed uint64
	ops  []string

	fs      *vfs.Crash
	faulty  *vfs.Faulty
	o       Options
	log     *Log
	crashed *vfs.Crash
	totals  compactionTotals

	node *compactNode // the commit journal's world, in half of the histories

	records  []compactRecord // by offset, without gaps
	pending  []compactRecord // of an append that a crash has interrupted
	tried    Offset          // compactions have looked at what is below
	start    Offset
	startMin Offset
	acked    Offset
	cut      bool // a truncation may or may not have happened
	// truncated says that the log may end with what a compaction has emptied.
	truncated, everTruncated bool
	now                      UnixMs
	last                     map[batch.ProducerID]compaction.LastRecord
	seqs                     map[batch.ProducerID]batch.Sequence
}

func runCompaction(t *testing.T, seed uint64) compactionTotals {
	rng := rand.New(rand.NewPCG(seed, 1))
	m := &compactModel{t: t, rng: rng, seed: seed, fs: vfs.NewCrash(seed), now: 1_000_000}
	m.last = map[batch.ProducerID]compaction.LastRecord{}
	m.seqs = map[batch.ProducerID]batch.Sequence{}
	m.o = Options{
		SegmentBytes:       int64(200 + rng.IntN(3000)),
		SegmentMs:          int64(1000 + rng.IntN(100000)),
		IndexIntervalBytes: int64(1 + rng.IntN(600)),
	}
	defer func() {
		if t.Failed() {
			t.Logf("history of seed %d:\n%s", seed, strings.Join(m.ops, "\n"))
		}
	}()
	if rng.IntN(2) == 0 {
		m.node = &compactNode{fileBytes: alignUp(int64(16<<10 + rng.IntN(100<<10)))}
	}
	m.open()
	for range 30 + rng.IntN(60) {
		if t.Failed() {
			return m.totals
		}
		m.step()
	}
	m.note("close")
	if err := m.close(); err != nil {
		m.fail("close: %v", err)
		return m.totals
	}
	m.acked = m.end()
	m.open()
	return m.totals
}

func (m *compactModel) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Errorf("seed %d, op %d: %s", m.seed, len(m.ops), fmt.Sprintf(format, args...))
}

func (m *compactModel) note(format string, args ...any) {
	m.ops = append(m.ops, fmt.Sprintf(format, args...))
}

func (m *compactModel) end() Offset { return Offset(len(m.records)) }

func (m *compactModel) step() {
	if m.rng.IntN(8) == 0 {
		m.armCrash()
	}
	m.now += UnixMs(m.rng.IntN(200))
	switch k := m.rng.IntN(100); {
	case k < 40:
		m.append()
	case k < 46:
		m.note("flush")
		if !m.failed("flush", m.flush()) {
			m.acked = m.end()
		}
	case k < 56:
		m.note("roll")
		m.failed("roll", m.log.Roll())
	case k < 84:
		m.compact()
	case k < 87:
		m.advance()
	case k < 89:
		m.truncate()
	case k < 93:
		m.reopen()
	case k < 95:
		m.o.SegmentBytes = int64(200 + m.rng.IntN(5000))
		m.log.SetTopicLimits(m.o.SegmentBytes, 0)
		m.note("segment bytes %d", m.o.SegmentBytes)
	default:
		m.note("power fails")
		m.crashed = m.fs.Crash([]float64{0, 0.5, 1}[m.rng.IntN(3)], m.rng)
	}
	if m.crashed != nil {
		m.afterCrash()
	}
	m.faulty.Clear()
	if !m.t.Failed() {
		m.check()
	}
}

// armCrash cuts the power at one of the next file operations. With all kept, that is the end of
// the process only.
func (m *compactModel) armCrash() {
	nth := 1 + m.rng.IntN(60)
	keep := []float64{0, 0.5, 1}[m.rng.IntN(3)]
	m.note("(power fails at file operation %d, keeps %v)", nth, keep)
	fs := m.fs
	m.faulty.Add(vfs.Fault{Nth: nth, Times: 1, Before: func(string) {
		m.crashed = fs.Crash(keep, m.rng)
	}})
}

func (m *compactModel) failed(what string, err error) bool {
	if err == nil {
		return false
	}
	if m.crashed == nil || !errors.Is(err, vfs.ErrCrashed) {
		m.fail("%s: %v", what, err)
	}
	return true
}

// append appends a batch of records of few keys, some of them tombstones.
func (m *compactModel) append() {
	o := batch.BuilderOptions{BaseTimestamp: m.now, Codec: batch.Codec(m.rng.IntN(5))}.NoProducer()
	n := 1 + m.rng.IntN(5)
	if m.rng.IntN(3) == 0 {
		o.ProducerID, o.ProducerEpoch = batch.ProducerID(m.rng.IntN(4)), 0
		o.BaseSequence = m.seqs[o.ProducerID]
		m.seqs[o.ProducerID] = o.BaseSequence.Add(int32(n))
	}
	if m.rng.IntN(8) == 0 {
		o.Attributes |= batch.AttrMark
	}
	b := batch.NewBuilder(o)
	first := m.end()
	var added []compactRecord
	for i := range n {
		r := compactRecord{offset: first + Offset(i), at: m.now - UnixMs(m.rng.IntN(50))}
		if m.rng.IntN(30) > 0 {
			r.key = fmt.Sprintf("k%d", m.rng.IntN(12))
		}
		r.dead = m.rng.IntN(4) == 0
		if !r.dead {
			r.value = strings.Repeat("v", m.rng.IntN(60)) + fmt.Sprint(r.offset)
		}
		f := batch.RecordFields{TimestampMs: r.at, Value: []byte(r.value)}
		if r.dead {
			f.Value = nil
		}
		if r.key != "" {
			f.Key = []byte(r.key)
		}
		if err := b.Append(f); err != nil {
			m.t.Fatal(err)
		}
		r.last = first + Offset(n) - 1
		added = append(added, r)
	}
	p, err := b.Build(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if m.rng.IntN(10) == 0 {
		p.SetLogAppendTime(m.now)
		for i := range added {
			added[i].at = m.now
		}
	}
	m.note("append %v of producer %d", added, o.ProducerID)
	m.pending = added
	if _, _, err := m.log.Append(p, 1); m.failed("append", err) {
		return
	}
	m.records, m.pending, m.truncated = append(m.records, added...), nil, false
	if o.ProducerID >= 0 {
		m.last[o.ProducerID] = compaction.LastRecord{LastOffset: m.end() - 1}
	}
}

func (m *compactModel) compact() {
	if m.failed("checkpoint", m.log.Checkpoint()) {
		m.note("compact: checkpoint failed")
		return
	}
	m.acked = m.end()
	p := CompactionPolicy{Bound: m.end(), MaxLagMs: 1 << 62}
	if m.rng.IntN(3) == 0 {
		p.MinLagMs = int64(m.rng.IntN(2000))
	}
	plan := m.log.PlanCompaction(p, m.now)
	r := CompactionRequest{
		To: plan.To, Now: m.now, DeleteRetentionMs: int64(m.rng.IntN(1500)),
		Producers: m.last, MapBytes: 1,
	}
	if m.rng.IntN(4) == 0 {
		r.MapBytes = 1 << 20
	}
	if m.rng.IntN(15) == 0 {
		left := m.rng.IntN(20)
		r.Pace = func(int) error {
			if left--; left < 0 {
				return errTestQuit
			}
			return nil
		}
	}
	m.note("compact %+v at %d, keep deletes %d", plan, m.now, r.DeleteRetentionMs)
	if p.MinLagMs > 0 {
		m.checkLag(plan, p.MinLagMs)
	}
	m.tried = max(m.tried, plan.To)
	before := slices.Clone(m.records)
	for i := range m.records {
		rec := &m.records[i]
		if rec.offset >= plan.To || !rec.dead || rec.dated {
			continue
		}
		to := m.now + UnixMs(r.DeleteRetentionMs)
		if rec.keepTo == 0 || to < rec.keepTo {
			rec.keepTo = to
		}
	}
	res, err := m.log.Compact(r)
	if errors.Is(err, errTestQuit) || m.failed("compact", err) {
		return
	}
	m.note("  = %+v", res)
	m.totals.Compactions++
	m.totals.Removed += int(res.Counts.Records - res.Counts.RecordsKept)
	m.totals.Merged += res.Segments - res.Replacements
	if res.Full {
		m.totals.Full++
	}
	if res.Stale {
		m.totals.Stale++
	}
	if !res.Stale && !res.Full && m.log.CleanTo() != max(plan.To, m.log.Start()) {
		m.fail("clean to %d, want %d", m.log.CleanTo(), plan.To)
	}
	for i := range m.records {
		rec := &m.records[i]
		if rec.last < m.log.CleanTo() {
			rec.dated = true
		} else if !res.Stale {
			rec.keepTo = before[i].keepTo // the map did not get there
		}
	}
	if !res.Stale && plan.To > plan.From && m.log.CleanTo() <= plan.From {
		m.fail("no progress from %d", plan.From)
	}
}

var errTestQuit = errors.New("quit")

// checkLag makes sure that what is too young is not planned.
func (m *compactModel) checkLag(plan CompactionPlan, lag int64) {
	newest := map[string]Offset{}
	for _, r := range m.records {
		newest[r.key] = r.offset
	}
	// What a compaction has looked at may be gone, as a record without a key is, or an old tombstone:
	// a plan has it again if the compaction was interrupted, or its note has rotted.
	from := min(max(plan.From, m.start, m.tried), m.end())
	for _, r := range m.records[from:max(from, min(plan.To, m.end()))] {
		if r.at > m.now-UnixMs(lag) && newest[r.key] == r.offset {
			m.fail("%v is planned at %d with a lag of %d", r, m.now, lag)
		}
	}
}

func (m *compactModel) advance() {
	to := m.start + Offset(m.rng.Int64N(int64(m.end()-m.start)+1))/3
	m.note("advance start from %d to %d", m.start, to)
	if m.failed("advance start", m.log.AdvanceStart(to)) {
		m.start = max(m.start, to) // or not
		return
	}
	m.start, m.startMin = max(m.start, to), max(m.start, to)
	m.acked = max(m.acked, to)
}

func (m *compactModel) truncate() {
	to := m.start + Offset(m.rng.Int64N(int64(m.end()-m.start)+1))
	m.note("truncate %d to %d", m.end(), to)
	m.acked, m.cut, m.truncated, m.everTruncated = 0, true, true, true
	if m.failed("truncate", m.log.Truncate(to)) {
		return
	}
	m.cut = false
	end := m.log.End()
	m.note("  = %d", end)
	if end > to && end > 0 && m.end() > to {
		if _, _, ok := m.batchAt(to); ok {
			m.fail("log ends at %d after truncation to %d", end, to)
		}
	}
	m.lose(end)
	m.start, m.startMin = m.log.Start(), m.log.Start()
}

// batchAt returns the batch that holds an offset.
func (m *compactModel) batchAt(o Offset) (base, last Offset, ok bool) {
	err := m.log.Headers(o, o+1, func(h batch.Batch, _ int) error {
		base, last, ok = h.BaseOffset(), h.LastOffset(), true
		return nil
	})
	return base, last, ok && err == nil
}

// lose forgets the records that are gone.
func (m *compactModel) lose(end Offset) {
	for _, lost := range m.records[min(end, m.tried):m.tried] {
		for i := range m.records[:min(end, m.tried)] {
			// What replaced it is gone.
			m.records[i].replaced = m.records[i].replaced || m.records[i].key == lost.key
		}
	}
	m.records = m.records[:min(end, m.end())]
	m.tried = min(m.tried, end)
	for id, l := range m.last {
		if l.LastOffset >= end {
			delete(m.last, id) // its earlier batches may be gone
		}
	}
	for i := range m.records {
		// A compaction beyond the end has no say on what comes.
		m.records[i].keepTo = min(m.records[i].keepTo, m.now)
		m.records[i].dated = false
	}
}

func (m *compactModel) reopen() {
	m.note("close and open")
	if m.failed("close", m.close()) {
		return
	}
	m.acked = m.end()
	m.open()
}

func (m *compactModel) afterCrash() {
	for m.crashed != nil && !m.t.Failed() {
		m.totals.Crashes++
		m.fs, m.crashed = m.crashed, nil
		m.damageIndex()
		m.faulty = nil
		m.open()
	}
}

// damageIndex rots index files and the note of compaction now and then.
func (m *compactModel) damageIndex() {
	names, err := m.fs.List(testDir)
	if err != nil || m.rng.IntN(3) > 0 {
		return
	}
	for _, name := range names {
		index := strings.HasSuffix(name, indexSuffix) || strings.HasSuffix(name, timesSuffix)
		if (index || name == compactionName) && m.rng.IntN(3) == 0 {
			m.note("damage %s", name)
			damageFile(m.t, m.fs, testDir+"/"+name, m.rng)
			if _, known, _ := loadCompaction(m.fs, testDir); name == compactionName && known {
				// Deleted, or cut to nothing that anybody could tell: that is no rot, but somebody's
				// hand, and the gaps would look like damage.
				m.restoreCompactionNote()
			}
		}
	}
}

func (m *compactModel) restoreCompactionNote() {
	path := testDir + "/" + compactionName
	if err := m.fs.WriteFileAtomic(path, []byte("rotten")); err != nil {
		m.t.Fatal(err)
	}
}

func (m *compactModel) open() {
	m.faulty = vfs.NewFaulty(m.fs)
	if m.rng.IntN(6) == 0 && m.totals.Crashes > 0 {
		m.armCrash()
	}
	m.o.FS = m.faulty
	if m.node != nil && m.failed("open journal", m.node.open(m)) {
		return
	}
	l, err := Open(testDir, m.o)
	if m.failed("open", err) {
		return
	}
	if m.node != nil && m.failed("join", m.node.join(m, l)) {
		return
	}
	m.log = l
	end := l.End()
	m.note("opened: start %d, end %d, recovery point %d, clean to %d, %d segments", l.Start(), end,
		l.RecoveryPoint(), l.CleanTo(), l.Segments())
	if end > m.end() && end == m.end()+Offset(len(m.pending)) {
		m.records = append(m.records, m.pending...)
	}
	m.pending = nil
	if end < m.acked || end > m.end() {
		m.fail("end = %d after open, acked %d, appended %d", end, m.acked, m.end())
		return
	}
	if l.Start() > m.start || (l.Start() < m.startMin && !m.cut) {
		m.fail("start = %d after open, want %d to %d", l.Start(), m.startMin, m.start)
	}
	if end < m.end() {
		m.lose(end)
		m.truncated = m.everTruncated
	}
	m.start, m.startMin, m.acked, m.cut = l.Start(), l.Start(), end, false
	m.check()
}
