package harness

import (
	"bytes"
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// kcatMax bounds one run of kcat.
const kcatMax = 60 * time.Second

// KcatResult is what one run of kcat printed.
type KcatResult struct {
	Stdout, Stderr string
}

// Kcat runs kcat against a server with the given standard input; an exit code other than 0 fails
// the test with both outputs. A missing kcat skips it.
func Kcat(tb testing.TB, addr, stdin string, args ...string) KcatResult {
	tb.Helper()
	path, err := exec.LookPath("kcat")
	if err != nil {
		Missing(tb, "kcat is not installed (Debian: apt-get install kcat): %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), kcatMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append([]string{"-b", addr}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		tb.Fatalf("kcat %s: %v\nstdout: %s\nstderr: %s",
			strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return KcatResult{Stdout: stdout.String(), Stderr: stderr.String()}
}
