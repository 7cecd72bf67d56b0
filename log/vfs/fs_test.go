package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// everyFS runs a test on each file system: the fakes must behave as the real one does.
func everyFS(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("OS", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("Crash", func(t *testing.T) {
		c := NewCrash(1)
		test(t, c, newDir(t, c))
	})
	t.Run("FaultyOS", func(t *testing.T) { test(t, NewFaulty(OS()), t.TempDir()) })
	t.Run("FaultyCrash", func(t *testing.T) {
		f := NewFaulty(NewCrash(1))
		test(t, f, newDir(t, f))
	})
	t.Run("SmallDisk", func(t *testing.T) {
		f := NewFaulty(NewCrash(1))
		f.SetFree(1 << 20)
		test(t, f, newDir(t, f))
	})
}

// newDir makes a durable directory.
func newDir(t *testing.T, fsys FS) string {
	t.Helper()
	must(t, fsys.MkdirAll("/data", 0o755))
	must(t, fsys.SyncDir("/"))
	return "/data"
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openLog(t *testing.T, fsys FS, name string) LogFile {
	t.Helper()
	f, err := fsys.OpenLog(name)
	must(t, err)
	return f
}

// writeAt writes text at off and closes nothing.
func writeAt(t *testing.T, f LogFile, text string, off int64) {
	t.Helper()
	n, err := f.WriteAt([]byte(text), off)
	if err != nil || n != len(text) {
		t.Fatalf("WriteAt(%q, %d) = %d, %v", text, off, n, err)
	}
}

// put makes a file with the given text, unsynced.
func put(t *testing.T, fsys FS, name, text string) {
	t.Helper()
	f, err := fsys.Create(name, pebblevfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte(text))
	must(t, err)
	must(t, f.Close())
}

// content returns the file's text, or "missing".
func contentOf(t *testing.T, fsys FS, name string) string {
	t.Helper()
	data, err := fsys.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "missing"
	}
	must(t, err)
	return string(data)
}

func TestLogFile(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := fsys.PathJoin(dir, "a.log")
		f := openLog(t, fsys, name)
		writeAt(t, f, "world", 6)
		writeAt(t, f, "hello", 0)
		if got := contentOf(t, fsys, name); got != "hello\x00world" {
			t.Errorf("content %q", got)
		}
		buf := make([]byte, 8)
		if n, err := f.ReadAt(buf, 6); n != 5 || !errors.Is(err, io.EOF) || string(buf[:n]) != "world" {
			t.Errorf("ReadAt past the end = %d, %v", n, err)
		}
		if n, err := f.ReadAt(buf, 100); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt behind the end = %d, %v", n, err)
		}
		must(t, f.Truncate(3))
		must(t, f.Truncate(5))
		if got := contentOf(t, fsys, name); got != "hel\x00\x00" {
			t.Errorf("content after truncations %q", got)
		}
		must(t, f.SyncData())
		must(t, f.Sync())
		if size, err := f.Size(); size != 5 || err != nil {
			t.Errorf("Size = %d, %v", size, err)
		}
		if _, err := f.WriteAt([]byte("x"), -1); err == nil {
			t.Error("a write at -1 succeeded")
		}
		must(t, f.Close())
		if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("write after Close: %v", err)
		}
		again := openLog(t, fsys, name)
		if size, err := again.Size(); size != 5 || err != nil {
			t.Errorf("reopened: Size = %d, %v: OpenLog must not truncate", size, err)
		}
		must(t, again.Close())
	})
}

func TestNames(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		at := func(name string) string { return fsys.PathJoin(dir, name) }
		put(t, fsys, at("a"), "a1")
		open, err := fsys.Open(at("a"))
		must(t, err)
		put(t, fsys, at("a"), "a2") // a new file: the open one keeps the old bytes
		old, err := io.ReadAll(open)
		must(t, err)
		if string(old) != "a1" {
			t.Errorf("the open file changed to %q", old)
		}
		must(t, open.Close())
		must(t, fsys.Link(at("a"), at("b")))
		must(t, fsys.Rename(at("a"), at("c")))
		must(t, fsys.MkdirAll(at("d/e"), 0o755))
		must(t, fsys.MkdirAll(at("d/e"), 0o755))
		put(t, fsys, at("d/e/f"), "f")
		wants := map[string]string{"a": "missing", "b": "a2", "c": "a2", "d/e/f": "f"}
		for name, want := range wants {
			if got := contentOf(t, fsys, at(name)); got != want {
				t.Errorf("%s holds %q, want %q", name, got, want)
			}
		}
		checkNameErrors(t, fsys, at)
		names, err := fsys.List(dir)
		slices.Sort(names)
		if err != nil || !slices.Equal(names, []string{"b", "c", "d"}) {
			t.Errorf("List = %v, %v", names, err)
		}
		must(t, fsys.RemoveAll(at("d")))
		must(t, fsys.RemoveAll(at("d")))
		must(t, fsys.Remove(at("b")))
		reused, err := fsys.ReuseForWrite(at("c"), at("g"), pebblevfs.WriteCategoryUnspecified)
		must(t, err)
		_, err = reused.Write([]byte("X"))
		must(t, err)
		must(t, reused.Close())
		if got := contentOf(t, fsys, at("g")); got != "X2" {
			t.Errorf("the reused file holds %q, want its old bytes under the new", got)
		}
		info, err := fsys.Stat(at("g"))
		if err != nil || info.Size() != 2 || info.Name() != "g" || info.IsDir() {
			t.Errorf("Stat = %v, %v", info, err)
		}
		usage, err := fsys.GetDiskUsage(dir)
		if err != nil || usage.TotalBytes == 0 || usage.AvailBytes == 0 {
			t.Errorf("GetDiskUsage = %+v, %v", usage, err)
		}
	})
}

