package replication

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
)

const (
	// PendingLimitMax bounds the records of one page.
	PendingLimitMax = 1000
	// pendingScanMax bounds the records that one page looks at to find those with a key, which the
	// index does not know.
	pendingScanMax = 100_000
	// histogramScanMax bounds the entries of the index that one histogram counts.
	histogramScanMax = 1_000_000
)

// States of a pending record.
const (
	StatePending    = "pending"
	StateDelivering = "delivering" // on its way to the partition log: too late to be steered
)

// PendingFilter says which pending records are meant.
type PendingFilter struct {
	Topic     string       // empty: all topics
	Partition int32        // -1: all
	Key       []byte       // nil: any; each candidate's record is read, so a page may be short
	ID        string       // empty: any
	DueFrom   timer.UnixMs // due from here on; 0 with a DueTo of 0: whenever
	DueTo     timer.UnixMs // and before this; 0: no end
	Limit     int          // 1 to PendingLimitMax
	Cursor    string       // where the last page ended; empty: from the beginning
}

// PendingRecord is a record that waits.
type PendingRecord struct {
	Topic     string
	Partition int32
	Position  timer.Position // names it, with topic and partition
	Due       timer.UnixMs   // when it is due next
	ID        string         // empty: it has none
	Key       []byte
	State     string
	Appended  timer.UnixMs // when it was accepted
	Created   timer.UnixMs // its producer's timestamp
	Expire    timer.UnixMs // 0: never
	Cron, Tz  string
	Every     time.Duration // 0: it does not recur, or by Cron
	Count     int32         // most deliveries; 0: no limit
	Until     timer.UnixMs  // 0: no end
	Bytes     int32         // of key and value
	Value     []byte        // from GetPending only
	Headers   []batch.Header
}

// PendingCount counts one partition.
type PendingCount struct {
	Topic     string
	Partition int32
	Pending   int64
	NextDue   timer.UnixMs // exact or a lower bound; means nothing when nothing is pending
	Paused    bool
}

// HistogramBucket counts what is due within a time from now, and not within that of the bucket
// before. The last one has the rest.
type HistogramBucket struct {
	Within  time.Duration
	Pending int64
}

// histogramBounds are the buckets' bounds; what is overdue is within 0.
var histogramBounds = []time.Duration{
	0, time.Second, time.Minute, time.Hour, 24 * time.Hour, 7 * 24 * time.Hour,
	30 * 24 * time.Hour, math.MaxInt64,
}

// pendingIn is a partition in which records may wait.
type pendingIn struct {
	topic *metadata.Topic
	index int32
	part  *Partition
	stage *stage
}

// pendingPartitions returns the partitions of a topic, or of all in the order of their names, that
// have a schedule. Partitions that are offline are left out unless one of them is asked for.
func (m *Manager) pendingPartitions(topic string, index int32) ([]pendingIn, error) {
	topics := m.Image().Topics()
	if topic != "" {
		t := m.Image().Topic(topic)
		if t == nil {
			return nil, fmt.Errorf("%w: %.249q", metadata.ErrUnknownTopic, topic)
		}
		topics = []*metadata.Topic{t}
	}
	var all []pendingIn
	for _, t := range topics {
		for i := range t.Partitions {
			if index >= 0 && int32(i) != index {
				continue
			}
			p, err := m.Partition(t.ID, int32(i))
			if err != nil && topic != "" && index >= 0 {
				return nil, err
			}
			if err == nil && p.stage.Load() != nil {
				all = append(all, pendingIn{t, int32(i), p, p.stage.Load()})
			}
		}
		if topic != "" && int(index) >= len(t.Partitions) {
			return nil, fmt.Errorf("%w: topic %s has no partition %d", ErrUnknownPartition, topic, index)
		}
	}
	return all, nil
}

