package clients

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Bounds of waiting for the server.
const (
	readyMax    = 30 * time.Second
	stopMax     = 30 * time.Second
	healthEvery = 5 * time.Millisecond

	parallelTests = 8
)

// server is the one server of all tests.
type server struct {
	addr   string
	web    string
	dir    string
	cmd    *exec.Cmd
	output *bytes.Buffer // safe to read once exited is closed
	exited chan struct{}
}

var theServer = sync.OnceValues(startServer)

// started tells TestMain whether there is a server to stop.
var started = false

func TestMain(m *testing.M) {
	flag.Parse()
	// Most tests wait for a due time or a rebalance, not for a CPU, so more of them run at once than
	// there are CPUs, unless the command line says otherwise.
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", strconv.Itoa(parallelTests)) // a number, so it is taken
	}
	code := m.Run()
	if started {
		if err := stopServer(); err != nil {
			fmt.Fprintf(os.Stderr, "stop the server: %v\n", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// serverAddr returns the Kafka address of the server, which starts at the first call.
func serverAddr(t *testing.T) string {
	t.Helper()
	s, err := theServer()
	if err != nil {
		t.Fatalf("start the server: %v", err)
	}
	select {
	case <-s.exited:
		t.Fatalf("the server exited\n%s", s.output)
	default:
	}
	return s.addr
}

func startServer() (*server, error) {
	dir, err := os.MkdirTemp("", "chronos-clients-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	binary := os.Getenv("CHRONOS_BIN")
	if binary == "" {
		binary = filepath.Join(dir, "chronos")
		build := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", binary,
			"./cmd/chronos")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the server: %w\n%s", err, out)
		}
	}
	s := &server{dir: dir, output: &bytes.Buffer{}, exited: make(chan struct{})}
	for _, addr := range []*string{&s.addr, &s.web} {
		if *addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	s.cmd = exec.Command(binary, "serve", "--data-dir", filepath.Join(dir, "data"),
		"--kafka-addr", s.addr, "--http-addr", s.web, "--compaction-check-interval", "50ms")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	started = true
	// The server ends this goroutine by exiting; stopServer waits for it through exited.
	go func() {
		_ = s.cmd.Wait() // the exit state stays in ProcessState
		close(s.exited)
	}()
	return s, s.awaitReady()
}

func (s *server) awaitReady() error {
	last := errors.New("never asked")
	for deadline := time.Now().Add(readyMax); time.Now().Before(deadline); {
		select {
		case <-s.exited:
			return fmt.Errorf("the server exited: %s\n%s", s.cmd.ProcessState, s.output)
		case <-time.After(healthEvery):
		}
		if last = s.askHealth(); last == nil {
			return nil
		}
	}
	return fmt.Errorf("not ready after %s: %w", readyMax, last)
}

func (s *server) askHealth() error {
	resp, err := http.Get("http://" + s.web + "/health")
	if err != nil {
		return fmt.Errorf("ask for health: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to its end already, or failed
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return fmt.Errorf("read the health: %w", err)
	}
	if resp.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != "OK" {
		return fmt.Errorf("/health answered %d %q", resp.StatusCode, body)
	}
	return nil
}

// stopServer ends the server as an operator would and deletes what it wrote.
func stopServer() error {
	s, err := theServer()
	if s == nil {
		return err
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // exited already is judged below
	select {
	case <-s.exited:
	case <-time.After(stopMax):
		_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL)
		<-s.exited
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("exit: %s, want code 0\n%s", s.cmd.ProcessState, s.output)
	}
	return os.RemoveAll(s.dir)
}

// freeAddr returns an address that nothing listens on now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }() // it only had to be free
	return l.Addr().String(), nil
}