func checkNameErrors(t *testing.T, fsys FS, at func(string) string) {
	t.Helper()
	_, errOpen := fsys.Open(at("none"))
	_, errList := fsys.List(at("none"))
	_, errStat := fsys.Stat(at("none/x"))
	_, errDir := fsys.OpenLog(at("d"))
	_, errUnder := fsys.OpenLog(at("none/x"))
	_, errThrough := fsys.OpenLog(at("b/x"))
	tests := []struct {
		name string
		err  error
		want error // nil: any error
	}{
		{"open a missing file", errOpen, fs.ErrNotExist},
		{"list a missing directory", errList, fs.ErrNotExist},
		{"stat below a missing directory", errStat, fs.ErrNotExist},
		{"open a directory for writing", errDir, nil},
		{"make a file in a missing directory", errUnder, fs.ErrNotExist},
		{"make a file in a file", errThrough, nil},
		{"remove a missing file", fsys.Remove(at("none")), fs.ErrNotExist},
		{"remove a full directory", fsys.Remove(at("d")), nil},
		{"rename a missing file", fsys.Rename(at("none"), at("x")), fs.ErrNotExist},
		{"rename a file over a directory", fsys.Rename(at("b"), at("d")), nil},
		{"rename a directory over a file", fsys.Rename(at("d"), at("b")), nil},
		{"rename a directory into itself", fsys.Rename(at("d"), at("d/e/d")), nil},
		{"link over a file", fsys.Link(at("b"), at("c")), fs.ErrExist},
		{"link a missing file", fsys.Link(at("none"), at("x")), fs.ErrNotExist},
		{"make a directory over a file", fsys.MkdirAll(at("b"), 0o755), nil},
		{"sync a missing directory", fsys.SyncDir(at("none")), fs.ErrNotExist},
	}
	for _, tt := range tests {
		if tt.err == nil || tt.want != nil && !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, tt.err, tt.want)
		}
	}
}

func TestWriteFileAtomic(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := fsys.PathJoin(dir, "note")
		for _, text := range []string{"one", "", "three"} {
			must(t, fsys.WriteFileAtomic(name, []byte(text)))
			if got := contentOf(t, fsys, name); got != text {
				t.Errorf("content %q, want %q", got, text)
			}
		}
		names, err := fsys.List(dir)
		if err != nil || !slices.Equal(names, []string{"note"}) {
			t.Errorf("the directory holds %v, %v", names, err)
		}
		err = fsys.WriteFileAtomic(fsys.PathJoin(dir, "none", "note"), nil)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("into a missing directory: %v", err)
		}
	})
}

func TestReadFileRefusesHugeFiles(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		f := openLog(t, fsys, fsys.PathJoin(dir, "big"))
		must(t, f.Truncate(ReadFileBytesMax+1)) // a hole: takes no space
		must(t, f.Close())
		if _, err := fsys.ReadFile(fsys.PathJoin(dir, "big")); !errors.Is(err, ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
	})
}

func TestSequentialReadsAndWrites(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		name := fsys.PathJoin(dir, "seq")
		want := bytes.Repeat([]byte("0123456789"), 2000)
		f, err := fsys.Create(name, pebblevfs.WriteCategoryUnspecified)
		must(t, err)
		for part := range slices.Chunk(want, 777) {
			_, err := f.Write(part)
			must(t, err)
		}
		must(t, f.Sync())
		must(t, f.Close())
		r, err := fsys.Open(name, pebblevfs.SequentialReadsOption)
		must(t, err)
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d bytes back, %v, want %d", len(got), err, len(want))
		}
		if _, err := r.Write([]byte("x")); err == nil {
			t.Error("a write through a handle for reading succeeded")
		}
		must(t, r.Close())
	})
}
