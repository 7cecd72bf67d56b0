package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// dropArgument as the first argument turns this program into the reference server.
const dropArgument = "drop"

// roles are the other programs that this one is, by first argument.
var roles = map[string]func(args []string) error{
	dropArgument: dropMain, peerArgument: peerMain, timerArgument: timerMain,
	trafficArgument: trafficMain,
}

// options are the flags.
type options struct {
	sections  []string
	runs      int
	seconds   float64
	schedules scheduleSizes
	quick     bool
	markdown  bool
	dir       string
}

// section is one part of the measurement; it adds rows to the report.
type section struct {
	name string
	run  func(ctx context.Context, b *bench) error
}

// sections are in the order in which they run and print.
var sections = []section{
	{"produce", produceSection},
	{"hot", hotSection},
	{"sync", syncSection},
	{"consume", consumeSection},
	{"peer", peerSection},
	{"growth", growthSection},
	{"schedule", scheduleSection},
	{"lateness", latenessSection},
	{"burst", burstSection},
	{"spread", spreadSection},
	{"memory", memorySection},
	{"pending", pendingSection},
	{"idle", idleSection},
	{"sustained", sustainedSection},
}

// bench is one run of the program.
type bench struct {
	options
	out    io.Writer
	values map[int][][]byte // contents by size
	floors []floor
	nats   string // the built program of the peer; empty until somebody needs it
}

func main() {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := parseFlags()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp(o.dir, "chronos-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the data: %w", err)
	}
	o.dir = dir
	b := &bench{options: o, out: os.Stdout, values: map[int][][]byte{}}
	err = b.runSections(ctx)
	return errors.Join(err, os.RemoveAll(dir), harness.RemoveBinary())
}

func (b *bench) runSections(ctx context.Context) error {
	begun := time.Now()
	fmt.Fprintf(b.out,
		"chronos bench, %s, %s, %s, %d CPUs, %d runs of %g s each, median, none left out\n",
		begun.UTC().Format("2006-01-02 15:04 MST"), runtime.Version(), cpuModel(), runtime.NumCPU(),
		b.runs, b.seconds)
	for _, s := range sections {
		if !slices.Contains(b.sections, s.name) {
			continue
		}
		if err := s.run(ctx, b); err != nil {
			return fmt.Errorf("section %s: %w", s.name, err)
		}
	}
	b.printFloors()
	fmt.Fprintf(b.out, "\nAll of it took %s.\n", time.Since(begun).Round(time.Second))
	return nil
}

func parseFlags() (options, error) {
	var o options
	names := make([]string, len(sections))
	for i, s := range sections {
		names[i] = s.name
	}
	all := strings.Join(names, ",")
	chosen := flag.String("sections", all, "sections to run, separated by commas")
	flag.IntVar(&o.runs, "runs", 5, "runs of each case; the median counts")
	flag.Float64Var(&o.seconds, "seconds", 2.5, "length of one run in seconds, without warm-up")
	o.schedules.register()
	flag.BoolVar(&o.quick, "quick", false, "one run of one second each; figures are rough")
	flag.BoolVar(&o.markdown, "markdown", false, "print the tables as Markdown")
	flag.StringVar(&o.dir, "dir", "", "folder for the data; default: the temporary folder")
	bin := flag.String("bin", "", "a built server; default: build ./cmd/chronos")
	flag.Parse()
	if flag.NArg() != 0 {
		return o, fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}
	for name := range strings.SplitSeq(*chosen, ",") {
		if !slices.Contains(names, name) {
			return o, fmt.Errorf("no section %q; there are %s", name, all)
		}
		o.sections = append(o.sections, name)
	}
	if o.quick {
		o.runs, o.seconds = 1, 1
		o.schedules.shorten()
	}
	if o.runs < 1 || o.seconds <= 0 {
		return o, errors.New("-runs and -seconds must be above 0")
	}
	if err := o.schedules.check(); err != nil {
		return o, err
	}
	if *bin != "" {
		if err := os.Setenv(harness.BinaryEnv, *bin); err != nil {
			return o, fmt.Errorf("set %s: %w", harness.BinaryEnv, err)
		}
	}
	return o, nil
}

// cpuModel is what Linux calls the processor.
func cpuModel() string {
	raw, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	_, model, _ := strings.Cut(string(raw), "model name")
	model, _, _ = strings.Cut(model, "\n")
	return strings.Trim(model, "\t: ")
}

// length is how long one run lasts.
func (b *bench) length() time.Duration {
	return time.Duration(b.seconds * float64(time.Second))
}

// warmUp is how long a run goes before it counts.
func (b *bench) warmUp() time.Duration { return b.length() / 4 }
