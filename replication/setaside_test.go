package replication

import (
	"errors"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestAnUnreadableNoteTakesOnePartitionOffline: the disk refuses to read the note of one partition
// whose acknowledged records are in the commit journal only. The others are served, the journal goes
// round, and a later start that can read the note has everything.
func TestAnUnreadableNoteTakesOnePartitionOffline(t *testing.T) {
	n := startNode(t)
	other, err := n.CreateTopic(TopicSpec{Name: "other", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	n.append(n.batch(5, 0, rec{value: "precious"}))
	n.append(n.batch(6, 0, rec{"staged", at(100)}))
	if err := n.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	dir := n.partitionDir(n.topic.ID, 0)
	// The process is killed, and the disk has two bad sectors from now on.
	n.fs = n.fs.Crash(1, nil)
	disk := vfs.NewFaulty(n.fs)
	for _, note := range []string{dir + "/recovery-point", dir + "/staging/recovery-point"} {
		disk.Add(vfs.Fault{Op: vfs.OpRead, Glob: note, Err: vfs.ErrIO})
	}
	options := Options{DataDir: "/data", FS: disk, Clock: n.clock, Manual: true}
	for life := range 2 {
		if n.Manager, err = Open(options); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		_, err := n.Partition(n.topic.ID, 0)
		if !errors.Is(err, ErrOffline) || !errors.Is(err, log.ErrUnreadable) ||
			!strings.Contains(err.Error(), dir+"/recovery-point") {
			t.Fatalf("life %d: the partition is %v, want it offline by the name of its note", life, err)
		}
		all := func(string, int32) bool { return true }
		for _, f := range n.LogDir(all).Partitions {
			if (f.Topic == "t") != (f.Offline != nil) {
				t.Errorf("life %d: partition %s-%d: %v", life, f.Topic, f.Index, f.Offline)
			}
		}
		if s := n.Metrics(); len(s.Offline) != 1 || s.Offline[0] != "t-0" {
			t.Errorf("life %d: the offline partitions are %v", life, s.Offline)
		}
		p, err := n.Partition(other.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		ack, err := p.Append(t.Context(), n.batch(-1, -1, rec{value: "other"}), AppendOptions{})
		if err != nil {
			t.Fatal(err)
		}
		n.idle()
		if !ack.IsDone() {
			t.Fatal("the other partition is not served")
		}
		if err := n.Manager.Close(); err != nil { // nothing of the journal is needed any more
			t.Fatal(err)
		}
	}
	findings, _ := (&verified{t: t, fs: n.fs}).verify(1)
	for _, f := range findings {
		if f.Grade == log.GradeDamage {
			t.Errorf("verify finds damage: %v", f)
		}
	}
	n.powerCut()
	n.wantValues("precious")
	n.clock.Advance(1e9)
	n.idle()
	n.wantValues("precious", "staged")
}
