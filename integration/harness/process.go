package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Bounds of waiting for a server. They are generous: a machine under test is busy, and only a
// broken server comes near them.
const (
	readyMax      = 30 * time.Second
	stopMax       = 30 * time.Second
	healthEvery   = 5 * time.Millisecond
	healthTimeout = 2 * time.Second
	scrapeTimeout = 20 * time.Second // of a server under full load
)

// ErrExited says that a server ended by itself while it was expected to run.
var ErrExited = errors.New("the server exited")

// Launch says how to start one process that answers /health.
type Launch struct {
	Binary    string   // path of the program
	Args      []string // whole command line after the program's name
	HTTPAddr  string   // host:port that serves /health
	Env       []string // added to the environment of the caller
	AnyHealth bool     // accept any 200, for programs other than chronos
}

// Process is one started program in its own process group. Its methods are for one goroutine.
type Process struct {
	launch Launch
	cmd    *exec.Cmd
	logs   *logBuffer
	exited chan struct{} // closed once the process is reaped
	ready  time.Duration
}

// Start runs the program and waits until /health answers OK. On an error nothing keeps running.
func (l Launch) Start() (*Process, error) {
	p := &Process{launch: l, logs: &logBuffer{}, exited: make(chan struct{})}
	p.cmd = exec.Command(l.Binary, l.Args...)
	p.cmd.SysProcAttr = newGroup()
	p.cmd.Env = append(os.Environ(), l.Env...)
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	begun := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", l.Binary, err)
	}
	// The process ends this goroutine by exiting; Kill and Stop wait for it through exited.
	go func() {
		_ = p.cmd.Wait() // the exit state stays in ProcessState
		close(p.exited)
	}()
	if err := p.awaitHealth(begun.Add(readyMax)); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%s %s: %w\n%s", l.Binary, strings.Join(l.Args, " "), err, p.logs)
	}
	p.ready = time.Since(begun)
	return p, nil
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// ReadyAfter returns how long the program took from its start until /health answered OK.
func (p *Process) ReadyAfter() time.Duration { return p.ready }

// Logs returns the end of what the program wrote.
func (p *Process) Logs() string { return p.logs.String() }

// Exited returns a channel that is closed once the program has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// ExitCode returns the code with which the program has ended; -1 when a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Kill ends the whole process group with SIGKILL and waits until the program is gone.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // gone already is what is wanted
	<-p.exited
}

// Stop sends SIGTERM and waits for the program to exit with code 0.
func (p *Process) Stop() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%w before it was stopped: %s\n%s", ErrExited, p.cmd.ProcessState, p.logs)
	default:
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("send SIGTERM: %w", err)
	}
	select {
	case <-p.exited:
	case <-time.After(stopMax):
		p.Kill()
		return fmt.Errorf("still running %s after SIGTERM\n%s", stopMax, p.logs)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("exit after SIGTERM: %s, want code 0\n%s", p.cmd.ProcessState, p.logs)
	}
	return nil
}

// awaitHealth asks until the program answers, ends, or the deadline passes.
func (p *Process) awaitHealth(deadline time.Time) error {
	client := &http.Client{Timeout: healthTimeout}
	defer client.CloseIdleConnections()
	last := errors.New("never asked")
	for time.Now().Before(deadline) {
		select {
		case <-p.exited:
			return fmt.Errorf("%w before it was ready: %s", ErrExited, p.cmd.ProcessState)
		case <-time.After(healthEvery):
		}
		if last = p.askHealth(client); last == nil {
			return nil
		}
	}
	return fmt.Errorf("not ready after %s: %w", readyMax, last)
}

func (p *Process) askHealth(client *http.Client) error {
	code, body, err := get(client, "http://"+p.launch.HTTPAddr+"/health")
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return fmt.Errorf("/health answered %d %q", code, body)
	}
	if !p.launch.AnyHealth && strings.TrimSpace(body) != "OK" {
		return fmt.Errorf("/health answered 200 with %q, want OK", body)
	}
	return nil
}

// get reads one small page.
func get(client *http.Client, url string) (int, string, error) {
	const pageBytesMax = 16 << 20
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", fmt.Errorf("get %s: %w", url, err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end already, or failed
	body, err := io.ReadAll(io.LimitReader(resp.Body, pageBytesMax))
	if err != nil {
		return 0, "", fmt.Errorf("read %s: %w", url, err)
	}
	return resp.StatusCode, string(body), nil
}
