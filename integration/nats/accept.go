package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"time"
)

// accepted is what accept and fill measured.
type accepted struct {
	Records int64         `json:"records"` // acknowledged while it counted
	Elapsed time.Duration `json:"elapsed"`
	Total   int64         `json:"total"` // with those before and after it counted
}

// load are the flags that client commands share.
type load struct {
	*flag.FlagSet
	size, window, records int
	seconds, warm         float64
	rate                  int
	lead                  time.Duration
}

// parse reads a command's flags behind the address.
func parse(name string, args []string) (string, load, error) {
	l := load{FlagSet: flag.NewFlagSet("nats "+name, flag.ContinueOnError)}
	l.IntVar(&l.size, "size", 100, "bytes of a value")
	l.IntVar(&l.window, "window", 4000, "messages in flight")
	l.IntVar(&l.records, "records", 1000, "schedules to publish (fill, deliver)")
	l.Float64Var(&l.seconds, "seconds", 1, "length of the run (accept)")
	l.Float64Var(&l.warm, "warm", 0.25, "length of what goes before it (accept)")
	l.IntVar(&l.rate, "rate", 1000, "due per second; 0: all in one millisecond; messages (traffic)")
	l.DurationVar(&l.lead, "lead", time.Second, "from the start to the first due (deliver)")
	if len(args) < 1 {
		return "", l, errors.New("want an address")
	}
	if err := l.Parse(args[1:]); err != nil {
		return "", l, err
	}
	if l.NArg() != 0 {
		return "", l, fmt.Errorf("unexpected argument %q", l.Arg(0))
	}
	return args[0], l, nil
}

// dueWithinADay draws due times from an hour ahead on, as the benchmark does for chronos.
func dueWithinADay() func() int64 {
	rng := rand.New(rand.NewPCG(2, 3))
	from := time.Now().Add(time.Hour).UnixMilli()
	return func() int64 { return from + rng.Int64N(24*3600*1000) }
}

// accept publishes schedules for a while and counts the answers behind a warm-up.
func accept(args []string) error {
	addr, l, err := parse("accept", args)
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, err := connect(addr, l.size, l.window)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	if _, err := c.makeStream(ctx); err != nil {
		return err
	}
	due := dueWithinADay()
	warm := time.Now().Add(time.Duration(l.warm * float64(time.Second)))
	if err := c.publishUntil(warm, due); err != nil {
		return err
	}
	begun, first := time.Now(), c.acked.Load()
	err = c.publishUntil(begun.Add(time.Duration(l.seconds*float64(time.Second))), due)
	if err != nil {
		return err
	}
	a := accepted{Records: c.acked.Load() - first, Elapsed: time.Since(begun)}
	if err := c.settle(ctx); err != nil {
		return err
	}
	a.Total = c.acked.Load()
	if err := c.dropStream(ctx); err != nil {
		return err
	}
	return answer(a)
}

func (c *client) publishUntil(end time.Time, due func() int64) error {
	for time.Now().Before(end) {
		if err := c.schedule(due()); err != nil {
			return err
		}
	}
	return nil
}

// fill publishes a number of schedules within a day and leaves them.
func fill(args []string) error {
	addr, l, err := parse("fill", args)
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, err := connect(addr, l.size, l.window)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	if _, err := c.makeStream(ctx); err != nil {
		return err
	}
	due, begun := dueWithinADay(), time.Now()
	for range l.records {
		if err := c.schedule(due()); err != nil {
			return err
		}
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	n := c.acked.Load()
	return answer(accepted{Records: n, Elapsed: time.Since(begun), Total: n})
}
