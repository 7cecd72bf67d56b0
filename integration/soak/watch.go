package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/chronosdb/chronosdb/integration/harness"
)

const (
	sampleEvery = 2 * time.Second
	// warmUpShare is the share of a soak after which nothing may grow any more. What was most between
	// it and baseShare is the base that the end is compared with.
	warmUpShare = 0.3
	baseShare   = 0.55
)

// figure is something of the server that must not grow.
type figure struct {
	name string
	// The end may be that much above the base: a share of it, and a constant.
	share    float64
	constant float64
	unit     float64 // for printing
}

// figures are in the order of sample.values.
var figures = []figure{
	{"resident MiB", 0.25, 24 << 20, 1 << 20},
	{"goroutines", 0.10, 40, 1},
	{"descriptors", 0.10, 40, 1},
	{"disk MiB", 0.25, 24 << 20, 1 << 20},
}

// watch looks at the server now and then.
type watch struct {
	pid      int
	httpAddr string
	dataDir  string
	began    time.Time
	lasts    time.Duration
	samples  []sample
}

type sample struct {
	at     time.Duration
	values [4]float64
}

// sample takes one look and prints it.
func (w *watch) sample(out io.Writer) error {
	s := sample{at: time.Since(w.began)}
	resident, err := harness.Resident(w.pid)
	if err != nil {
		return err
	}
	metrics, err := harness.Scrape(w.httpAddr)
	if err != nil {
		return err
	}
	goroutines, err := metrics.Sum("go_goroutines")
	if err != nil {
		return err
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.pid))
	if err != nil {
		return err
	}
	disk, err := bytesBelow(w.dataDir)
	if err != nil {
		return err
	}
	s.values = [4]float64{float64(resident), goroutines, float64(len(open)), float64(disk)}
	w.samples = append(w.samples, s)
	fmt.Fprintf(out, "%6.0fs", s.at.Seconds())
	for i, f := range figures {
		fmt.Fprintf(out, "  %s %.0f", f.name, s.values[i]/f.unit)
	}
	fmt.Fprintln(out)
	return nil
}

// bytesBelow adds up the lengths of files. One that goes away meanwhile counts nothing.
func bytesBelow(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				sum += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return sum, err
}

// judge compares the end with the base.
func (w *watch) judge(out io.Writer) error {
	var base, end []sample
	for _, s := range w.samples {
		switch share := float64(s.at) / float64(w.lasts); {
		case share >= baseShare:
			end = append(end, s)
		case share >= warmUpShare:
			base = append(base, s)
		}
	}
	if len(base) < 3 || len(end) < 3 {
		return fmt.Errorf("%d looks before and %d behind %.0f %%: the soak is too short", len(base),
			len(end), 100*baseShare)
	}
	var errs []error
	for i, f := range figures {
		was, is := most(base, i), median(end[len(end)/2:], i)
		bound := was*(1+f.share) + f.constant
		fmt.Fprintf(out, "%s: at most %.0f, at the end %.0f, bound %.0f\n", f.name, was/f.unit,
			is/f.unit, bound/f.unit)
		if is > bound {
			errs = append(errs, fmt.Errorf("%s grew from %.0f to %.0f, beyond %.0f", f.name, was/f.unit,
				is/f.unit, bound/f.unit))
		}
	}
	return errors.Join(errs...)
}

func most(samples []sample, i int) (m float64) {
	for _, s := range samples {
		m = max(m, s.values[i])
	}
	return m
}

func median(samples []sample, i int) float64 {
	var all []float64
	for _, s := range samples {
		all = append(all, s.values[i])
	}
	slices.Sort(all)
	return all[len(all)/2]
}
