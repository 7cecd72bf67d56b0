package replication

import (
	"testing"
	"time"
)

func TestAClockThatJumpsAheadDeliversNothing(t *testing.T) {
	n := startNode(t)
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	m, err := Open(Options{
		DataDir: "/data", FS: n.fs, Clock: n.clock, Manual: true, MaxClockJump: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Manager = m
	n.append(n.batch(-1, -1, rec{"soon", at(30_000)}, rec{"hour", at(3_600_000)}, rec{"day", at(86_400_000)}))
	n.idle()
	n.clock.Advance(30 * time.Second)
	n.idle()
	n.wantValues("soon")
	real := n.clock.Now()
	n.clock.Set(real.Add(365 * 24 * time.Hour))
	n.idle()
	n.wantValues("soon")
	if jump := n.Metrics().ClockJump; jump != 365*24*time.Hour {
		t.Fatalf("jump of %v", jump)
	}
	// What is due now is kept, and its producer is not made to wait.
	ack := n.append(n.batch(-1, -1, rec{"now", at(0)}))
	n.idle()
	if !ack.IsDone() {
		t.Fatal("the producer waits")
	}
	n.clock.Set(real)
	n.idle()
	n.wantValues("soon")
	if jump := n.Metrics().ClockJump; jump != 0 {
		t.Fatalf("jump of %v after the clock came back", jump)
	}
	n.clock.Advance(time.Hour)
	n.idle()
	n.wantValues("soon", "hour")
	n.clock.Set(n.clock.Now().Add(365 * 24 * time.Hour))
	n.idle()
	n.wantValues("soon", "hour")
	n.AcceptClock()
	n.idle()
	n.wantValues("soon", "hour", "day", "now")
}
