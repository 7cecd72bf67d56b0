package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestTimer wants the floor never early, in order, and all of it.
func TestTimer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "timer"))
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	// The end of the one request ends this goroutine; the test waits for it.
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = (&timerServer{file: file}).serve(c)
		}
		served <- err
	}()
	late, err := timerRun(&target{addr: l.Addr().String()}, dueLoad{rate: 10_000, length: 50 * time.Millisecond})
	if err = errors.Join(err, <-served, l.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	if late.records != 50 || late.least < 0 || late.most < late.p50 {
		t.Fatalf("floor %+v, want 50 ticks, none early", late)
	}
}

// TestAhead wants a run that overran made again, further ahead each time, and other errors not.
func TestAhead(t *testing.T) {
	var leads []time.Duration
	n, err := ahead(dueLoad{lead: time.Second}, func(l dueLoad) (int, error) {
		leads = append(leads, l.lead)
		if len(leads) < 3 {
			return 0, overrun{time.Second}
		}
		return 7, nil
	})
	want := []time.Duration{time.Second, 3 * time.Second, 7 * time.Second}
	if err != nil || n != 7 || !slices.Equal(leads, want) {
		t.Errorf("got %d, %v with leads %v, want 7 with %v", n, err, leads, want)
	}
	runs := 0
	_, err = ahead(dueLoad{}, func(dueLoad) (int, error) {
		runs++
		return 0, os.ErrInvalid
	})
	if !errors.Is(err, os.ErrInvalid) || runs != 1 {
		t.Errorf("got %v after %d runs, want the error of the first", err, runs)
	}
	runs = 0
	_, err = ahead(dueLoad{}, func(dueLoad) (int, error) {
		runs++
		return 0, overrun{time.Second}
	})
	if err == nil || runs > 10 {
		t.Errorf("got %v after %d runs, want it to give up", err, runs)
	}
}

func TestTurns(t *testing.T) {
	var order []string
	of := func(name string, every int) turn[string] {
		return turn[string]{name: name, every: every, run: func() (string, error) {
			order = append(order, name)
			return name, nil
		}}
	}
	all, err := takeTurns(3, []turn[string]{of("a", 0), of("b", 2)})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "a", "a", "b"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if len(all[0]) != 3 || len(all[1]) != 2 {
		t.Errorf("results %v, want 3 and 2", all)
	}
}

func TestBetween(t *testing.T) {
	at := time.UnixMilli(1_000_000)
	m := []moment{
		{At: at.Add(-1).UnixNano(), Took: time.Hour},
		{At: at.UnixNano(), Took: 3},
		{At: at.Add(9).UnixNano(), Took: 1},
		{At: at.Add(10).UnixNano(), Took: time.Hour},
	}
	l, ok := between(m, at, at.Add(10))
	if !ok || l.records != 2 || l.least != 1 || l.most != 3 {
		t.Errorf("got %+v, %t, want two moments", l, ok)
	}
	if _, ok := between(m, at.Add(time.Hour), at.Add(2*time.Hour)); ok {
		t.Error("an empty time has moments")
	}
}

func TestIntList(t *testing.T) {
	var l intList
	if err := l.Set("1,20"); err != nil || !slices.Equal(l, intList{1, 20}) || l.String() != "1,20" {
		t.Errorf("got %v, %v", l, err)
	}
	for _, bad := range []string{"", "0", "1,,2", "x", "-3"} {
		if err := l.Set(bad); err == nil {
			t.Errorf("%q is accepted as %v", bad, l)
		}
	}
}
