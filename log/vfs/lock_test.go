package vfs

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestLockDir(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys FS, dir string) {
		started := time.Date(2026, 11, 24, 5, 55, 3, 999, time.FixedZone("", 3600))
		lock, err := LockDir(fsys, dir, Holder{Pid: 4711, Started: started})
		must(t, err)
		_, err = LockDir(fsys, dir, Holder{Pid: 12, Started: started.Add(time.Hour)})
		var held *HeldError
		if !errors.As(err, &held) || !errors.Is(err, ErrLocked) {
			t.Fatalf("the second lock returned %v, want a HeldError", err)
		}
		if held.Pid != 4711 || !held.Started.Equal(started.Truncate(time.Second)) {
			t.Errorf("held by %d since %v", held.Pid, held.Started)
		}
		for _, part := range []string{dir, "process 4711", "2026-11-24T04:55:03Z"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
		must(t, lock.Close())
		again, err := LockDir(fsys, dir, Holder{Pid: 13, Started: started})
		must(t, err)
		must(t, again.Close())
		_, err = LockDir(fsys, fsys.PathJoin(dir, "none"), Holder{})
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("lock of a missing directory: %v", err)
		}
	})
}

// TestLockFileOfADeadProcess finds the file as a killed process has left it.
func TestLockFileOfADeadProcess(t *testing.T) {
	c := NewCrash(1)
	must(t, writeText(c, "/LOCK", "pid 123456789\nstarted 2020-01-01T00:00:00Z\nmore of it\n"))
	_, err := LockDir(c, "/", Holder{Pid: 5, Started: time.Unix(0, 0)})
	must(t, err)
	if got := contentOf(t, c, "/LOCK"); got != "pid 5\nstarted 1970-01-01T00:00:00Z\n" {
		t.Errorf("the file says %q", got)
	}
}

func TestLockFileThatSaysNothing(t *testing.T) {
	for _, text := range []string{"", "pid many\nstarted soon\n", "\xff\xff", "pid"} {
		c := NewCrash(1)
		lock, err := c.Lock("/LOCK")
		must(t, err)
		must(t, writeText(c, "/LOCK", text))
		_, err = LockDir(c, "/", Holder{Pid: 1})
		var held *HeldError
		unnamed := errors.As(err, &held) && held.Pid == 0
		if !unnamed || !strings.Contains(err.Error(), "another process") {
			t.Errorf("with %q: %v", text, err)
		}
		must(t, lock.Close())
	}
}

// TestLockDirOtherProcess runs this test binary once more to hold the lock, and kills it.
func TestLockDirOtherProcess(t *testing.T) {
	if dir := os.Getenv("VFS_TEST_LOCK_DIR"); dir != "" {
		_, err := LockDir(OS(), dir, Holder{Pid: os.Getpid(), Started: time.Unix(1e9, 0)})
		must(t, err)
		_, _ = os.Stdout.WriteString("locked\n")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until killed, or the parent is gone
		return
	}
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestLockDirOtherProcess$")
	child.Env = append(os.Environ(), "VFS_TEST_LOCK_DIR="+dir)
	in, err := child.StdinPipe()
	must(t, err)
	defer in.Close()
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	buf := make([]byte, len("locked"))
	_, err = out.Read(buf)
	must(t, err)
	_, err = LockDir(OS(), dir, Holder{Pid: os.Getpid()})
	var held *HeldError
	if !errors.As(err, &held) || held.Pid != child.Process.Pid {
		t.Errorf("got %v, want held by process %d", err, child.Process.Pid)
	}
	must(t, child.Process.Kill())
	_ = child.Wait() // reports the kill
	lock, err := LockDir(OS(), dir, Holder{Pid: os.Getpid()})
	must(t, err)
	must(t, lock.Close())
}
