package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// sample is what one run measured.
type sample struct {
	records float64
	elapsed time.Duration
	used    usage
}

func (s sample) rate() float64 { return s.records / s.elapsed.Seconds() }

// cpu is the server's CPU time of a record.
func (s sample) cpu() time.Duration {
	if s.records == 0 {
		return 0
	}
	return time.Duration(float64(s.used.cpu) / s.records)
}

// middle returns the run with the median rate.
func middle(samples []sample) sample {
	rates := make([]float64, len(samples))
	for i, s := range samples {
		rates[i] = s.rate()
	}
	// With an even number of runs the median lies between two; the nearest one stands for it.
	want, best := medianFloat(rates), samples[0]
	for _, s := range samples {
		if diff(s.rate(), want) < diff(best.rate(), want) {
			best = s
		}
	}
	return best
}

func diff(a, b float64) float64 { return max(a-b, b-a) }

// contender is one of the things that take turns.
type contender = turn[sample]

// turn is a thing that takes turns with others, and what one of its runs measures.
type turn[T any] struct {
	name string
	run  func() (T, error)
	// every is in which rounds it takes part: each so many; 0: in all. It is for what is slow and has
	// no goal.
	every int
}

// takeTurns lets every contender run once in each round.
func (b *bench) takeTurns(contenders ...contender) ([][]sample, error) {
	return takeTurns(b.runs, contenders)
}

// The rounds of those who do not take part in all.
const (
	second = 2
	fourth = 4 // of five: the first and the last
)

// takeTurns lets every contender run once in each of its rounds. All results are kept, in the order
// of the contenders.
func takeTurns[T any](rounds int, contenders []turn[T]) ([][]T, error) {
	all := make([][]T, len(contenders))
	for round := range rounds {
		for i, c := range contenders {
			if round%max(c.every, 1) != 0 {
				continue
			}
			s, err := c.run()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			all[i] = append(all[i], s)
		}
	}
	return all, nil
}

// rates lists the rates of all runs in the order in which they were made: none is discarded.
func rates(samples []sample) string {
	cells := make([]string, len(samples))
	for i, s := range samples {
		cells[i] = count(s.rate())
	}
	return strings.Join(cells, ", ")
}

// runsTable shows every run behind the medians of another table.
type runsTable struct{ *table }

func newRunsTable(of, unit string) runsTable {
	return runsTable{newTable("All runs of: "+of, "case", "who", unit+", in order")}
}

func (t runsTable) addRates(name, who string, samples []sample) {
	t.add(name, who, rates(samples))
}

func (t runsTable) addDurations(name, who string, ds []time.Duration) {
	cells := make([]string, len(ds))
	for i, d := range ds {
		cells[i] = millis(d)
	}
	t.add(name, who, strings.Join(cells, ", "))
}

// pair is the reference and the server, which most sections measure side by side.
type pair struct{ drop, chronos *target }

// startPair starts both. The caller ends them.
func (b *bench) startPair(args ...string) (pair, error) {
	chronos, err := b.startChronos(args...)
	if err != nil {
		return pair{}, err
	}
	drop, err := startDrop()
	if err != nil {
		return pair{}, errors.Join(err, chronos.end())
	}
	return pair{drop: drop, chronos: chronos}, nil
}

func (p pair) end() error { return errors.Join(p.drop.end(), p.chronos.end()) }

// measure waits for the warm-up, then takes the difference of a counter and of all usage over the
// length of a run.
func (b *bench) measure(
	ctx context.Context, t *target, counter func() float64,
) (sample, error) {
	if err := wait(ctx, b.warmUp()); err != nil {
		return sample{}, err
	}
	return measureNow(ctx, t, b.length(), counter)
}

// measureNow is measure without a warm-up.
func measureNow(
	ctx context.Context, t *target, length time.Duration, counter func() float64,
) (sample, error) {
	before, err := t.usage()
	if err != nil {
		return sample{}, err
	}
	begun, first := time.Now(), counter()
	if err := wait(ctx, length); err != nil {
		return sample{}, err
	}
	s := sample{records: counter() - first, elapsed: time.Since(begun)}
	after, err := t.usage()
	s.used = after.minus(before)
	return s, err
}

// wait lets the measured processes work for a while.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
