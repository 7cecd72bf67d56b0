package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asCommand makes the test binary be the command, so that its exit codes and signals can be tested
// without building it a second time.
const asCommand = "CHRONOS_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	switch os.Getenv(asCommand) {
	case "":
		os.Exit(m.Run())
	case "storage-failure":
		s := &server{config: Config{DataDir: "./data"}}
		s.storageFailed(fmt.Errorf("fdatasync of segment 7:\n%w", syscall.EIO))
	default:
		main()
	}
}

// commandMax bounds every wait for a command. Only a hung one comes near it.
const commandMax = 30 * time.Second

// command prepares a run in its own empty directory, in an environment without CHRONOS_ variables.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandMax)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{asCommand + "=yes", "HOME=" + cmd.Dir, "PATH=" + os.Getenv("PATH")}
	return cmd
}

// run runs a command to its end and returns its exit code and what it printed.
func run(t *testing.T, cmd *exec.Cmd) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errOut.String()
}

func TestMistakesStopTheStartWithOneLine(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		env  string
		want string
	}{
		"flag":        {args: []string{"serve", "--datadir=x"}, want: "did you mean --data-dir?"},
		"value":       {args: []string{"serve", "--tick-ms=no"}, want: "want a whole number"},
		"environment": {args: []string{"serve"}, env: "CHRONOS_TICK=1", want: "did you mean CHRONOS_TICK_MS?"},
		"file":        {args: []string{"serve", "--config=no.yaml"}, want: "no.yaml"},
		"command":     {args: []string{"server"}, want: `did you mean "serve"?`},
		"argument":    {args: []string{"serve", "9092"}, want: "takes no argument"},
		"root flag":   {args: []string{"--hepl"}, want: "did you mean --help?"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, test.args...)
			if test.env != "" {
				cmd.Env = append(cmd.Env, test.env)
			}
			code, stdout, stderr := run(t, cmd)
			if code != exitUsage || stdout != "" || strings.Count(stderr, "\n") != 1 ||
				!strings.HasPrefix(stderr, "chronos: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit %d, want %d and one line with %q\nstdout: %s\nstderr: %s",
					code, exitUsage, test.want, stdout, stderr)
			}
		})
	}
}

func TestHelpVersionCompletion(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"", "serve"},
		{"--help", "chronos-schedule-delay"},
		{"serve --help", "--fsync-mode batch|every_event|periodic"},
		{"version", "chronos "},
		{"completion bash", "bash completion"},
		{"completion fish", "fish completion"},
		{"__complete serve --fs", "--fsync-mode"},
	} {
		code, stdout, stderr := run(t, command(t, strings.Fields(test.args)...))
		if code != 0 || !strings.Contains(stdout, test.want) {
			t.Errorf("chronos %s: exit %d, no %q in\n%s%s", test.args, code, test.want, stdout, stderr)
		}
	}
}

