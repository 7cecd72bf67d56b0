package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
)

// dumped is a data directory with plain, waiting and delivered records, and a server that uses it.
func dumped(t *testing.T) (dir string, r *running) {
	t.Helper()
	dir = t.TempDir()
	r = start(t, dir)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.kafka), kgo.AllowAutoTopicCreation())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, delay := range []string{"", "", "50ms", "1h"} {
		record := &kgo.Record{Topic: "demo", Key: []byte("k"), Value: []byte("value of " + delay)}
		if delay != "" {
			record.Headers = []kgo.RecordHeader{{Key: "chronos-schedule-delay", Value: []byte(delay)}}
		}
		if err := client.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	// The third one is visible once it was delivered.
	client.AddConsumeTopics("demo")
	for n := 0; n < 3; {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		n += fetches.NumRecords()
	}
	return dir, r
}

// jsonLines decodes the output of -o json.
func jsonLines(t *testing.T, text string) (lines []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, one)
	}
	return lines
}

func countKinds(lines []map[string]any) map[string]int {
	kinds := map[string]int{}
	for _, line := range lines {
		kinds[line["kind"].(string)]++
	}
	return kinds
}

// contents returns what is in a directory, to see that a command has changed nothing.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLogCommands(t *testing.T) {
	dir, r := dumped(t)
	partitions, err := filepath.Glob(filepath.Join(dir, "topics", "*-0"))
	if err != nil || len(partitions) != 1 {
		t.Fatalf("partitions %v, %v", partitions, err)
	}
	// A server is using the directory: nothing is damaged, and the commands say so.
	code, stdout, stderr := run(t, command(t, "log", "verify", "--data-dir", dir))
	if code != 0 || !strings.Contains(stdout, "damage=0") || !strings.Contains(stderr, "note: process") {
		t.Errorf("verify beside a server: exit %d\n%s%s", code, stdout, stderr)
	}
	if code, took := r.stop(t, syscall.SIGTERM); code != 0 || took > drainMax {
		t.Fatalf("exit %d", code)
	}
	before := contents(t, dir)
	code, stdout, stderr = run(t, command(t, "log", "dump", "--records", "--verify", "-o", "json", dir))
	if code != 0 || stderr != "" {
		t.Errorf("dump: exit %d, stderr %q", code, stderr)
	}
	kinds := countKinds(jsonLines(t, stdout))
	for kind, least := range map[string]int{
		"segment": 3, "batch": 8, "record": 3, "staged": 2, "command": 3, "note": 3, "slot": 12,
		"leader-epochs": 3, "epoch": 3, "producers": 1, "producer": 1, "producer-batch": 4,
	} {
		if kinds[kind] < least {
			t.Errorf("%d lines of kind %s, want %d; all: %v", kinds[kind], kind, least, kinds)
		}
	}
	for what, want := range map[string]string{
		"a value": `"value of 1h"`, "a due time": `"due_ms":`, "an action": `"action":"deliver"`,
		"a command": `"create_topic"`, "a delivery": `"chronos-position"`,
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the dump holds nothing like %s for %s", want, what)
		}
	}
	_, text, _ := run(t, command(t, "log", "dump", "--from", "1", "--limit", "1", partitions[0]))
	if n := strings.Count(text, "\n  batch "); n != 2 || strings.Contains(text, "\n  batch byte=0 ") {
		t.Errorf("%d batches with a limit of one of each segment:\n%s", n, text)
	}
	if after := contents(t, dir); !mapsEqual(before, after) {
		t.Error("the commands have changed the data directory")
	}
}

func mapsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, data := range a {
		if b[name] != data {
			return false
		}
	}
	return true
}

// TestVerifyAfterAKill: what a killed server leaves is no damage, nor is it before it is recovered.
func TestVerifyAfterAKill(t *testing.T) {
	dir, r := dumped(t)
	r.stop(t, syscall.SIGKILL)
	code, stdout, stderr := run(t, command(t, "log", "verify", "--data-dir", dir))
	if code != 0 || !strings.Contains(stdout, "damage=0 derived=0") || stderr != "" {
		t.Errorf("exit %d\n%s%s", code, stdout, stderr)
	}
}

// TestVerifyIsInterrupted: who stops it is not told that all is well.
func TestVerifyIsInterrupted(t *testing.T) {
	dir, r := dumped(t)
	r.stop(t, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	v := &verifier{out: &dumpWriter{out: io.Discard}}
	err := v.run(ctx, replication.VerifyOptions{FS: vfs.OS(), DataDir: dir})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("got %v", err)
	}
}

// TestLogCommandsNameDamage flips a bit in files of each kind.
func TestLogCommandsNameDamage(t *testing.T) {
	dir, r := dumped(t)
	if code, _ := r.stop(t, syscall.SIGTERM); code != 0 {
		t.Fatalf("exit %d", code)
	}
	for name, data := range contents(t, dir) {
		base := filepath.Base(name)
		known := []string{"recovery-point", "leader-epochs", "producers"}
		if !slices.Contains(known, base) && (!strings.HasSuffix(base, ".log") || len(base) != 24 || data == "") {
			continue
		}
		path := filepath.Join(dir, name)
		broken := []byte(data)
		broken[30%len(broken)] ^= 4
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"log", "verify", "-o", "json", "--data-dir", dir},
			{"log", "dump", "-o", "json", path},
		} {
			code, stdout, stderr := run(t, command(t, args...))
			named := slices.ContainsFunc(jsonLines(t, stdout), func(line map[string]any) bool {
				return (line["kind"] == "damage" || line["kind"] == "derived") && line["file"] == path &&
					line["byte"] == 0.0
			})
			if code != exitFailed || !named || !strings.HasPrefix(stderr, "chronos: damage was found in ") {
				t.Errorf("%v: exit %d, %s is not named\n%s%s", args, code, path, stdout, stderr)
			}
		}
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogCommandMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"log dmup":               `did you mean "dump"?`,
		"log dump":               "takes one path",
		"log dump -o xml x":      "want text or json",
		"log verify x":           "takes no argument",
		"log verify --parallel=": "--parallel",
	} {
		code, stdout, stderr := run(t, command(t, strings.Fields(args)...))
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("chronos %s: exit %d, want %q in\n%s%s", args, code, want, stdout, stderr)
		}
	}
	for args, want := range map[string]string{
		"log verify --data-dir nothing": "is this a data directory",
		"log dump nothing":              "nothing",
	} {
		code, _, stderr := run(t, command(t, strings.Fields(args)...))
		if code != exitFailed || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
			t.Errorf("chronos %s: exit %d, want %q in\n%s", args, code, want, stderr)
		}
	}
}
