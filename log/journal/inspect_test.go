package journal

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestInspect sees what Replay sees, of a journal in use, and changes nothing.
func TestInspect(t *testing.T) {
	disk := newFS(t, 1)
	none := func(r Record) error { return errors.New("there is a record") }
	if err := Inspect(disk, testDir, none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	must(t, disk.MkdirAll(testDir, 0o755))
	must(t, Inspect(disk, testDir, none))
	j := start(t, testOptions(disk))
	must(t, Inspect(disk, testDir, none))
	var want []string
	for i := range int64(8) {
		e := []Entry{entry("a", i, 100), {Kind: Ref, Log: "b", First: i, End: i + 1, Length: 9, Digest: 3}}
		_, err := j.Commit(e)
		must(t, err)
		want = append(want, stored(e[0]), stored(e[1]))
	}
	writes := disk.Stats().BytesWritten
	var got []string
	next := Sequence(1)
	must(t, Inspect(disk, testDir, func(r Record) error {
		if r.Sequence != next || r.Bytes != blockBytes || r.Generation == 0 || r.Position%blockBytes != 0 {
			t.Errorf("%+v, want sequence %d", r, next)
		}
		next++
		for _, e := range r.Entries {
			got = append(got, e.text())
		}
		return nil
	}))
	if !slices.Equal(got, want) || disk.Stats().BytesWritten != writes {
		t.Errorf("%d bytes written, found %q, want %q", disk.Stats().BytesWritten-writes, got, want)
	}
	boom := errors.New("boom")
	if err := Inspect(disk, testDir, func(Record) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("the function's error is lost: %v", err)
	}
	rewrite(t, disk, "0000.journal", firstRecord+50, []byte("x"))
	var corrupt *CorruptError
	err := Inspect(disk, testDir, func(Record) error { return nil })
	if !errors.As(err, &corrupt) || corrupt.Position != firstRecord ||
		corrupt.File != testDir+"/0000.journal" || !errors.Is(err, ErrCorrupt) {
		t.Errorf("damaged: %v", err)
	}
	j.Release(j.Next() - 1)
	must(t, j.Close())
	must(t, Inspect(disk, testDir, func(Record) error { return nil })) // released: no loss
	faulty := vfs.NewFaulty(disk, vfs.Fault{Op: vfs.OpRead, Err: vfs.ErrIO})
	if err := Inspect(faulty, testDir, none); !errors.Is(err, vfs.ErrIO) {
		t.Errorf("unreadable: %v", err)
	}
}