func TestStorageFailureExitsAtOnceWithOneLine(t *testing.T) {
	cmd := command(t)
	cmd.Env = append(cmd.Env, asCommand+"=storage-failure")
	code, _, stderr := run(t, cmd)
	if code != exitFailed || strings.Count(stderr, "\n") != 1 ||
		!strings.Contains(stderr, "data directory ./data") || !strings.Contains(stderr, "input/output error") {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
}

// running is a server of a test, and what its banner said.
type running struct {
	cmd         *exec.Cmd
	kafka, http string
	stderr      bytes.Buffer
	rest        chan string // what it printed after the banner's addresses, once it has ended
}

var bannerAddresses = regexp.MustCompile(`Kafka clients: (\S+) [\s\S]*http://(\S+)/health`)

// start starts a server and waits for its banner.
func start(t *testing.T, dir string, args ...string) *running {
	t.Helper()
	r := &running{rest: make(chan string, 1)}
	args = append([]string{"serve", "--data-dir", dir, "--kafka-addr", "127.0.0.1:0"}, args...)
	if !strings.Contains(strings.Join(args, " "), "--http-addr") {
		args = append(args, "--http-addr", "127.0.0.1:0")
	}
	r.cmd = command(t, args...)
	r.cmd.Stderr = &r.stderr
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	var text strings.Builder
	for {
		line, err := lines.ReadString('\n')
		text.WriteString(line)
		if found := bannerAddresses.FindStringSubmatch(text.String()); found != nil {
			r.kafka, r.http = found[1], found[2]
			break
		}
		if err != nil {
			_ = r.cmd.Wait()
			t.Fatalf("no banner: %v\n%s%s", err, text.String(), r.stderr.String())
		}
	}
	// The server's exit ends it; stop waits for it.
	go func() {
		rest, _ := io.ReadAll(lines)
		r.rest <- string(rest)
	}()
	return r
}

// stop sends a signal and returns the exit code and how long it took.
func (r *running) stop(t *testing.T, signal os.Signal) (code int, took time.Duration) {
	t.Helper()
	began := time.Now()
	if err := r.cmd.Process.Signal(signal); err != nil {
		t.Fatal(err)
	}
	<-r.rest
	_ = r.cmd.Wait() // the exit code says it
	return r.cmd.ProcessState.ExitCode(), time.Since(began)
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	client := http.Client{Timeout: commandMax}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func TestServeAnswersAndStops(t *testing.T) {
	dir := t.TempDir() + "/made/by/serve"
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} { // twice on the same data
		r := start(t, dir)
		if code, body := get(t, "http://"+r.http+"/health"); code != 200 || strings.TrimSpace(body) != "OK" {
			t.Errorf("/health: %d %q", code, body)
		}
		code, body := get(t, "http://"+r.http+"/metrics")
		for _, name := range []string{"chronos_partitions 0", "chronos_fsyncs_total", "go_goroutines", "process_open_fds"} {
			if code != 200 || !strings.Contains(body, "\n"+name) {
				t.Errorf("/metrics: %d, no %s", code, name)
			}
		}
		if code, _ := get(t, "http://"+r.http+"/"); code != 200 {
			t.Errorf("/: %d", code)
		}
		if code, body := get(t, "http://"+r.http+"/v1/openapi.yaml"); code != 200 || !strings.HasPrefix(body, "openapi:") {
			t.Errorf("/v1/openapi.yaml: %d", code)
		}
		code, body = get(t, "http://"+r.http+"/v1/schedules/count")
		if code != 200 || body != `{"pending":0,"partitions":[]}`+"\n" {
			t.Errorf("/v1/schedules/count: %d %s", code, body)
		}
		if code, took := r.stop(t, signal); code != 0 || took > drainMax {
			t.Errorf("%v: exit %d after %v\n%s", signal, code, took, r.stderr.String())
		}
		if !strings.Contains(r.stderr.String(), `"msg":"stopped"`) {
			t.Errorf("no line says that it stopped, in JSON as nobody watches:\n%s", r.stderr.String())
		}
	}
}

func TestSecondStartSaysWhoHoldsTheData(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir)
	for name, httpAddr := range map[string]string{
		"other addresses": "127.0.0.1:0",
		"same addresses":  r.http, // the holder is the better answer than the address in use
	} {
		code, _, stderr := run(t, command(t, "serve", "--data-dir", dir,
			"--kafka-addr", r.kafka, "--http-addr", httpAddr))
		lines := strings.Split(strings.TrimSpace(stderr), "\n")
		last := lines[len(lines)-1]
		if code != exitFailed || !strings.Contains(last, strconv.Itoa(r.cmd.Process.Pid)) ||
			!strings.Contains(last, dir) {
			t.Errorf("%s: exit %d, want process %d named in %q", name, code, r.cmd.Process.Pid, last)
		}
	}
	if code, _ := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d of the first start after the second\n%s", code, r.stderr.String())
	}
}

func TestAddressInUse(t *testing.T) {
	r := start(t, t.TempDir())
	for flag, args := range map[string][]string{
		"--kafka-addr": {"--kafka-addr", r.kafka, "--http-addr", "127.0.0.1:0"},
		"--http-addr":  {"--kafka-addr", "127.0.0.1:0", "--http-addr", r.http},
	} {
		code, _, stderr := run(t, command(t, append([]string{"serve", "--data-dir", "d"}, args...)...))
		if code != exitFailed || !strings.Contains(stderr, "address already in use; choose another address with "+flag) {
			t.Errorf("%s: exit %d\n%s", flag, code, stderr)
		}
	}
	if code, _ := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit %d\n%s", code, r.stderr.String())
	}
}
