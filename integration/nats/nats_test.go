package main

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestDeliver puts a small load on a server in each mode, as the benchmark does with a large one.
func TestDeliver(t *testing.T) {
	for _, sync := range []string{syncDefault, syncAlways} {
		t.Run(sync, func(t *testing.T) {
			addr := run(t, sync)
			d := measured[delivered](t, func() error {
				return deliver([]string{addr, "-records", "50", "-rate", "100", "-lead", "2s"})
			})
			if d.Records != 50 || d.Overran != 0 || d.Min < 0 {
				t.Fatalf("delivered %+v, want 50 records, none of them early", d)
			}
			f := measured[accepted](t, func() error { return fill([]string{addr, "-records", "20"}) })
			if f.Total != 20 {
				t.Fatalf("filled %+v, want 20 records", f)
			}
			p := measured[delivered](t, func() error {
				return probe([]string{addr, "-lead", "100ms"})
			})
			if p.Records != 1 || p.Min < 0 {
				t.Fatalf("probed %+v, want one record that is not early", p)
			}
			a := measured[accepted](t, func() error {
				return accept([]string{addr, "-warm", "0.05", "-seconds", "0.2"})
			})
			if a.Records == 0 || a.Total < a.Records {
				t.Fatalf("accepted %+v, want some records", a)
			}
		})
	}
}

// TestOverrun wants a run told apart in which accepting took longer than was planned.
func TestOverrun(t *testing.T) {
	addr := run(t, syncDefault)
	d := measured[delivered](t, func() error {
		return deliver([]string{addr, "-records", "50", "-lead", "1ns"})
	})
	if d.Overran <= 0 {
		t.Fatalf("delivered %+v, want it to say that it overran", d)
	}
}

// TestArguments wants bad ones refused.
func TestArguments(t *testing.T) {
	if _, err := start("127.0.0.1:0", t.TempDir(), "sometimes"); err == nil {
		t.Error("an unknown sync mode is accepted")
	}
	for _, args := range [][]string{{}, {"127.0.0.1:1", "extra"}, {"127.0.0.1:1", "-none"}} {
		if _, _, err := parse("accept", args); err == nil {
			t.Errorf("arguments %q are accepted", args)
		}
	}
	if _, err := connect("127.0.0.1:1", 5, 1); err == nil {
		t.Error("a value that cannot hold its due time is accepted")
	}
}

// run starts a server and returns its address.
func run(t *testing.T, sync string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := start(addr, t.TempDir(), sync)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	return addr
}

// measured runs a command and decodes what it prints.
func measured[T any](t *testing.T, command func() error) (v T) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	begun := time.Now()
	err = command()
	os.Stdout = stdout
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatalf("after %s: %v", time.Since(begun), err)
	}
	raw, err := io.ReadAll(r)
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	return v
}
