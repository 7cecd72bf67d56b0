package apitest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// Schedules are pending records of topics with one partition each.
type Schedules struct {
	clock clock.Clock
	mu    struct {
		sync.Mutex
		records []replication.PendingRecord
		topics  map[string]bool // whether it is paused
		orders  int
		failAt  int
		failure error
	}
}

// New returns schedules of some topics, in which nothing is pending.
func New(c clock.Clock, topics ...string) *Schedules {
	s := &Schedules{clock: c}
	s.mu.topics = map[string]bool{}
	for _, topic := range topics {
		s.mu.topics[topic] = false
	}
	return s
}

// Add makes a record pending.
func (s *Schedules) Add(r replication.PendingRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.records = append(s.mu.records, r)
}

// FailAfter makes every order behind the next n fail.
func (s *Schedules) FailAfter(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.orders, s.mu.failAt, s.mu.failure = 0, n, err
}

// Pending returns all records, in due order.
func (s *Schedules) Pending() []replication.PendingRecord {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sortedLocked()
}

func compare(a, b replication.PendingRecord) int {
	return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Due, b.Due),
		a.Position.Compare(b.Position))
}

func (s *Schedules) sortedLocked() []replication.PendingRecord {
	all := slices.Clone(s.mu.records)
	slices.SortFunc(all, compare)
	return all
}

// knownLocked refuses a topic that does not exist.
func (s *Schedules) knownLocked(topic string) error {
	if _, ok := s.mu.topics[topic]; !ok && topic != "" {
		return fmt.Errorf("%w: %s", metadata.ErrUnknownTopic, topic)
	}
	return nil
}

// ListPending implements httpapi.Schedules.
func (s *Schedules) ListPending(
	f replication.PendingFilter,
) ([]replication.PendingRecord, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.knownLocked(f.Topic); err != nil {
		return nil, "", err
	}
	after, err := readCursor(f.Cursor)
	if err != nil {
		return nil, "", err
	}
	page := []replication.PendingRecord{}
	for _, r := range s.sortedLocked() {
		if f.Cursor != "" && compare(r, after) <= 0 || !matches(f, r) {
			continue
		}
		if len(page) == f.Limit {
			return page, writeCursor(page[len(page)-1]), nil
		}
		r.Value, r.Headers = nil, nil
		page = append(page, r)
	}
	return page, "", nil
}

func matches(f replication.PendingFilter, r replication.PendingRecord) bool {
	return (f.Topic == "" || r.Topic == f.Topic) &&
		(f.Partition < 0 || r.Partition == f.Partition) &&
		(f.Key == nil || r.Key != nil && bytes.Equal(r.Key, f.Key)) &&
		(f.ID == "" || r.ID == f.ID) &&
		r.Due >= f.DueFrom && (f.DueTo == 0 || r.Due < f.DueTo)
}

func writeCursor(r replication.PendingRecord) string {
	return fmt.Sprintf("%s/%d/%s", r.Topic, r.Due, r.Position)
}

func readCursor(text string) (r replication.PendingRecord, err error) {
	if text == "" {
		return r, nil
	}
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return r, fmt.Errorf("%w: %.40q", replication.ErrBadCursor, text)
	}
	due, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return r, fmt.Errorf("%w: %.40q", replication.ErrBadCursor, text)
	}
	r.Topic, r.Due = parts[0], timer.UnixMs(due)
	r.Position, err = timer.ParsePosition([]byte(parts[2]))
	return r, err
}

// findLocked returns the index of a record, -1 when it is not pending.
func (s *Schedules) findLocked(topic string, partition int32, p timer.Position) int {
	return slices.IndexFunc(s.mu.records, func(r replication.PendingRecord) bool {
		return r.Topic == topic && r.Partition == partition && r.Position == p
	})
}

// GetPending implements httpapi.Schedules.
func (s *Schedules) GetPending(
	topic string, partition int32, p timer.Position,
) (replication.PendingRecord, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.knownLocked(topic); err != nil {
		return replication.PendingRecord{}, err
	}
	if i := s.findLocked(topic, partition, p); i >= 0 {
		return s.mu.records[i], nil
	}
	return replication.PendingRecord{}, fmt.Errorf("%w: %s-%d %s",
		replication.ErrNotPending, topic, partition, p)
}

// CountPending implements httpapi.Schedules.
func (s *Schedules) CountPending(topic string) ([]replication.PendingCount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.knownLocked(topic); err != nil {
		return nil, err
	}
	counts := map[string]*replication.PendingCount{}
	for name, paused := range s.mu.topics {
		if topic == "" || name == topic {
			counts[name] = &replication.PendingCount{Topic: name, Paused: paused}
		}
	}
	for _, r := range s.sortedLocked() {
		if c := counts[r.Topic]; c != nil {
			if c.Pending == 0 {
				c.NextDue = r.Due
			}
			c.Pending++
		}
	}
	all := make([]replication.PendingCount, 0, len(counts))
	for _, c := range counts {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(a, b replication.PendingCount) int {
		return strings.Compare(a.Topic, b.Topic)
	})
	return all, nil
}

// PendingHistogram implements httpapi.Schedules.
func (s *Schedules) PendingHistogram(
	topic string, now timer.UnixMs,
) ([]replication.HistogramBucket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.knownLocked(topic); err != nil {
		return nil, err
	}
	buckets := []replication.HistogramBucket{
		{}, {Within: time.Second}, {Within: time.Minute}, {Within: time.Hour}, {Within: math.MaxInt64},
	}
	for _, r := range s.mu.records {
		if topic != "" && r.Topic != topic {
			continue
		}
		i := slices.IndexFunc(buckets, func(b replication.HistogramBucket) bool {
			return r.Due.Sub(now) <= b.Within
		})
		buckets[i].Pending++
	}
	return buckets, nil
}

// Steer implements httpapi.Schedules.
func (s *Schedules) Steer(
	ctx context.Context, topic string, partition int32, verb replication.SteerVerb, p timer.Position,
	due timer.UnixMs,
) (replication.SteerResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmp.Or(ctx.Err(), s.knownLocked(topic)); err != nil {
		return replication.SteerResult{}, err
	}
	if s.mu.orders++; s.mu.failure != nil && s.mu.orders > s.mu.failAt {
		return replication.SteerResult{}, s.mu.failure
	}
	i := s.findLocked(topic, partition, p)
	if i < 0 {
		return replication.SteerResult{Reason: "no longer pending"}, nil
	}
	if verb == replication.SteerMove {
		s.mu.records[i].Due = max(due, clock.ToMs(s.clock.Now()))
	} else {
		s.mu.records = slices.Delete(s.mu.records, i, i+1)
	}
	return replication.SteerResult{Done: true}, nil
}

// PauseTopic implements httpapi.Schedules.
func (s *Schedules) PauseTopic(_ context.Context, topic string, pause bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.knownLocked(topic); err != nil {
		return err
	}
	s.mu.topics[topic] = pause
	return nil
}
