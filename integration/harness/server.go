package harness

import (
	"net/http"
	"testing"
	"time"
)

// logTail bounds what a failing test prints of its server's output.
const logTail = 8 << 10

// Options says what server a test wants. The zero value is one with a data directory of its own.
type Options struct {
	DataDir string   // default: a temporary directory of the test
	Args    []string // more flags of `chronos serve`
}

// Server is a chronos server of one test: it survives kills and restarts, always with the same
// data directory and addresses. Its methods are for the test's own goroutine, but Addr and
// HTTPAddr, which never change.
type Server struct {
	tb       testing.TB
	launch   Launch
	process  *Process // nil while it is down
	addr     string
	dataDir  string
	previous []string // logs of the runs before this one
}

// Start starts a server and stops it when the test ends. A failing test prints the end of the
// server's logs.
func Start(tb testing.TB, o Options) *Server {
	tb.Helper()
	if o.DataDir == "" {
		o.DataDir = tb.TempDir()
	}
	launch, addr, err := ServeLaunch(o.DataDir, o.Args...)
	if err != nil {
		tb.Fatalf("prepare a server: %v", err)
	}
	s := &Server{tb: tb, launch: launch, addr: addr, dataDir: o.DataDir}
	tb.Cleanup(s.cleanup)
	s.Up()
	return s
}

// ServeLaunch returns the launch of `chronos serve` on free loopback ports and the Kafka address
// that it will listen on. It also builds the binary where that is needed.
func ServeLaunch(dataDir string, args ...string) (Launch, string, error) {
	binary, err := Binary()
	if err != nil {
		return Launch{}, "", err
	}
	kafka, err := FreeAddr()
	if err != nil {
		return Launch{}, "", err
	}
	web, err := FreeAddr()
	if err != nil {
		return Launch{}, "", err
	}
	all := []string{"serve", "--data-dir", dataDir, "--kafka-addr", kafka, "--http-addr", web}
	return Launch{Binary: binary, Args: append(all, args...), HTTPAddr: web}, kafka, nil
}

// Addr returns the Kafka address.
func (s *Server) Addr() string { return s.addr }

// HTTPAddr returns the address of /health and /metrics.
func (s *Server) HTTPAddr() string { return s.launch.HTTPAddr }

// DataDir returns the data directory.
func (s *Server) DataDir() string { return s.dataDir }

// Process returns the running process, nil while the server is down.
func (s *Server) Process() *Process { return s.process }

// Up starts the server, which must be down, on its data and addresses.
func (s *Server) Up() {
	s.tb.Helper()
	if s.process != nil {
		s.tb.Fatal("the server is up already")
	}
	p, err := s.launch.Start()
	if err != nil {
		s.tb.Fatalf("start the server: %v", err)
	}
	s.process = p
}

// Kill ends the server with SIGKILL.
func (s *Server) Kill() {
	s.tb.Helper()
	s.mustBeUp()
	s.process.Kill()
	s.down()
}

// Stop ends the server with SIGTERM; it must drain and exit with code 0.
func (s *Server) Stop() {
	s.tb.Helper()
	s.mustBeUp()
	err := s.process.Stop()
	s.down()
	if err != nil {
		s.tb.Fatalf("stop the server: %v", err)
	}
}

// AwaitExit waits until the server has ended by itself, and returns its exit code and when that was
// seen. One that goes on is a failure.
func (s *Server) AwaitExit(within time.Duration) (code int, at time.Time) {
	s.tb.Helper()
	if s.process == nil {
		s.tb.Fatal("the server is down")
	}
	select {
	case <-s.process.Exited():
		at = time.Now()
	case <-time.After(within):
		s.tb.Fatalf("the server still runs after %s\n%s", within, s.process.Logs())
	}
	code = s.process.ExitCode()
	s.down()
	return code, at
}

// Restart kills the server and starts it again on the same data and addresses.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	s.Up()
}

// Metrics scrapes /metrics.
func (s *Server) Metrics() Metrics {
	s.tb.Helper()
	m, err := Scrape(s.launch.HTTPAddr)
	if err != nil {
		s.tb.Fatalf("scrape the server: %v", err)
	}
	return m
}

// Health asks /health once and returns its status code and body.
func (s *Server) Health() (int, string) {
	s.tb.Helper()
	client := &http.Client{Timeout: healthTimeout}
	defer client.CloseIdleConnections()
	code, body, err := get(client, "http://"+s.launch.HTTPAddr+"/health")
	if err != nil {
		s.tb.Fatalf("ask for health: %v", err)
	}
	return code, body
}

// Logs returns the end of the output of the run in progress, or of the last one.
func (s *Server) Logs() string {
	if s.process != nil {
		return s.process.Logs()
	}
	if len(s.previous) == 0 {
		return ""
	}
	return s.previous[len(s.previous)-1]
}

func (s *Server) mustBeUp() {
	s.tb.Helper()
	if s.process == nil {
		s.tb.Fatal("the server is down")
	}
	select {
	case <-s.process.Exited():
		s.tb.Fatalf("the server exited by itself\n%s", s.process.Logs())
	default:
	}
}

func (s *Server) down() {
	s.previous = append(s.previous, s.process.Logs())
	s.process = nil
}

func (s *Server) cleanup() {
	if s.process != nil {
		s.process.Kill()
		s.down()
	}
	if !s.tb.Failed() {
		return
	}
	for i, text := range s.previous {
		if over := len(text) - logTail; over > 0 {
			text = "…" + text[over:]
		}
		s.tb.Logf("server %s, run %d of %d:\n%s", s.addr, i+1, len(s.previous), text)
	}
}
