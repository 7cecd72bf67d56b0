package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/chronosdb/chronosdb/log/mutant"
)

// testMax bounds one test. It passes in a fraction of this; a mutant that hangs it is not found.
const testMax = 3 * time.Minute

// verdict is what a run of one test came to.
type verdict string

const (
	passed  verdict = "pass"
	failed  verdict = "FAIL"
	skipped verdict = "skip"
	unclear verdict = "no verdict" // the binary crashed, timed out, or has no such test
)

func main() {
	only := flag.String("only", "", "try this fault alone, and print what its test printed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	survivors, err := run(ctx, *only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
	if survivors > 0 {
		os.Exit(1)
	}
}

// run tries every fault, prints the table, and returns how many no test noticed.
func run(ctx context.Context, only string) (survivors int, err error) {
	bin, err := os.MkdirTemp("", "chronos-mutants-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	r := &runner{bin: bin, verbose: only != "", baseline: make(map[hunt]verdict)}
	faults := mutant.All()
	if only != "" {
		faults = []mutant.Name{mutant.Name(only)}
	}
	if err := r.build(ctx, faults); err != nil {
		return 0, err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\ttest\twithout it\twith it\t")
	for _, fault := range faults {
		rows := huntsFor(fault)
		if len(rows) == 0 {
			fmt.Fprintf(table, "%s\tno test is named in integration/mutants/table.go\t\t\t%s\n",
				fault, survives)
			survivors++
		}
		for _, h := range rows {
			line, noticed := r.hunt(ctx, h)
			fmt.Fprintln(table, line)
			if !noticed {
				survivors++
			}
		}
		if err := ctx.Err(); err != nil {
			return survivors, err
		}
	}
	if err := table.Flush(); err != nil {
		return survivors, err
	}
	fmt.Printf("mutants: %d faults tried, %d not noticed\n", len(faults), survivors)
	return survivors, nil
}

func huntsFor(fault mutant.Name) []hunt {
	return slices.DeleteFunc(slices.Clone(hunts), func(h hunt) bool { return h.fault != fault })
}

// runner holds the built test binaries and what each test said without a fault.
type runner struct {
	bin      string // folder of the binaries
	verbose  bool
	baseline map[hunt]verdict // keyed with an empty fault
}

// build makes one test binary for each folder that the faults' hunts name, and the server.
func (r *runner) build(ctx context.Context, faults []mutant.Name) error {
	dirs := make(map[string]bool)
	for _, fault := range faults {
		for _, h := range huntsFor(fault) {
			dirs[h.dir] = true
		}
	}
	for dir := range dirs {
		err := goCommand(ctx, "test", "-tags", "mutants", "-c", "-o", r.testBinary(dir), "./"+dir)
		if err != nil {
			return err
		}
	}
	if len(dirs) == 0 {
		return nil
	}
	return goCommand(ctx, "build", "-tags", "mutants", "-o", r.server(), "./cmd/chronos")
}

func (r *runner) testBinary(dir string) string {
	return filepath.Join(r.bin, strings.ReplaceAll(dir, "/", "-")+".test")
}

func (r *runner) server() string { return filepath.Join(r.bin, "chronos") }

// hunt runs one test without and with its fault and returns the table's line.
func (r *runner) hunt(ctx context.Context, h hunt) (line string, noticed bool) {
	plain := h
	plain.fault = ""
	before, known := r.baseline[plain]
	if !known {
		var out []byte
		before, out = r.test(ctx, plain)
		r.baseline[plain] = before
		if before != passed {
			// It has found something that nobody asked it for, and its seed is in what it printed.
			complain(plain, out)
		}
	}
	after, out := r.test(ctx, h)
	if after == unclear {
		complain(h, out)
	}
	o := outcomeOf(before, after)
	line = fmt.Sprintf("%s\t%s %s\t%s\t%s\t%s", h.fault, h.dir, h.test, before, after, o)
	return line, o == noticedFault
}

// complain prints all that a test has printed which came to no use.
func complain(h hunt, out []byte) {
	fmt.Fprintf(os.Stderr, "--- %s %s, fault %q\n%s\n", h.dir, h.test, h.fault, out)
}

// outcome is what the two runs of a test say of a fault.
type outcome string

const (
	noticedFault outcome = "noticed"
	survives     outcome = "SURVIVES"
	failsWithout outcome = "FAILS WITHOUT IT" // so its failure with the fault says nothing
	noBaseline   outcome = "DID NOT RUN"      // skipped, crashed or timed out without the fault
)

func outcomeOf(before, after verdict) outcome {
	switch {
	case before == failed:
		return failsWithout
	case before != passed:
		return noBaseline
	case after == failed:
		return noticedFault
	default:
		return survives
	}
}

// test runs one test in its folder, where its testdata is, and returns what it printed.
func (r *runner) test(ctx context.Context, h hunt) (verdict, []byte) {
	ctx, cancel := context.WithTimeout(ctx, testMax)
	defer cancel()
	names := strings.Split(h.test, "/")
	for i, name := range names {
		names[i] = "^" + name + "$"
	}
	cmd := exec.CommandContext(ctx, r.testBinary(h.dir), "-test.v", "-test.count=1",
		"-test.run", strings.Join(names, "/"), "-test.timeout", testMax.String())
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "CHRONOS_MUTANT="+string(h.fault), "CHRONOS_BIN="+r.server())
	out, _ := cmd.CombinedOutput() // the verdict is read from what was printed
	if r.verbose {
		fmt.Printf("--- CHRONOS_MUTANT=%s %s %s\n%s\n", h.fault, h.dir, h.test, out)
	}
	return verdictOf(string(out), h.test), out
}

// verdictOf finds the line in which the testing package says how the named test ended.
func verdictOf(out, test string) verdict {
	if strings.Contains(out, "panic: test timed out after") {
		return unclear
	}
	for line := range strings.Lines(out) {
		line = strings.TrimSpace(line)
		for word, v := range map[string]verdict{
			"--- PASS: ": passed, "--- FAIL: ": failed, "--- SKIP: ": skipped,
		} {
			if rest, ok := strings.CutPrefix(line, word); ok && strings.HasPrefix(rest, test+" ") {
				return v
			}
		}
	}
	return unclear
}

func goCommand(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return nil
}
