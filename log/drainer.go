package log

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// The shares of the bound of undrained memory at which draining begins, and down to which it goes.
const (
	drainAbove = 0.5
	drainDown  = 0.25
)

// drain is the goroutine that writes the segments behind the journal: when memory gets short, and
// when the journal wants a file back.
func (c *Committer) drain() {
	for {
		select {
		case <-c.o.Buffers.short:
			c.drainForMemory()
		case <-c.o.Journal.Wanted():
			c.drainForJournal()
		case <-c.stop:
			return
		}
	}
}

// drainDue is one turn of drain for a committer without goroutines.
func (c *Committer) drainDue() {
	c.drainForMemory()
	for c.o.Journal.OldestFileEnd() > 0 && c.failure() == nil {
		if !c.drainForJournal() {
			return
		}
	}
}

// drainForMemory drains the logs with the most memory until enough is free.
func (c *Committer) drainForMemory() {
	for c.failure() == nil {
		excess := c.o.Buffers.excess(drainAbove, drainDown)
		if excess <= 0 {
			return
		}
		logs := c.largest(excess)
		if len(logs) == 0 {
			return // what is used is on its way already
		}
		c.drainLogs(logs, func(l *Log) error {
			_, err := l.flush(drainHow{})
			return err
		})
	}
}

// largest returns the logs with the most undrained memory, as many as it takes for so many bytes.
func (c *Committer) largest(excess int64) []*Log {
	type use struct {
		log   *Log
		bytes int64
	}
	var all []use
	for _, l := range c.logs() {
		if n := l.undrained.Load(); n > 0 {
			all = append(all, use{l, n})
		}
	}
	slices.SortFunc(all, func(a, b use) int { return cmp.Compare(b.bytes, a.bytes) })
	var logs []*Log
	for _, u := range all {
		if excess <= 0 {
			break
		}
		logs = append(logs, u.log)
		excess -= u.bytes
	}
	return logs
}

// drainForJournal gives the oldest full file of the journal back, once no log needs it.
func (c *Committer) drainForJournal() bool {
	upTo := c.o.Journal.OldestFileEnd()
	if upTo == 0 {
		return false
	}
	var logs []*Log
	for _, l := range c.logs() {
		if l.journalNeeds(upTo) {
			logs = append(logs, l)
		}
	}
	if !c.drainLogs(logs, func(l *Log) error { return l.settle(upTo) }) {
		return false
	}
	c.o.Journal.Release(upTo)
	return true
}

// logs returns the members' logs, also of members that have left, and forgets those that are
// closed and need nothing any more.
func (c *Committer) logs() []*Log {
	c.mu.Lock()
	all := slices.Clone(c.mu.members)
	c.mu.Unlock()
	gone := map[*Log]bool{}
	logs := all[:0]
	for _, l := range all {
		if l.isSettled() {
			gone[l] = true
		} else {
			logs = append(logs, l)
		}
	}
	if len(gone) > 0 {
		c.mu.Lock()
		c.mu.members = slices.DeleteFunc(c.mu.members, func(l *Log) bool { return gone[l] })
		c.mu.Unlock()
	}
	return logs
}

// isSettled says that the log was closed cleanly.
func (l *Log) isSettled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.settled
}

// drainLogs drains logs, a few at a time. It is false if one could not be drained: then nothing is
// given back. A write error is final for the committer.
func (c *Committer) drainLogs(logs []*Log, drain func(l *Log) error) bool {
	var mu sync.Mutex
	ok := true
	work := make(chan *Log, len(logs))
	for _, l := range logs {
		work <- l
	}
	close(work)
	one := func() {
		for l := range work {
			if err := c.drainLog(l, drain); err != nil {
				mu.Lock()
				ok = false
				mu.Unlock()
			}
		}
	}
	if len(logs) == 1 || c.o.Manual {
		one()
		return ok
	}
	var wg sync.WaitGroup
	for range min(commitParallelMax, len(logs)) {
		wg.Go(one) // ends when the work is used up; Wait waits for it
	}
	wg.Wait()
	return ok
}

func (c *Committer) drainLog(l *Log, drain func(l *Log) error) error {
	before := l.undrained.Load()
	err := drain(l)
	switch {
	case err == nil:
		c.stats.drains.Add(1)
		c.stats.drainedBytes.Add(max(before-l.undrained.Load(), 0))
	case errors.Is(err, ErrClosed) && l.isSettled():
		return nil
	case !errors.Is(err, ErrClosed):
		c.fail(fmt.Errorf("drain: %w", err))
	}
	return err
}
