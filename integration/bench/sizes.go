package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kinds of pending records: those without and with a name.
const (
	kindPlain = "plain"
	kindNamed = "named"
)

// scheduleSizes are the flags of the sections about schedules.
type scheduleSizes struct {
	pending     intList // records pending at once, one case each
	kinds       string  // of these
	natsPending int     // the same on NATS
	rates       intList // due per second
	length      time.Duration
	burst       int // due in one millisecond
	natsBurst   int
	spread      time.Duration // from the first to the last due time of one batch
	batches     int           // of a thousand records
	nats        bool
}

func (s *scheduleSizes) register() {
	s.pending = intList{1_000_000, 10_000_000}
	s.rates = intList{1_000, latenessRate, 50_000}
	flag.Var(&s.pending, "pending", "numbers of pending records, separated by commas")
	flag.StringVar(&s.kinds, "kinds", kindPlain+","+kindNamed, "kinds of pending records")
	flag.IntVar(&s.natsPending, "nats-pending", 1_000_000, "pending records of NATS; 0: none")
	flag.Var(&s.rates, "rates", "records due per second, of the lateness section")
	flag.DurationVar(&s.length, "due-for", 3*time.Second, "how long records become due at a rate")
	flag.IntVar(&s.burst, "burst", 1_000_000, "records due in one millisecond")
	flag.IntVar(&s.natsBurst, "nats-burst", 100_000, "the same of NATS; 0: none")
	flag.DurationVar(&s.spread, "spread", 6*time.Second, "from first to last due of one batch")
	flag.IntVar(&s.batches, "batches", 300, "batches of 1,000 records of the spread section")
	flag.BoolVar(&s.nats, "nats", true, "compare schedules with NATS, which is built first")
}

// shorten makes the sizes those of a quick run.
func (s *scheduleSizes) shorten() {
	for i, n := range s.pending {
		s.pending[i] = min(n, 100_000)
	}
	s.pending = slices.Compact(s.pending)
	s.natsPending, s.natsBurst = min(s.natsPending, 20_000), min(s.natsBurst, 10_000)
	s.burst, s.batches = min(s.burst, 100_000), min(s.batches, 50)
	s.length, s.spread = min(s.length, time.Second), min(s.spread, 2*time.Second)
}

func (s *scheduleSizes) check() error {
	for kind := range strings.SplitSeq(s.kinds, ",") {
		if kind != kindPlain && kind != kindNamed {
			return fmt.Errorf("no kind %q of pending records; there are %s and %s", kind, kindPlain,
				kindNamed)
		}
	}
	if s.burst < 1 || s.batches < 1 || s.length <= 0 || s.spread <= 0 {
		return errors.New("-burst, -batches, -due-for and -spread must be above 0")
	}
	if s.natsPending < 0 || s.natsBurst < 0 {
		return errors.New("-nats-pending and -nats-burst must not be below 0")
	}
	if !s.nats {
		s.natsPending, s.natsBurst = 0, 0
	}
	return nil
}

// intList is a flag of numbers above 0, separated by commas.
type intList []int

// String returns the numbers as Set takes them.
func (l *intList) String() string {
	cells := make([]string, len(*l))
	for i, n := range *l {
		cells[i] = strconv.Itoa(n)
	}
	return strings.Join(cells, ",")
}

// Set replaces the numbers.
func (l *intList) Set(text string) error {
	*l = nil
	for cell := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(cell)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a number above 0", cell)
		}
		*l = append(*l, n)
	}
	return nil
}
