package httpapi

import (
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
)

// ordersAtOnce is how many orders of one request wait for the disk together, so that they share
// its syncs.
const ordersAtOnce = 64

// ManyAnswer says what an order about many records has done, on one page of them.
type ManyAnswer struct {
	Matched    int `json:"matched"`     // records of this page
	Done       int `json:"done"`        // of them: changed
	Unchanged  int `json:"unchanged"`   // already due at that time
	NotPending int `json:"not_pending"` // delivered, cancelled or replaced meanwhile

	DueMs      timer.UnixMs `json:"due_ms,omitempty"`
	NextCursor string       `json:"next_cursor,omitempty"` // send it with the same filter to go on
}

func cancelMany(c *call) (any, error) {
	var body filterBody
	if err := readBody(c.request, &body); err != nil {
		return nil, err
	}
	return c.orderMany(body, replication.SteerCancel, 0)
}

func moveMany(c *call) (any, error) {
	var body struct {
		filterBody
		dueBody
	}
	if err := readBody(c.request, &body); err != nil {
		return nil, err
	}
	// A duration would mean a later time on each page, and the pages behind the first would find
	// what was moved there, for ever.
	if body.In != nil && body.Cursor != "" {
		return nil, invalidf("go on with the due_ms of the first answer as due, not with in")
	}
	due, err := body.due(c.now())
	if err != nil {
		return nil, err
	}
	return c.orderMany(body.filterBody, replication.SteerMove, due)
}

// orderMany steers one page of the records that are meant. It needs a topic: whoever forgets the
// whole filter does not mean everything.
func (c *call) orderMany(
	body filterBody, verb replication.SteerVerb, due timer.UnixMs,
) (any, error) {
	f, err := body.filter()
	if err != nil {
		return nil, err
	}
	if f.Topic == "" {
		return nil, invalidf("say of which topic")
	}
	records, next, err := c.schedules.ListPending(f)
	if err != nil {
		return nil, err
	}
	many := manyOrders{call: c, verb: verb, due: due}
	err = many.run(records)
	answer := many.tally.ManyAnswer
	answer.Matched, answer.DueMs = len(records), due
	c.note("records "+verbNames[verb], zap.String("topic", f.Topic), zap.Int("matched", len(records)),
		zap.Int("done", answer.Done), zap.Error(err))
	if err != nil {
		// The page is not done: its own cursor leads to it again.
		p := *problemOf(err)
		answer.NextCursor = f.Cursor
		p.Progress = &answer
		return nil, &p
	}
	answer.NextCursor = next
	return answer, nil
}

// manyOrders carries out one order on several records.
type manyOrders struct {
	call *call
	verb replication.SteerVerb
	due  timer.UnixMs

	tally struct {
		sync.Mutex
		ManyAnswer
	}
}

// isThere says whether a record is due already when it is to be. What is overdue counts as due at
// any time that has passed: a move makes it due at the moment of the move, so that each page of a
// paused topic would meet what the one before has moved.
func (m *manyOrders) isThere(r replication.PendingRecord) bool {
	now := m.call.now()
	return m.verb == replication.SteerMove && (r.Due == m.due || m.due <= now && r.Due <= now)
}

func (m *manyOrders) run(records []replication.PendingRecord) error {
	group, ctx := errgroup.WithContext(m.call.ctx)
	group.SetLimit(ordersAtOnce)
	for _, r := range records {
		if m.isThere(r) {
			m.tally.Lock()
			m.tally.Unchanged++
			m.tally.Unlock()
			continue
		}
		// Wait, below, waits for it.
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			result, err := m.call.schedules.Steer(ctx, r.Topic, r.Partition, m.verb, r.Position, m.due)
			if err != nil {
				return err
			}
			m.tally.Lock()
			defer m.tally.Unlock()
			if result.Done {
				m.tally.Done++
			} else {
				m.tally.NotPending++
			}
			return nil
		})
	}
	return group.Wait()
}
