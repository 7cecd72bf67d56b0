package replication

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// SteerVerb is what is to become of a pending record.
type SteerVerb uint8

// The verbs.
const (
	SteerCancel SteerVerb = iota + 1 // it goes; of a recurring one, all that would have come
	SteerMove                        // it is due at another time; of a recurring one, this time only
	SteerNow                         // it is due now
)

// SteerResult says whether an order has changed anything.
type SteerResult struct {
	Done   bool
	Reason string // a sentence that says why not
}

const (
	// steersMax bounds the orders that are on their way in one partition; more wait.
	steersMax = 1024
	// steerTriesMax bounds how often an order looks for its record again, because that was moved or
	// came to its next occurrence while the order was on its way.
	steerTriesMax = 3
	// pausesAtOnceMax bounds the partitions of a topic that are paused at the same time.
	pausesAtOnceMax = 16
)

// The reasons for which an order is not done.
const (
	reasonDelivering = "its delivery was on its way already"
	reasonNotPending = "it is not pending: it was delivered, cancelled or replaced, has expired, or" +
		" never was"
	reasonChanged = "it was changed by others again and again meanwhile"
)

// Steer gives an order about one pending record, and waits until it is durable and in force. It is
// idempotent: what is not pending any more is no error. due is for SteerMove; a time in the past is
// now. If ctx ends before, the order may be done or not.
//
// Errors: metadata.ErrUnknownTopic, ErrUnknownPartition, ErrInvalidDue, ErrStorage, ErrClosed,
// *OfflineError, ctx's.
func (m *Manager) Steer(
	ctx context.Context, topic string, partition int32, verb SteerVerb, p timer.Position,
	due timer.UnixMs,
) (SteerResult, error) {
	if verb < SteerCancel || verb > SteerNow {
		return SteerResult{}, fmt.Errorf("replication: there is no verb %d", verb)
	}
	for range steerTriesMax {
		in, e, err := m.findPending(topic, partition, p)
		if errors.Is(err, ErrNotPending) || err == nil && e.Position != p && verb != SteerCancel {
			return SteerResult{Reason: reasonNotPending}, nil
		}
		if err != nil {
			return SteerResult{}, err
		}
		c, needed, err := in.order(verb, e, due)
		if errors.Is(err, errSettledMeanwhile) {
			continue
		}
		if err != nil || !needed {
			return SteerResult{Done: err == nil}, err
		}
		outcomes, err := in.part.command(ctx, in.stage, []timer.Command{c})
		switch {
		case err != nil:
			return SteerResult{}, err
		case outcomes[0] == timer.OutcomeDone:
			return SteerResult{Done: true}, nil
		case outcomes[0] == timer.OutcomeDelivering:
			return SteerResult{Reason: reasonDelivering}, nil
		}
	}
	return SteerResult{Reason: reasonChanged}, nil
}

// order makes the command; needed is false for what is so already.
func (in pendingIn) order(
	verb SteerVerb, e timer.Entry, due timer.UnixMs,
) (c timer.Command, needed bool, err error) {
	now := clock.ToMs(in.part.deps.o.Clock.Now())
	c = timer.Command{Verb: timer.VerbMove, Key: e.Key, Due: max(due, now)}
	switch verb {
	case SteerCancel:
		c.Verb = timer.VerbCancel
	case SteerNow:
		c.Due = now
		if e.Due <= now {
			return c, false, nil // it is delivered as soon as that can be
		}
	case SteerMove:
		if most := delay(in.part.config.Load().ScheduleMaxDelayMs); due.Sub(now) > most {
			return c, false, fmt.Errorf("%w: %d is %d ms from now, %s of topic %s is %d", ErrInvalidDue,
				due, due.Sub(now).Milliseconds(), metadata.ConfigScheduleMaxDelay, in.topic.Name,
				most.Milliseconds())
		}
		if c.Due == e.Due {
			return c, false, nil
		}
	}
	r, _, err := in.read(e)
	c.ID = []byte(r.ID)
	return c, true, err
}

// PauseTopic stops the deliveries of a topic, or lets them go on, and waits until that is durable
// and in force. What is on its way already still comes. It survives restarts. A partition that is
// offline, or cannot take the command, is an error; the others have it then.
func (m *Manager) PauseTopic(ctx context.Context, topic string, pause bool) error {
	t := m.Image().Topic(topic)
	if t == nil {
		return fmt.Errorf("%w: %.249q", metadata.ErrUnknownTopic, topic)
	}
	errs := make([]error, len(t.Partitions))
	var group errgroup.Group
	group.SetLimit(pausesAtOnceMax)
	if m.o.Manual {
		group.SetLimit(1)
	}
	for i := range t.Partitions {
		group.Go(func() error {
			p, err := m.Partition(t.ID, int32(i))
			if err == nil {
				err = p.pause(ctx, pause)
			}
			errs[i] = err
			return nil
		})
	}
	_ = group.Wait() // each has put its error into errs
	return errors.Join(errs...)
}

// pause pauses or resumes one partition.
func (p *Partition) pause(ctx context.Context, pause bool) error {
	s := p.stage.Load()
	if s == nil && !pause {
		return nil
	}
	s, err := p.stageOf() // one to which nothing was sent yet must know it as well
	if err != nil {
		return err
	}
	c := timer.Command{Verb: timer.VerbResume}
	if pause {
		c.Verb = timer.VerbPause
	}
	_, err = p.command(ctx, s, []timer.Command{c})
	return err
}

// command appends an operator's commands and waits until they are in force.
func (p *Partition) command(
	ctx context.Context, s *stage, commands []timer.Command,
) ([]timer.Outcome, error) {
	select {
	case s.steering <- struct{}{}:
		defer func() { <-s.steering }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var way *timer.Steering
	b := timer.BuildCommands(clock.ToMs(p.deps.o.Clock.Now()), commands)
	_, err := sink{p}.append(staging, b, nil, func(base, end batch.Offset) {
		way = s.schedule.Steered(base, end, commands)
	})
	if err != nil {
		return nil, err
	}
	if p.deps.o.Manual {
		if err := p.stepUntil(s, way); err != nil {
			return nil, err
		}
	}
	outcomes, err := way.Wait(ctx)
	if errors.Is(err, timer.ErrClosed) || err != nil && p.closed.Load() {
		err = fmt.Errorf("%w: %s: %w", ErrClosed, p.Name(), err)
	}
	return outcomes, err
}

// stepUntil commits and makes turns until a command is in force: nobody else does in a Manual
// manager.
func (p *Partition) stepUntil(s *stage, way *timer.Steering) error {
	for range stepsMax {
		select {
		case <-way.Done():
			return nil
		default:
		}
		if _, err := p.deps.committer.CommitOnce(); err != nil {
			return err
		}
		if _, err := s.schedule.RunOnce(); err != nil {
			return err
		}
	}
	return nil
}