// ListPending returns one page of what is pending, in the order of topics' names, partitions and
// due times, and the cursor of the next page; empty: there is none. A page can be short, or empty,
// and have a next one all the same.
func (m *Manager) ListPending(f PendingFilter) (records []PendingRecord, next string, err error) {
	if f.Limit < 1 || f.Limit > PendingLimitMax {
		return nil, "", fmt.Errorf("%w: limit %d; ask for 1 to %d", ErrBadFilter, f.Limit,
			PendingLimitMax)
	}
	after, err := parseCursor(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	parts, err := m.pendingPartitions(f.Topic, f.Partition)
	if err != nil {
		return nil, "", err
	}
	l := lister{f: &f, scans: pendingScanMax}
	for _, in := range parts {
		from := timer.PendingKey(math.MinInt64)
		if f.DueFrom != 0 || f.DueTo != 0 {
			from = timer.PendingKey(f.DueFrom)
		}
		switch c := after.compare(in); {
		case c > 0:
			continue
		case c == 0 && from.Less(after.key):
			from = after.key
		}
		full, err := l.list(in, from)
		if err != nil {
			return nil, "", err
		}
		if full {
			at := cursor{topic: in.topic.Name, partition: in.index, key: l.next}
			return l.records, at.text(), nil
		}
	}
	return l.records, "", nil
}

// lister makes one page.
type lister struct {
	f       *PendingFilter
	scans   int // entries that may still be looked at
	records []PendingRecord
	next    timer.Key // where the next page begins, if this one is full
	// keyBytes is the size of the records' keys.
	keyBytes int
}

// pageKeyBytesMax ends a page early: keys may be as large as records.
const pageKeyBytesMax = 4 << 20

// list adds what a partition has from a key on; full says that there may be more.
func (l *lister) list(in pendingIn, from timer.Key) (full bool, err error) {
	if l.f.ID != "" {
		return false, l.named(in, from)
	}
	for {
		limit := min(l.f.Limit-len(l.records), l.scans)
		if limit == 0 || l.keyBytes >= pageKeyBytesMax {
			l.next = from
			return true, nil
		}
		if l.f.Key != nil {
			limit = min(PendingLimitMax, l.scans) // most are none of those
		}
		var entries []timer.Entry
		over := false
		err := in.stage.schedule.ScanPending(from, limit, func(e timer.Entry) bool {
			over = l.f.DueTo != 0 && e.Due >= l.f.DueTo
			if over {
				return false
			}
			entries = append(entries, e)
			return true
		})
		if err != nil {
			return false, in.part.scheduleError(err)
		}
		seen, err := l.add(in, entries)
		if err != nil {
			return false, err
		}
		l.scans -= seen
		if seen > 0 {
			from = entries[seen-1].Key.After()
		}
		if seen == len(entries) && (seen < limit || over) {
			return false, nil
		}
	}
}

// named adds the record of the filter's id.
func (l *lister) named(in pendingIn, from timer.Key) error {
	e, ok, err := in.stage.schedule.NamedPending(l.f.ID)
	if err != nil {
		return in.part.scheduleError(err)
	}
	if !ok || e.Key.Less(from) || l.f.DueTo != 0 && e.Due >= l.f.DueTo {
		return nil
	}
	_, err = l.add(in, []timer.Entry{e})
	return err
}

// add reads the records of entries, adds those that the filter lets pass until the page is full,
// and returns how many it has looked at.
func (l *lister) add(in pendingIn, entries []timer.Entry) (seen int, err error) {
	if len(entries) == 0 {
		return 0, nil
	}
	delivering := in.stage.schedule.Delivering(entries)
	for i, e := range entries {
		if len(l.records) == l.f.Limit || l.keyBytes >= pageKeyBytesMax {
			return i, nil
		}
		r, staged, err := in.read(e)
		if errors.Is(err, errSettledMeanwhile) {
			continue
		}
		if err != nil {
			return i, err
		}
		if l.f.Key != nil && (staged.Record.Key == nil || !bytes.Equal(l.f.Key, r.Key)) {
			continue
		}
		if delivering[i] {
			r.State = StateDelivering
		}
		l.records = append(l.records, r)
		l.keyBytes += len(r.Key)
	}
	return len(entries), nil
}

// errSettledMeanwhile: the record was settled, and its segment is gone.
var errSettledMeanwhile = errors.New("settled meanwhile")

// read reads the record of an entry.
func (in pendingIn) read(e timer.Entry) (PendingRecord, timer.StagedRecord, error) {
	staged, err := in.stage.schedule.ReadPending(e)
	if err != nil {
		if e.Offset < in.stage.log.Start() {
			return PendingRecord{}, staged, errSettledMeanwhile
		}
		return PendingRecord{}, staged, in.part.scheduleError(err)
	}
	terms, err := staged.Decision.Terms()
	if err != nil {
		return PendingRecord{}, staged, in.part.scheduleError(err)
	}
	r := PendingRecord{
		Topic: in.topic.Name, Partition: in.index, Position: e.Position, Due: e.Due,
		ID: string(terms.ID), Key: bytes.Clone(staged.Record.Key), State: StatePending,
		Appended: staged.Decision.Appended, Created: staged.Decision.Timestamp,
		Cron: terms.Recur.Cron, Tz: terms.Recur.Tz, Every: terms.Recur.Every,
		Count: terms.Recur.Count,
		Bytes: int32(len(staged.Record.Key) + len(staged.Record.Value)),
	}
	if terms.HasExpire() {
		r.Expire = terms.Expire
	}
	if terms.Recur.HasUntil() {
		r.Until = terms.Recur.Until
	}
	return r, staged, nil
}

// GetPending returns one record with its payload: ErrNotPending if it does not wait. A recurring
// record is found by earlier positions as well.
func (m *Manager) GetPending(
	topic string, partition int32, p timer.Position,
) (PendingRecord, error) {
	in, e, err := m.findPending(topic, partition, p)
	if err != nil {
		return PendingRecord{}, err
	}
	r, staged, err := in.read(e)
	if errors.Is(err, errSettledMeanwhile) {
		err = notPending(topic, partition, p)
	}
	if err != nil {
		return PendingRecord{}, err
	}
	if in.stage.schedule.Delivering([]timer.Entry{e})[0] {
		r.State = StateDelivering
	}
	r.Value = staged.Record.Value
	left := staged.Record.Headers.Count - 1 // the last one is the decision
	err = staged.Record.EachHeader(func(key, value []byte) bool {
		if left--; left < 0 {
			return false
		}
		r.Headers = append(r.Headers, batch.Header{Key: string(key), Value: value})
		return true
	})
	return r, err
}

// findPending finds one record.
func (m *Manager) findPending(
	topic string, partition int32, p timer.Position,
) (pendingIn, timer.Entry, error) {
	parts, err := m.pendingPartitions(topic, max(partition, 0))
	if err != nil {
		return pendingIn{}, timer.Entry{}, err
	}
	if len(parts) == 0 {
		return pendingIn{}, timer.Entry{}, notPending(topic, partition, p)
	}
	e, ok, err := parts[0].stage.schedule.FindPending(p)
	switch {
	case err != nil:
		return pendingIn{}, timer.Entry{}, parts[0].part.scheduleError(err)
	case !ok:
		return pendingIn{}, timer.Entry{}, notPending(topic, partition, p)
	}
	return parts[0], e, nil
}

func notPending(topic string, partition int32, p timer.Position) error {
	return fmt.Errorf("%w: position %s of partition %s-%d: it was delivered, cancelled or replaced,"+
		" has expired, or never was", ErrNotPending, p, topic, partition)
}

// scheduleError says which partition's schedule could not be read.
func (p *Partition) scheduleError(err error) error {
	if p.closed.Load() {
		return fmt.Errorf("%w: %s: %w", ErrClosed, p.Name(), err)
	}
	return fmt.Errorf("schedule of partition %s: %w", p.Name(), err)
}

// CountPending counts what is pending by partition, of one topic or, if it is empty, of all. It
// only reads counters.
func (m *Manager) CountPending(topic string) ([]PendingCount, error) {
	parts, err := m.pendingPartitions(topic, -1)
	if err != nil {
		return nil, err
	}
	counts := make([]PendingCount, 0, len(parts))
	for _, in := range parts {
		next, _ := in.stage.schedule.NextDue()
		counts = append(counts, PendingCount{
			Topic: in.topic.Name, Partition: in.index, Pending: in.stage.schedule.Pending(),
			NextDue: next, Paused: in.stage.schedule.IsPaused(),
		})
	}
	return counts, nil
}

// PendingHistogram counts what is pending by how soon it is due, of one topic or, if it is empty,
// of all. It reads the index only, and not more than histogramScanMax entries of it: what is due
// behind those is in the last bucket.
func (m *Manager) PendingHistogram(topic string, now timer.UnixMs) ([]HistogramBucket, error) {
	return m.histogram(topic, now, histogramScanMax)
}

func (m *Manager) histogram(topic string, now timer.UnixMs, scans int) ([]HistogramBucket, error) {
	parts, err := m.pendingPartitions(topic, -1)
	if err != nil {
		return nil, err
	}
	buckets := make([]HistogramBucket, len(histogramBounds))
	for i, within := range histogramBounds {
		buckets[i].Within = within
	}
	last := len(buckets) - 1
	for i, in := range parts {
		left := in.stage.schedule.Pending()
		share := max(scans/(len(parts)-i), 1) // what a partition does not need is for the others
		at := 0
		err := in.stage.schedule.ScanPending(in.stage.schedule.Low(), share,
			func(e timer.Entry) bool {
				for at < last && e.Due.Sub(now) > buckets[at].Within {
					at++
				}
				if at == last || left == 0 {
					return false
				}
				buckets[at].Pending++
				left--
				scans--
				return true
			})
		if err != nil {
			return nil, in.part.scheduleError(err)
		}
		buckets[last].Pending += left
	}
	return buckets, nil
}

// cursor says where a page ended.
type cursor struct {
	topic     string
	partition int32
	key       timer.Key // the smallest one that was not looked at
}

const cursorVersion = 1

// compare says whether the cursor is behind a partition (1), in it (0), or before it.
func (c *cursor) compare(in pendingIn) int {
	return cmp.Or(strings.Compare(c.topic, in.topic.Name), cmp.Compare(c.partition, in.index))
}

// text is what a client gets, and sends back.
func (c *cursor) text() string {
	b := binary.BigEndian.AppendUint32([]byte{cursorVersion}, uint32(c.partition))
	b = binary.BigEndian.AppendUint64(b, uint64(c.key.Due))
	b = binary.BigEndian.AppendUint32(b, uint32(c.key.Epoch))
	b = binary.BigEndian.AppendUint64(b, uint64(c.key.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(c.key.Occurrence))
	return base64.RawURLEncoding.EncodeToString(append(b, c.topic...))
}

// parseCursor reads what text wrote.
func parseCursor(text string) (c cursor, err error) {
	if text == "" {
		return c, nil
	}
	const fixed = 1 + 4 + 8 + 4 + 8 + 4
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) <= fixed || b[0] != cursorVersion {
		return c, fmt.Errorf("%w: %.80q; send back next_cursor as it came", ErrBadCursor, text)
	}
	be := binary.BigEndian
	c.partition = int32(be.Uint32(b[1:]))
	c.key.Due = timer.UnixMs(be.Uint64(b[5:]))
	c.key.Epoch = batch.LeaderEpoch(be.Uint32(b[13:]))
	c.key.Offset = timer.Offset(be.Uint64(b[17:]))
	c.key.Occurrence = timer.Occurrence(be.Uint32(b[25:]))
	c.topic = string(b[fixed:])
	return c, nil
}
