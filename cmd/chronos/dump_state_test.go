package main

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
)

// oneBatch is a stored batch of one record.
func oneBatch(t *testing.T, value string) batch.Batch {
	t.Helper()
	builder := batch.NewBuilder(batch.BuilderOptions{}.NoProducer())
	if err := builder.Append(batch.RecordFields{Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
	b, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// keepAside writes what a journal has of a log to a file, as a start does that cannot read the log.
func keepAside(t *testing.T, b batch.Batch, path string) {
	t.Helper()
	o := journal.Options{FS: vfs.OS(), Dir: filepath.Join(t.TempDir(), "journal"), FileBytes: 1 << 20}
	j, err := journal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	entry := journal.Entry{Kind: journal.Inline, Log: "topics/a-0", End: 1, Payload: [][]byte{b}}
	if _, err := j.Commit([]journal.Entry{entry}); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if j, err = journal.Open(o); err != nil {
		t.Fatal(err)
	}
	if err := j.Keep("topics/a-0", path); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDumpOfWhatALogMayHold prints a compaction's state and an unfinished swap, and what was put
// aside of the journal, sound and damaged.
func TestDumpOfWhatALogMayHold(t *testing.T) {
	dir := t.TempDir()
	text := "chronosdb compaction 1\ngaps-below 12\nclean-to 34\n"
	text += fmt.Sprintf("crc32c %08x\n", crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli)))
	swap := fmt.Sprintf("%020d-%020d.swap", 0, 5)
	for name, data := range map[string]string{
		"compaction": text, swap: string(oneBatch(t, "in a swap")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keepAside(t, oneBatch(t, "put aside"), filepath.Join(dir, "unreplayed"))
	want := map[string]string{
		"compaction": "gaps_below=12 clean_to=34", swap: `value="in a swap"`, "unreplayed": `value="put aside"`,
	}
	code, all, stderr := run(t, command(t, "log", "dump", "--records", dir))
	if code != 0 {
		t.Errorf("dump of the folder: exit %d\n%s%s", code, all, stderr)
	}
	for name, piece := range want {
		path := filepath.Join(dir, name)
		if code, stdout, stderr := run(t, command(t, "log", "dump", "--records", path)); code != 0 ||
			!strings.Contains(stdout, piece) || !strings.Contains(all, piece) {
			t.Errorf("dump of %s: exit %d, want %s in\n%s%s", name, code, piece, stdout, stderr)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-3] ^= 1
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, stdout, _ := run(t, command(t, "log", "dump", path)); code != exitFailed ||
			!strings.Contains(stdout, "file="+path) || !strings.Contains(stdout, "what=") {
			t.Errorf("dump of damaged %s: exit %d\n%s", name, code, stdout)
		}
	}
}

// TestDumpBesideADeletion: a server may delete a folder, or a part of it, at any moment. The rest is
// printed, and what is left out is named.
func TestDumpBesideADeletion(t *testing.T) {
	for _, at := range []vfs.Fault{
		{Op: vfs.OpList, Glob: "a-0"},
		{Op: vfs.OpStat, Glob: "leader-epochs"},
		{Op: vfs.OpOpen, Glob: "leader-epochs"},
	} {
		for _, whole := range []bool{true, false} {
			topics := filepath.Join(t.TempDir(), "topics")
			for _, name := range []string{"a-0", "b-0"} {
				if err := os.MkdirAll(filepath.Join(topics, name), 0o755); err != nil {
					t.Fatal(err)
				}
				note := filepath.Join(topics, name, "leader-epochs")
				if err := os.WriteFile(note, []byte("chronosdb leader-epochs 1\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			folder := filepath.Join(topics, "a-0")
			at.Times, at.Before = 1, func(string) {
				if err := os.RemoveAll(folder); err != nil {
					t.Error(err)
				}
			}
			var out, notes bytes.Buffer
			d := &dumper{
				fs: vfs.NewFaulty(vfs.OS(), at), out: &dumpWriter{out: &out}, notes: &notes,
				shown: map[string]bool{},
			}
			told := folder + " was removed while it was read"
			if whole {
				err := d.folder(topics)
				if err != nil || !strings.Contains(out.String(), "b-0") || notes.String() != "note: "+told+"\n" {
					t.Errorf("%v: %v, told %q\n%s", at.Op, err, notes.String(), out.String())
				}
				continue
			}
			if err := d.dump(folder); err == nil || err.Error() != told {
				t.Errorf("%v: %v", at.Op, err)
			}
		}
	}
}

// TestDumpOfADeletedTopic: what is missing in a folder that is being removed is no damage, and a path
// that never was there was not removed.
func TestDumpOfADeletedTopic(t *testing.T) {
	dir := t.TempDir()
	disk := vfs.NewFaulty(vfs.OS())
	m, err := replication.Open(replication.Options{DataDir: dir, FS: disk, Manual: true})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := m.CreateTopic(replication.TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Partition(topic.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Append(t.Context(), oneBatch(t, "kept"), replication.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := m.RunUntilIdle(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "topics", fmt.Sprintf("%s-0", topic.ID))
	disk.Add(vfs.Fault{Op: vfs.OpRemove, Glob: folder, Err: vfs.ErrIO, Before: func(string) {
		if err := os.Remove(filepath.Join(folder, "recovery-point")); err != nil {
			t.Error(err)
		}
	}})
	if err := m.DeleteTopic(topic.ID); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := run(t, command(t, "log", "dump", "--verify", folder))
	if code != exitFailed || !strings.Contains(stderr, folder+" was removed while it was read") {
		t.Errorf("dump: exit %d, %s", code, stderr)
	}
	code, stdout, stderr := run(t, command(t, "log", "dump", "--verify", dir))
	if code != 0 || strings.Contains(stdout, "damage") {
		t.Errorf("dump of all: exit %d\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, command(t, "log", "verify", "--data-dir", dir))
	if code != 0 || !strings.Contains(stdout, "remarks=1") {
		t.Errorf("verify: exit %d\n%s%s", code, stdout, stderr)
	}
	code, _, stderr = run(t, command(t, "log", "dump", folder+"7"))
	if code != exitFailed || !strings.Contains(stderr, "no such file") {
		t.Errorf("dump of what never was: exit %d, %s", code, stderr)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
