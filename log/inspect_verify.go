package log

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// VerifyOptions say how Verify looks at a log, and who hears of it.
type VerifyOptions struct {
	FS vfs.FS
	// IndexIntervalBytes is the option that the log was opened with. 4096.
	IndexIntervalBytes int64
	// OnFinding is called for everything that is not as it should be.
	OnFinding func(f Finding)
	// OnBatch is called for each intact batch in order. Its error ends the call.
	OnBatch func(b BatchAt) error
	// OnBytes is called with the bytes of segments that were read since the last call.
	OnBytes func(n int64)
	// Await is called when there is no note, or nothing in it: a server that is making the log is
	// about to write it. It is read once more when Await returns.
	Await func()
}

// VerifySummary is what Verify has read.
type VerifySummary struct {
	Dir           string
	Noted         bool // Noted says that there is an intact note: the next four are known.
	Start         Offset
	FlushedEnd    Offset
	RecoveryPoint Offset
	End           Offset // End is the offset behind the last intact batch.
	Segments      int
	Batches       int64
	Records       int64
	Bytes         int64 // Bytes is the length of all segment files.
}

// Verify reads all files of a log's folder and checks each against the others. It writes nothing
// and needs no lock; what a server writes meanwhile is not taken for damage.
func Verify(dir string, o VerifyOptions) (VerifySummary, error) {
	if o.IndexIntervalBytes == 0 {
		o.IndexIntervalBytes = IndexIntervalBytesDefault
	}
	v := &verification{o: o, dir: dir, sum: VerifySummary{Dir: dir}}
	err := v.run()
	return v.sum, err
}

// verification is one Verify.
type verification struct {
	o    VerifyOptions
	dir  string
	note noteState
	sum  VerifySummary

	epochs epochs
	bases  []Offset // of the segments, ascending
	swaps  []swapName
}

func (v *verification) report(g Grade, file string, pos int64, err error) {
	if v.o.OnFinding != nil {
		v.o.OnFinding(Finding{Grade: g, File: file, Position: pos, Err: err})
	}
}

func (v *verification) path(name string) string { return v.o.FS.PathJoin(v.dir, name) }

// segmentPath is where a segment's batches are: a swap that was not finished stands for others.
func (v *verification) segmentPath(base Offset) string {
	for _, swap := range v.swaps {
		if base == swap.base {
			return swap.path(v.o.FS, v.dir)
		}
	}
	return segmentPath(v.o.FS, v.dir, base)
}

