package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// straceAttachMax bounds the wait until strace holds all threads of a process.
const straceAttachMax = 20 * time.Second

// Injection is strace attached to a running process, some of whose system calls it spoils.
type Injection struct {
	cmd   *exec.Cmd
	trace string        // file of what the process called
	ended chan struct{} // closed once strace is reaped
}

// NeedStrace skips or fails the test where strace is missing.
func NeedStrace(tb testing.TB) {
	tb.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		Missing(tb, "strace is not installed; apt-get install strace")
	}
}

// Inject attaches strace to a process, with an expression of its option -e inject, such as
// "fdatasync:error=EIO", for calls on one file only unless the path is empty. It returns once the
// process is held. The injection ends with the process, with End, or with the test.
func Inject(tb testing.TB, pid int, path, expression string) *Injection {
	tb.Helper()
	calls, _, _ := strings.Cut(expression, ":")
	in := &Injection{
		trace: filepath.Join(tb.TempDir(), "trace"), ended: make(chan struct{}),
	}
	args := []string{
		"-f", "-ttt", "-o", in.trace, "-p", strconv.Itoa(pid),
		"-e", "trace=" + calls, "-e", "inject=" + expression,
	}
	if path != "" {
		args = append(args, "-P", path)
	}
	in.cmd = exec.Command("strace", args...)
	in.cmd.SysProcAttr = newGroup()
	said, err := in.cmd.StderrPipe()
	if err == nil {
		err = in.cmd.Start()
	}
	if err != nil {
		tb.Fatalf("start strace: %v", err)
	}
	attached := make(chan string, 1)
	// The end of strace ends this goroutine; End waits for it through ended.
	go in.follow(said, attached)
	tb.Cleanup(in.End)
	select {
	case line := <-attached:
		if !strings.Contains(line, " attached") {
			Missing(tb, "strace cannot attach to a process: %s", line)
		}
	case <-time.After(straceAttachMax):
		tb.Fatalf("strace is not attached after %s", straceAttachMax)
	}
	return in
}

// follow reads what strace says about itself, tells the first line, and reaps it.
func (in *Injection) follow(said io.Reader, attached chan<- string) {
	lines := bufio.NewScanner(said)
	for first := true; lines.Scan(); first = false {
		if first {
			attached <- lines.Text()
		}
	}
	_ = in.cmd.Wait() // how strace ended says nothing
	close(in.ended)
}

// End detaches strace, if it is still there, and waits until it is gone.
func (in *Injection) End() {
	_ = in.cmd.Process.Signal(syscall.SIGINT) // gone already is what is wanted
	<-in.ended
}

// injectedMark is how strace marks a call that it has spoiled.
const injectedMark = "(INJECTED)"

// First returns when the first call was spoiled, as far as strace has written it. A call is written
// when it returns.
func (in *Injection) First() (time.Time, bool, error) {
	raw, err := os.ReadFile(in.trace)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return time.Time{}, false, fmt.Errorf("read the trace: %w", err)
	}
	for line := range bytes.Lines(raw) {
		fields := strings.Fields(string(line)) // thread, seconds, call
		if !bytes.Contains(line, []byte(injectedMark)) || len(fields) < 3 {
			continue
		}
		seconds, err := strconv.ParseFloat(fields[1], 64)
		if err != nil {
			return time.Time{}, false, fmt.Errorf("trace line %q: %w", line, err)
		}
		return time.UnixMicro(int64(seconds * 1e6)), true, nil
	}
	return time.Time{}, false, nil
}
