package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/integration/harness"
)

var updateGolden = flag.Bool("golden.update", false, "write the golden files anew; then read what changed")

// operator is a person at the server's machine: what is seen of commands and requests is kept.
type operator struct {
	t      *testing.T
	server *harness.Server
	text   strings.Builder
}

// run runs `chronos schedule` with a command line, whose words are quoted where they need it.
func (o *operator) run(words ...string) {
	o.t.Helper()
	fmt.Fprintf(&o.text, "$ chronos schedule %s\n", strings.Join(words, " "))
	o.text.WriteString(o.output(words...) + "\n")
}

// output runs `chronos schedule` and returns what it prints.
func (o *operator) output(words ...string) string {
	o.t.Helper()
	binary, err := harness.Binary()
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), testMax)
	defer cancel()
	to := []string{"--http", o.server.HTTPAddr()}
	if words[0] == "put" {
		to = []string{"--kafka", o.server.Addr()}
	}
	args := append([]string{"schedule"}, words...)
	out, err := exec.CommandContext(ctx, binary, append(args, to...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		o.t.Fatal(err)
	}
	if exit != nil {
		return fmt.Sprintf("%sexit %d\n", out, exit.ExitCode())
	}
	return string(out)
}

// request sends one request to the HTTP API.
func (o *operator) request(method, path, body string, headers ...string) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(testContext(o.t), method, "http://"+o.server.HTTPAddr()+path,
		strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	fmt.Fprintf(&o.text, "%s %s %s %s\n%d %s\n", method, path, body, strings.Join(headers, " "),
		response.StatusCode, answer)
}

// note writes a line between commands.
func (o *operator) note(text string) { o.text.WriteString("# " + text + "\n\n") }

// What differs between two runs, and what stands for it, of the same width so that tables stay.
var changing = []struct {
	find *regexp.Regexp
	put  string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`), "YYYY-MM-DDThh:mm:ss.mmmZ"},
	{regexp.MustCompile(`\b1[789]\d{11}\b`), "UNIX-MILLISEC"},
}

// golden compares what was seen with a file of testdata.
func (o *operator) golden(name string) {
	o.t.Helper()
	got := o.text.String()
	for _, c := range changing {
		got = c.find.ReplaceAllString(got, c.put)
	}
	path := filepath.Join("testdata", name)
	if *updateGolden {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			o.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		o.t.Fatal(err)
	}
	if !bytes.Equal([]byte(got), want) {
		o.t.Errorf("%s is not what was seen; write it anew with -golden.update and read the change:\n%s", path, got)
	}
}

// TestOperatorsDay goes through everything that an operator can see and do, and kills the server in
// between: what was cancelled, moved and paused stays so.
func TestOperatorsDay(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{})
	o := &operator{t: t, server: s}
	createNamedTopic(t, s.Addr(), "orders", 1)
	o.note("Nothing is pending.")
	o.run("list")
	o.run("count")
	for _, put := range [][]string{
		{"--key", "customer-1", "--value", "first", "--in", "P10D", "--id", "reminder-1", "--header", "trace=4bf9"},
		{"--key", "customer-2", "--value", "second", "--in", "P20D"},
		{"--key", "customer-2", "--value", "third", "--in", "P30D", "--expire", "2199-01-01T00:00:00Z"},
		{"--key", "customer-3", "--value", "fourth", "--in", "P40D", "--every", "PT36H", "--count", "5"},
		{"--key", "customer-4", "--value", "fifth", "--in", "P50D"},
	} {
		o.run(append([]string{"put", "--topic", "orders"}, put...)...)
	}
	o.run("put", "--topic", "orders", "--value", "never", "--in", "soon")
	o.see()
	o.run("count")
	positions := o.positions()
	if len(positions) != 5 {
		t.Fatalf("positions %v", positions)
	}
	first, second, fourth, fifth := positions[0], positions[1], positions[3], positions[4]

	o.note("Orders, each twice.")
	for range 2 {
		o.run("cancel", "orders", "0", fifth)
		o.run("move", "orders", "0", second, "--in", "P60D")
	}
	o.note("What was made due now is read by a consumer; then the server is killed.")
	o.run("now", "orders", "0", first)
	o.read("orders", 1)
	o.run("now", "orders", "0", first)
	s.Restart()
	o.see()
	o.run("cancel", "orders", "0", fifth)

	o.note("A paused topic accepts records and delivers none, also after a kill.")
	o.run("pause", "orders")
	o.run("put", "--topic", "orders", "--key", "customer-5", "--value", "sixth", "--in", "1ms")
	s.Restart()
	o.run("count", "--topic", "orders")
	o.read("orders", 1)
	o.run("resume", "orders")
	o.read("orders", 2)
	s.Restart()
	o.read("orders", 2)

	o.note("Over HTTP.")
	o.request("POST", "/v1/schedules/orders/0/"+fourth+"/move", `{"in":"P70D"}`)
	o.request("POST", "/v1/schedules/orders/0/"+fourth+"/move", `{"in":"yesterday"}`)
	o.request("DELETE", "/v1/schedules/orders/0/"+fourth, "", "Origin", "https://evil.example")
	o.request("DELETE", "/v1/schedules/orders/0/"+fourth, "", "X-Forwarded-For", "192.0.2.7")
	o.request("POST", "/v1/schedules/cancel", `{"topic":"orders","key":"customer-2"}`)
	o.request("GET", "/v1/schedules?topic=orders", "")
	o.request("GET", "/v1/schedules?topic=nowhere", "")
	o.run("cancel", "--topic", "orders", "--yes")
	s.Restart()
	o.run("list")
	o.golden("operators_day.txt")
}

// see prints everything that is pending, in every way.
func (o *operator) see() {
	o.t.Helper()
	o.run("list")
	o.run("list", "--topic", "orders", "--key", "customer-2")
	o.run("list", "--topic", "orders", "--id", "reminder-1", "-o", "json")
	for _, p := range o.positions() {
		o.run("get", "orders", "0", p)
	}
}

// positions returns those of all pending records of orders, in due order.
func (o *operator) positions() (all []string) {
	o.t.Helper()
	for line := range strings.Lines(o.output("list", "--topic", "orders", "-o", "json")) {
		var one struct{ Position string }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			o.t.Fatalf("%q: %v", line, err)
		}
		all = append(all, one.Position)
	}
	return all
}

// read reads the topic, in which so many records have to be, and no more.
func (o *operator) read(topic string, count int) {
	o.t.Helper()
	for _, r := range consume(o.t, o.server.Addr(), topic, count) {
		fmt.Fprintf(&o.text, "offset %d: key %s, value %s\n", r.Offset, r.Key, r.Value)
	}
	if hw := highWatermark(o.t, dial(o.t, o.server.Addr()), topic); hw != int64(count) {
		o.t.Errorf("%d records in %s, want %d", hw, topic, count)
	}
	o.text.WriteString("\n")
}
