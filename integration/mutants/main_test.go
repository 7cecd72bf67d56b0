package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatFailsWithoutAFault: a test that fails by itself is not called a fault that survives, and
// all that it printed, with its seed, is there to read.
func TestWhatFailsWithoutAFault(t *testing.T) {
	for _, c := range []struct {
		name, without, with string
		want                outcome
		printed             bool
	}{
		{"noticed", "--- PASS: TestX (0.00s)", "--- FAIL: TestX (0.00s)", noticedFault, false},
		{"survives", "--- PASS: TestX (0.00s)", "--- PASS: TestX (0.00s)", survives, false},
		{"hangs", "--- PASS: TestX (0.00s)", "panic: test timed out after 3m", survives, true},
		{"flaky", "seed 42\n--- FAIL: TestX (0.00s)", "--- FAIL: TestX (0.00s)", failsWithout, true},
		{"skipped", "--- SKIP: TestX (0.00s)", "--- FAIL: TestX (0.00s)", noBaseline, true},
		{"crashed", "panic: seed 42", "--- FAIL: TestX (0.00s)", noBaseline, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &runner{bin: t.TempDir(), baseline: map[hunt]verdict{}}
			script := "#!/bin/sh\nif [ -z \"$CHRONOS_MUTANT\" ]; then echo '" + c.without +
				"'; else echo '" + c.with + "'; fi\n"
			if err := os.WriteFile(r.testBinary("."), []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			h := hunt{fault: "some-fault", dir: ".", test: "TestX"}
			var line string
			var noticed bool
			stderr := stderrOf(t, func() { line, noticed = r.hunt(context.Background(), h) })
			if !strings.HasSuffix(line, "\t"+string(c.want)) || noticed != (c.want == noticedFault) {
				t.Errorf("line %q, noticed %v; want %s", line, noticed, c.want)
			}
			if printed := strings.Contains(stderr, c.without) || strings.Contains(stderr, c.with); printed != c.printed {
				t.Errorf("stderr is %q", stderr)
			}
		})
	}
}

// stderrOf returns what is written to stderr meanwhile.
func stderrOf(t *testing.T, fn func()) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	was := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = was }()
	fn()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
