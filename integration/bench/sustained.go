package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// What makes a run a sustained one.
const (
	sustainedLength = 60 * time.Second
	sustainedBytes  = int64(20e9)
	sustainedWindow = 5 * time.Second
	// sustainedReference is how long the reference runs, before and after.
	sustainedReference = 10 * time.Second
	// sustainedMax ends a run on a machine that is too slow to write that much.
	sustainedMax = 5 * time.Minute
	// sustainedRatio is how much of the reference must be held.
	sustainedRatio = 0.75
)

// journalDir is the folder of the commit journal in the data directory.
const journalDir = "journal"

// sustainedSection writes without a pause, long enough to see what a short run hides: writeback,
// segments that roll, a disk whose cache is full.
func sustainedSection(ctx context.Context, b *bench) error {
	if b.quick {
		return nil
	}
	p, err := b.startPair()
	if err != nil {
		return err
	}
	c := produceCase{size: 1024, partitions: 1, codec: plain, schedules: true}
	before, err := b.sustainedReference(ctx, p.drop, c)
	if err != nil {
		return errors.Join(err, p.end())
	}
	s := &sustaining{pair: p, produce: c}
	if err := b.sustain(ctx, s); err != nil {
		return errors.Join(err, p.end())
	}
	after, err := b.sustainedReference(ctx, p.drop, c)
	if err != nil {
		return errors.Join(err, p.end())
	}
	if err := b.printSustained(s, (before.rate()+after.rate())/2); err != nil {
		return errors.Join(err, p.end())
	}
	return p.end()
}

func (b *bench) sustainedReference(
	ctx context.Context, drop *target, c produceCase,
) (sample, error) {
	topic, err := drop.newTopic(ctx, topicSpec{partitions: 1})
	if err != nil {
		return sample{}, err
	}
	p, err := b.startProducing(ctx, drop, topic, c)
	if err != nil {
		return sample{}, err
	}
	defer p.cl.Close()
	s, err := measureNow(ctx, drop, sustainedReference, p.count)
	return s, errors.Join(err, p.finish(ctx))
}

// sustaining is the long run.
type sustaining struct {
	pair
	produce produceCase
	windows []sample
	total   sample   // its usage is the process's from its start on
	logs    []string // topics written to, one after the other
}

// logParts is how many logs fill the disk: one that is full, one that is written, and room.
const logParts = 3

var sustainedTopic = topicSpec{partitions: 1, schedules: true, forever: true}

// nextLog lets the producer go on in a new topic, and deletes the one before the last: the client
// may still hold records for that.
func (s *sustaining) nextLog(ctx context.Context, p *producing) error {
	topic, err := s.chronos.newTopic(ctx, sustainedTopic)
	if err != nil {
		return err
	}
	s.logs = append(s.logs, topic)
	p.topic.Store(&topic)
	if n := len(s.logs); n >= logParts {
		return s.chronos.dropTopic(ctx, s.logs[n-logParts])
	}
	return nil
}

// sustain writes until the run is long and large enough. A log that takes a third of the free disk
// is followed by another one.
func (b *bench) sustain(ctx context.Context, s *sustaining) error {
	free, err := freeBytes(b.dir)
	if err != nil {
		return err
	}
	if free < 2*sustainedBytes {
		return fmt.Errorf("%d bytes are free, a sustained run needs %d", free, 2*sustainedBytes)
	}
	topic, err := s.chronos.newTopic(ctx, sustainedTopic)
	if err != nil {
		return err
	}
	s.logs = []string{topic}
	flushDisk()
	begun := time.Now()
	p, err := b.startProducing(ctx, s.chronos, topic, s.produce)
	if err != nil {
		return err
	}
	defer p.cl.Close()
	for inLog := int64(0); !s.enough() && err == nil; {
		var w sample
		if w, err = measureNow(ctx, s.chronos, sustainedWindow, p.count); err != nil {
			break
		}
		s.windows = append(s.windows, w)
		s.total.records, s.total.elapsed = p.count(), time.Since(begun)
		inLog += int64(w.records) * int64(s.produce.size)
		if inLog > free/logParts && !s.enough() {
			err = s.nextLog(ctx, p)
			inLog = 0
		}
	}
	if err = errors.Join(err, p.finish(ctx)); err != nil {
		return err
	}
	s.total.used, err = s.chronos.usage()
	return err
}

func (s *sustaining) enough() bool {
	bytes := int64(s.total.records) * int64(s.produce.size)
	return s.total.elapsed >= sustainedLength && bytes >= sustainedBytes ||
		s.total.elapsed >= sustainedMax
}

func (b *bench) printSustained(s *sustaining, reference float64) error {
	const title = "Sustained: produce 1 KiB, 1 partition, acks=all, retention off, one run"
	t := newTable(title, "length", "values", "records", "chronos", "drop", "of drop", "value bytes/s",
		"slowest and fastest 5 s", "server CPU/rec", "fdatasyncs", "written by the process")
	m, size := s.total, float64(s.produce.size)
	byRate := slices.Clone(s.windows)
	slices.SortFunc(byRate, func(x, y sample) int { return int(x.rate() - y.rate()) })
	t.add(fmt.Sprintf("%.1f s", m.elapsed.Seconds()), megabytes(m.records*size), count(m.records),
		count(m.rate())+"/s", count(reference)+"/s", ratio(m.rate(), reference),
		megabytes(m.rate()*size),
		count(byRate[0].rate())+"/s, "+count(byRate[len(byRate)-1].rate())+"/s",
		micros(m.used.cpu, m.records), count(m.used.fsyncs), megabytes(float64(m.used.written)))
	zeroed, err := folderBytes(filepath.Join(s.chronos.dir, journalDir))
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	t.note("Written is write_bytes of /proc/<pid>/io from the start of the process, so what was "+
		"filled with zeros is counted: %s of commit journal, which is recycled. Segments are never "+
		"filled with zeros.", megabytes(float64(zeroed)))
	if n := len(s.logs); n > 1 {
		t.note("The disk is too small for one log: %d were written one after the other, and %d of them "+
			"deleted during the run.", n, max(0, n-logParts+1))
	}
	b.print(t)
	runs := newRunsTable(title, "records/s in windows of 5 s")
	runs.addRates("1 run", "chronos", s.windows)
	b.print(runs.table)
	bytes := m.records * size
	b.addFloor(m.elapsed >= sustainedLength && bytes >= float64(sustainedBytes),
		"sustained: 60 s and 20 GB", "%.1f s, %s", m.elapsed.Seconds(), megabytes(bytes))
	b.addFloor(m.rate()/reference >= sustainedRatio, "sustained 1 KiB: 0.75 of drop", "%s/s, %.2f",
		count(m.rate()), m.rate()/reference)
	return nil
}
