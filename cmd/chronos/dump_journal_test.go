package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestDumpOfTheCommitJournal prints a journal with both kinds of entries, then a damaged one.
func TestDumpOfTheCommitJournal(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	b := oneBatch(t, "inline value")
	j, err := journal.Open(journal.Options{FS: vfs.OS(), Dir: dir, FileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Recovered(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := j.Commit([]journal.Entry{
			{Kind: journal.Inline, Log: "topics/a-0", End: 1, Payload: [][]byte{b[:70], b[70:]}},
			{Kind: journal.Ref, Log: "topics/b-0", First: 7, End: 9, Length: 1 << 20, Digest: 0xabcd},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, path := range []string{dir, files[0]} {
		code, stdout, stderr := run(t, command(t, "log", "dump", "--records", path))
		if code != 0 || strings.Count(stdout, "\n  commit ") != 3 ||
			strings.Count(stdout, `value="inline value"`) != 3 ||
			strings.Count(stdout, "way=direct log=topics/b-0 segment=0 position=0 first=7 end=9") != 3 {
			t.Errorf("dump of %s: exit %d\n%s%s", path, code, stdout, stderr)
		}
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	at := strings.Index(string(data), "inline value")
	data[at] ^= 1
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, _ := run(t, command(t, "log", "dump", dir))
	want := fmt.Sprintf("damage file=%s byte=%d ", files[0], at/vfs.DirectAlign*vfs.DirectAlign)
	if code != exitFailed || !strings.Contains(stdout, want) {
		t.Errorf("dump with the first record damaged: exit %d\n%s", code, stdout)
	}
}
