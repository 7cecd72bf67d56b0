package httpapi

import (
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// OrderAnswer says what became of an order about one record.
type OrderAnswer struct {
	Done   bool         `json:"done"`
	Reason string       `json:"reason,omitempty"` // why it was not done, such as: delivered already
	DueMs  timer.UnixMs `json:"due_ms,omitempty"` // of a move that was done
}

// TopicAnswer says what is in force for a topic.
type TopicAnswer struct {
	Topic  string `json:"topic"`
	Paused bool   `json:"paused"`
}

// dueBody says when a record is to be due: at a time, or in so long from now.
type dueBody struct {
	Due *moment `json:"due"`
	In  *string `json:"in"`
}

// due resolves it.
func (b dueBody) due(now timer.UnixMs) (timer.UnixMs, error) {
	switch {
	case (b.Due == nil) == (b.In == nil):
		return 0, invalidf("give one of due, a time, and in, a duration from now")
	case b.Due != nil:
		return timer.UnixMs(*b.Due), nil
	}
	d, err := batch.ParseDelay(*b.In)
	if err != nil {
		return 0, invalidf("in: %v", err)
	}
	return now.Add(d), nil
}

func cancelSchedule(c *call) (any, error) { return c.order(replication.SteerCancel, 0) }

func deliverNow(c *call) (any, error) { return c.order(replication.SteerNow, 0) }

func moveSchedule(c *call) (any, error) {
	var body dueBody
	if err := readBody(c.request, &body); err != nil {
		return nil, err
	}
	due, err := body.due(c.now())
	if err != nil {
		return nil, err
	}
	return c.order(replication.SteerMove, due)
}

// now is the server's time.
func (c *call) now() timer.UnixMs { return clock.ToMs(c.api.o.Clock.Now()) }

// verbNames are the verbs in the log.
var verbNames = map[replication.SteerVerb]string{
	replication.SteerCancel: "cancelled",
	replication.SteerMove:   "moved",
	replication.SteerNow:    "to be delivered now",
}

// order steers the record of the path.
func (c *call) order(verb replication.SteerVerb, due timer.UnixMs) (any, error) {
	at, err := c.place()
	if err != nil {
		return nil, err
	}
	result, err := c.schedules.Steer(c.ctx, at.topic, at.partition, verb, at.position, due)
	if err != nil {
		return nil, err
	}
	c.note("record "+verbNames[verb], zap.String("topic", at.topic),
		zap.Int32("partition", at.partition), zap.Stringer("position", at.position),
		zap.Bool("done", result.Done))
	answer := OrderAnswer{Done: result.Done, Reason: result.Reason}
	if result.Done {
		answer.DueMs = due
	}
	return answer, nil
}

func pauseTopic(c *call) (any, error) { return c.pause(true) }

func resumeTopic(c *call) (any, error) { return c.pause(false) }

func (c *call) pause(pause bool) (any, error) {
	topic := c.request.PathValue("topic")
	if err := c.schedules.PauseTopic(c.ctx, topic, pause); err != nil {
		return nil, err
	}
	c.note("deliveries paused or resumed", zap.String("topic", topic), zap.Bool("paused", pause))
	return TopicAnswer{Topic: topic, Paused: pause}, nil
}
