package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
)

const (
	// mangleRounds is how many mangled files the tools are shown.
	mangleRounds = 100
	// mangledAllocMax bounds what the tools may allocate for one small file, whatever it claims.
	mangledAllocMax = 400 << 20
)

// inProcess runs a command in this process and returns its output and error.
func inProcess(args ...string) (string, error) {
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	err := root.Execute()
	return out.String(), err
}

// mangle makes of a file's bytes what a disk or a fool could.
func mangle(rng *rand.Rand, p []byte) []byte {
	p = slices.Clone(p)
	if len(p) == 0 {
		return bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(100))
	}
	at := rng.IntN(len(p))
	switch rng.IntN(7) {
	case 0:
		return p[:at]
	case 1:
		return nil
	case 2:
		p[at] ^= 1 << rng.IntN(8)
	case 3: // a length or a count that is huge, or negative
		extreme := []uint32{0x7fffffff, 0x80000000, 0xffffffff, 0x40000000}[rng.IntN(4)]
		at = min(at, 80) &^ rng.IntN(4)
		if at+4 <= len(p) {
			binary.BigEndian.PutUint32(p[at:], extreme)
		}
	case 4:
		clear(p[at:min(len(p), at+4096)])
	case 5:
		for i := at; i < min(len(p), at+64); i++ {
			p[i] = byte(rng.Uint32())
		}
	default: // a piece of it stands twice
		p = slices.Insert(p, at, p[at:min(len(p), at+1+rng.IntN(200))]...)
	}
	return p
}

// mangleBatch changes a segment's batch behind its checksum, which is made to fit again: only what
// decodes its records can notice.
func mangleBatch(rng *rand.Rand, p []byte) []byte {
	p = slices.Clone(p)
	rest := p
	for skip := rng.IntN(4); ; skip-- {
		b, after, err := batch.Next(rest)
		if err != nil {
			return p
		}
		if skip <= 0 || len(after) == 0 {
			for range 1 + rng.IntN(3) {
				from := 21 + rng.IntN(len(b)-21) // from the attributes on
				b[from] = byte(rng.Uint32())
			}
			b.SealCRC()
			return p
		}
		rest = after
	}
}

// TestLogCommandsOnMangledFiles: whatever is in a file, the tools end, in bounded memory, and what
// they print is what -o says.
func TestLogCommandsOnMangledFiles(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir, r := dumped(t)
	r.stop(t, syscall.SIGKILL) // the journal holds something
	files := contents(t, dir)
	var names []string
	for name := range files {
		top, _, _ := strings.Cut(name, string(filepath.Separator))
		if top == "topics" || top == "metadata" || top == "journal" && strings.Contains(files[name], "value of") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for range mangleRounds {
		name := names[rng.IntN(len(names))]
		path := filepath.Join(dir, name)
		change := mangle
		if strings.HasSuffix(name, ".log") && rng.IntN(2) == 0 {
			change = mangleBatch
		}
		if err := os.WriteFile(path, change(rng, []byte(files[name])), 0o600); err != nil {
			t.Fatal(err)
		}
		shown := path
		if rng.IntN(4) == 0 {
			shown = filepath.Dir(path)
		}
		dumpMangled(t, shown)
		if err := os.WriteFile(path, []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// dumpMangled shows a file or folder to the dump in both formats.
func dumpMangled(t *testing.T, path string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, format := range []string{"json", "text"} {
		out, _ := inProcess("log", "dump", "--records", "--verify", "-o", format, path)
		for line := range strings.Lines(out) {
			if format == "json" && !json.Valid([]byte(line)) {
				t.Errorf("dump of %s: no JSON: %.200q", path, line)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > mangledAllocMax {
		t.Errorf("dump of %s has allocated %d MiB", path, n>>20)
	}
}