func (v *verification) run() error {
	// The note comes first: what it vouches for stays, whatever a server does meanwhile.
	if err := v.readNote(); err != nil {
		return err
	}
	if err := v.readNames(); err != nil {
		return err
	}
	v.readEpochs()
	v.readAside()
	if len(v.bases) == 0 {
		if v.sum.Noted && v.note.flushed > v.note.start {
			v.report(GradeDamage, v.segmentPath(v.note.recovery.segment), 0, fmt.Errorf(
				"the segment is missing; the log had flushed offsets %d to %d", v.note.start, v.note.flushed))
		}
		return nil
	}
	v.dropBelowStart()
	v.checkFirst()
	for i := range v.bases {
		if err := v.segment(i); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) readNote() error {
	path := v.path(noteName)
	p, err := v.o.FS.ReadFile(path)
	slots, state, found := readSlots(p)
	if !found && v.o.Await != nil {
		v.o.Await()
		p, err = v.o.FS.ReadFile(path)
		slots, state, found = readSlots(p)
	}
	if isNotExist(err) {
		v.report(GradeDamage, path, 0, errors.New("the note is missing: it is not known what was"+
			" flushed, and a start reads the whole log"))
		return nil
	}
	if err != nil {
		return err
	}
	for _, slot := range slots {
		if slot.Err != nil {
			v.report(GradeDerived, path, slot.Position, slot.Err)
		}
	}
	if !found {
		v.report(GradeDamage, path, 0, errors.New("no slot of the note is intact: it is not known what"+
			" was flushed, and a start reads the whole log"))
		return nil
	}
	v.note, v.sum.Noted = state, true
	v.sum.Start, v.sum.FlushedEnd = state.start, state.flushed
	v.sum.RecoveryPoint = state.recovery.offset
	return nil
}

// readAside tells of entries that wait for the next start.
func (v *verification) readAside() {
	entries, end, err := InspectAside(v.o.FS, v.dir)
	var damage *journal.CorruptError
	switch {
	case errors.As(err, &damage):
		v.report(GradeDamage, damage.File, damage.Position, damage.Err)
	case err != nil:
		v.report(GradeDamage, v.path(asideName), 0, err)
	case entries > 0:
		v.report(GradeRemark, v.path(asideName), 0, fmt.Errorf("%d entries of the commit journal, up to"+
			" offset %d, are put aside here for the next start that can read the log", entries, end))
	}
}

func (v *verification) readNames() error {
	names, err := v.o.FS.List(v.dir)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	slices.Sort(names)
	if _, known, err := loadCompaction(v.o.FS, v.dir); err == nil && !known {
		v.report(GradeDerived, v.path(compactionName), 0, errors.New("it is damaged; the log counts as"+
			" not compacted, and offsets that are missing are not noticed"))
	}
	for _, name := range names {
		if base, ok := parseSegmentName(name); ok {
			v.bases = append(v.bases, base)
		}
		if swap, ok := parseSwapName(name); ok {
			v.swaps = append(v.swaps, swap)
			v.report(GradeRemark, v.path(name), 0, errors.New("a compaction did not finish; the next"+
				" start puts this segment in the place of those that it replaces"))
		}
		if strings.HasSuffix(name, cleanedSuffix) {
			v.report(GradeRemark, v.path(name), 0, errors.New("a compaction is writing this, or did not"+
				" finish; a start removes it"))
		}
		if strings.HasSuffix(name, ".tmp") {
			v.report(GradeRemark, v.path(name), 0, errors.New("an atomic write that did not finish; the"+
				" next start removes it"))
		}
	}
	for _, swap := range v.swaps {
		v.bases = slices.DeleteFunc(v.bases, func(b Offset) bool {
			return b >= swap.base && b < swap.end
		})
		v.bases = append(v.bases, swap.base)
	}
	slices.Sort(v.bases)
	return nil
}

func (v *verification) readEpochs() {
	path := v.path(epochsName)
	p, err := v.o.FS.ReadFile(path)
	if err == nil {
		v.epochs, err = parseEpochs(p)
	}
	switch {
	case isNotExist(err) && (len(v.bases) == 0 || v.note.flushed == v.note.start):
		// A log without a record has no epoch.
	case err != nil:
		v.report(GradeDerived, path, 0, fmt.Errorf("%w; a start makes it anew from the batches", err))
	}
}

// dropBelowStart leaves out the segments that the next start deletes.
func (v *verification) dropBelowStart() {
	if !v.sum.Noted {
		return
	}
	for len(v.bases) > 1 && v.bases[1] <= v.note.start && v.bases[0] < v.note.recovery.segment {
		v.report(GradeRemark, v.segmentPath(v.bases[0]), 0, fmt.Errorf("it lies wholly below the log's"+
			" start, %d; the next start deletes it", v.note.start))
		v.bases = v.bases[1:]
	}
}

// checkFirst makes sure that the log's start and the recovery point have their segments.
func (v *verification) checkFirst() {
	if !v.sum.Noted {
		v.sum.Start = v.bases[0]
		return
	}
	if v.bases[0] > v.note.start {
		v.report(GradeDamage, v.segmentPath(v.note.start), 0, fmt.Errorf("the segment with offset %d is"+
			" missing; the first one is %s", v.note.start, v.segmentPath(v.bases[0])))
	}
	at := v.note.recovery
	if !slices.Contains(v.bases, at.segment) {
		v.report(GradeDamage, v.segmentPath(at.segment), 0,
			errors.New("the segment of the recovery point is missing"))
	}
}

// segment verifies one segment with its indexes. What is found is believed if a second look finds
// it too: a server may have written, compacted or deleted the files during the first.
func (v *verification) segment(i int) error {
	first := v.newSegmentCheck(i, true)
	err := first.run()
	if isNotExist(err) {
		if !v.deletedMeanwhile(i) {
			v.report(GradeDamage, v.segmentPath(v.bases[i]), 0, errors.New("the segment has vanished"))
		}
		return nil
	}
	if err != nil {
		return err
	}
	findings := first.findings
	if len(findings) > 0 {
		second := v.newSegmentCheck(i, false)
		if err := second.run(); err != nil && !isNotExist(err) {
			return err
		}
		findings = slices.DeleteFunc(findings, func(f Finding) bool {
			return !slices.ContainsFunc(second.findings, func(o Finding) bool {
				return o.File == f.File && o.Position == f.Position
			})
		})
	}
	for _, f := range findings {
		v.report(f.Grade, f.File, f.Position, f.Err)
	}
	v.sum.End = first.sum.End
	v.sum.Segments++
	v.sum.Batches += first.sum.Batches
	v.sum.Records += first.sum.Records
	v.sum.Bytes += first.sum.Bytes
	return nil
}

// deletedMeanwhile says whether the note now says that the segment lies below the log's start.
func (v *verification) deletedMeanwhile(i int) bool {
	p, err := v.o.FS.ReadFile(v.path(noteName))
	if err != nil {
		return false
	}
	_, state, found := readSlots(p)
	return found && i+1 < len(v.bases) && v.bases[i+1] <= state.start
}

// segmentCheck is one look at one segment.
type segmentCheck struct {
	v     *verification
	i     int
	base  Offset
	first bool // whether this look is the one that OnBatch and OnBytes hear of

	index, times *tableCheck
	sum          SegmentSummary
	maxTime      UnixMs
	tailDamaged  bool // the last bytes of the file are no batch
	pointSeen    bool // whether the recovery point is a batch boundary of this segment
	findings     []Finding
}

func (v *verification) newSegmentCheck(i int, first bool) *segmentCheck {
	return &segmentCheck{v: v, i: i, base: v.bases[i], first: first, maxTime: noTime}
}

func (c *segmentCheck) add(g Grade, file string, pos int64, err error) {
	c.findings = append(c.findings, Finding{Grade: g, File: file, Position: pos, Err: err})
}

func (c *segmentCheck) run() error {
	v := c.v
	fs := v.o.FS
	s := newSegment(fs, v.dir, c.base)
	c.index = c.newTable(s.index, offsetTable)
	c.times = c.newTable(s.times, timeTable)
	// Before the batches: what an entry of an active segment names was there when it was read.
	c.index.load()
	c.times.load()
	var err error
	c.sum, err = InspectSegment(v.segmentPath(c.base), SegmentInspection{
		FS: fs, OnBatch: c.batch, OnDamage: c.damage,
	})
	if err != nil {
		return err
	}
	c.finish()
	return nil
}

func (c *segmentCheck) newTable(t *table, kind byte) *tableCheck {
	v, at := c.v, c.v.note.recovery
	trusted := 0
	switch {
	case !v.sum.Noted:
	case c.base < at.segment:
		trusted = allTrusted
	case c.base == at.segment && kind == offsetTable:
		trusted = at.indexEntries
	case c.base == at.segment:
		trusted = at.timeEntries
	}
	return &tableCheck{
		table: t, kind: kind, base: c.base, interval: v.o.IndexIntervalBytes, trusted: trusted,
	}
}

func (c *segmentCheck) batch(b BatchAt) error {
	at := place{offset: b.Batch.BaseOffset(), pos: b.Position}
	c.checkPoint(at)
	c.index.batch(at, c.maxTime)
	c.times.batch(at, c.maxTime)
	c.maxTime = max(c.maxTime, b.Batch.MaxTimestamp())
	if e, known := c.v.epochs.at(at.offset); known && e != b.Batch.LeaderEpoch() {
		c.add(GradeDamage, b.File, b.Position, fmt.Errorf("%w: the batch of offset %d has leader epoch"+
			" %d, %s says %d", batch.ErrCorrupt, at.offset, b.Batch.LeaderEpoch(), epochsName, e))
	}
	if !c.first {
		return nil
	}
	if c.v.o.OnBytes != nil {
		c.v.o.OnBytes(int64(len(b.Batch)))
	}
	if c.v.o.OnBatch != nil {
		return c.v.o.OnBatch(b)
	}
	return nil
}

// checkPoint compares a batch boundary with the recovery point.
func (c *segmentCheck) checkPoint(at place) {
	p := c.v.note.recovery
	if !c.v.sum.Noted || p.segment != c.base || at.pos != p.pos || c.pointSeen {
		return
	}
	c.pointSeen = true
	if at.offset != p.offset {
		c.add(GradeDamage, c.v.path(noteName), 0, fmt.Errorf("the recovery point is offset %d at byte"+
			" %d of %s, where offset %d begins", p.offset, p.pos, c.v.segmentPath(c.base), at.offset))
	}
}

// acknowledged says whether somebody may have been told of the record at an offset.
func (c *segmentCheck) acknowledged(o Offset) bool {
	return !c.v.sum.Noted || o < c.v.note.flushed
}

func (c *segmentCheck) damage(d SegmentDamage) error {
	c.tailDamaged = d.Next == noOffset
	c.checkPoint(place{offset: d.Offset, pos: d.Position})
	if p := c.v.note.recovery.pos; d.Position < p && p < d.Until {
		c.pointSeen = true // It lies in what cannot be read, which is reported.
	}
	next := place{offset: d.Next, pos: d.Until}
	if c.tailDamaged {
		next.offset = d.Offset
	}
	c.index.skip(next)
	c.times.skip(next)
	last := c.i == len(c.v.bases)-1
	switch {
	case !c.acknowledged(d.Offset), !c.v.sum.Noted && last && c.tailDamaged:
		c.add(GradeRemark, d.File, d.Position, fmt.Errorf("%w; this was not acknowledged by what the"+
			" note says, and the next start cuts it", d.error()))
	default:
		c.add(GradeDamage, d.File, d.Position, d.error())
	}
	if c.first && c.v.o.OnBytes != nil {
		c.v.o.OnBytes(d.Until - d.Position)
	}
	return nil
}

// finish compares the segment's end with what follows it.
func (c *segmentCheck) finish() {
	v, end := c.v, place{offset: c.sum.End, pos: c.sum.EndPos}
	c.checkPoint(end)
	if p := v.note.recovery; v.sum.Noted && p.segment == c.base && !c.pointSeen && end.pos > p.pos {
		c.add(GradeDamage, v.path(noteName), 0, fmt.Errorf("the recovery point is byte %d of %s, where"+
			" no batch begins", p.pos, v.segmentPath(c.base)))
	}
	sealed := c.i+1 < len(v.bases)
	if !c.tailDamaged {
		c.index.end(end, c.maxTime, sealed)
		c.times.end(end, c.maxTime, sealed)
		c.checkEnd(end, sealed)
	}
	c.findings = append(c.findings, c.index.all()...)
	c.findings = append(c.findings, c.times.all()...)
	if c.first && v.o.OnBytes != nil {
		v.o.OnBytes(c.sum.ZeroTail)
	}
}

// checkEnd makes sure that the next segment begins where this one ends, and that the last one
// reaches what was flushed.
func (c *segmentCheck) checkEnd(end place, sealed bool) {
	v, path := c.v, c.sum.Path
	next := v.note.flushed // of the last segment: at least
	if sealed {
		next = v.bases[c.i+1]
	}
	switch {
	case sealed && next < end.offset:
		c.add(GradeDamage, v.segmentPath(next), 0, fmt.Errorf("%w: %s goes on to offset %d",
			batch.ErrCorrupt, path, end.offset))
	case next <= end.offset:
	case sealed && c.times.namesEnd(end.offset) && c.sum.ZeroTail == 0 && c.sum.Batches > 0:
		// Its own time index says that this one is whole.
		c.add(c.gapGrade(end.offset), v.segmentPath(end.offset), 0, fmt.Errorf("the segment is missing:"+
			" offsets %d to %d", end.offset, next-1))
	default:
		c.add(c.gapGrade(end.offset), path, end.pos, fmt.Errorf("%w: the segment ends at offset %d; %d"+
			" to %d should follow", batch.ErrShort, end.offset, end.offset, next-1))
	}
}

// gapGrade grades a hole that begins at an offset.
func (c *segmentCheck) gapGrade(from Offset) Grade {
	if c.acknowledged(from) {
		return GradeDamage
	}
	return GradeRemark
}
