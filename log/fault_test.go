package log

import (
	"bytes"
	"errors"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

var errIO = errors.New("input/output error")

// TestNoSpace fills the disk: the append that does not fit fails, leaves nothing behind, and the
// log goes on when there is space again.
func TestNoSpace(t *testing.T) {
	disk := vfs.NewCrash(1)
	fs := vfs.NewFaulty(disk)
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 10)
	mustFlush(t, l)
	for free := int64(0); free < 300; free += 7 {
		end, want := l.End(), readAll(t, l)
		fs.SetFree(free)
		_, _, err := l.Append(buildBatch(t, 1, 2, 150, 1), 1)
		if !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
			t.Fatalf("append with %d bytes free: %v, want ErrNoSpace", free, err)
		}
		if l.End() != end || !bytes.Equal(readAll(t, l), want) {
			t.Fatalf("%d bytes free: the failed append has changed the log", free)
		}
		fs.SetFree(1 << 20)
		mustAppend(t, l, 1)
		mustFlush(t, l)
	}
	want := readAll(t, l)
	l = mustOpen(t, testOptions(disk.Crash(0, nil)))
	if !bytes.Equal(readAll(t, l), want) {
		t.Fatal("what was flushed between full disks is gone")
	}
}

// TestNoSpaceThenCrash cuts the power after a failed append, with its partial bytes still there.
func TestNoSpaceThenCrash(t *testing.T) {
	disk := vfs.NewCrash(1)
	fs := vfs.NewFaulty(disk)
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 5)
	mustFlush(t, l)
	want := readAll(t, l)
	fs.SetFree(100)
	if _, _, err := l.Append(buildBatch(t, 1, 2, 150, 1), 1); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("append: %v", err)
	}
	for seed := range uint64(20) {
		clone := vfs.NewCrash(seed)
		_ = clone
		l := mustOpen(t, testOptions(disk.CrashClone(0.5, nil)))
		if !bytes.Equal(readAll(t, l), want) {
			t.Fatal("other bytes after the crash")
		}
	}
}

// TestNoSpaceElsewhere has no space for the epochs, for a new segment's bytes, and at a checkpoint.
func TestNoSpaceElsewhere(t *testing.T) {
	disk := vfs.NewCrash(1)
	fs := vfs.NewFaulty(disk)
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 30)
	fs.SetFree(0)
	if _, _, err := l.Append(buildBatch(t, 1, 1, 1, 1), 2); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("append in a new epoch: %v", err)
	}
	if l.LastEpoch() != 1 {
		t.Fatalf("epoch = %d after a failed append", l.LastEpoch())
	}
	if err := l.Checkpoint(); err != nil && !errors.Is(err, ErrNoSpace) {
		t.Fatalf("checkpoint: %v", err)
	}
	mustFlush(t, l) // the note has its space already
	fs.SetFree(1 << 20)
	if _, _, err := l.Append(buildBatch(t, 1, 1, 1, 1), 2); err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
	checkDense(t, mustOpen(t, testOptions(disk)))
}

// TestWriteErrorIsFinal makes each kind of operation fail once: the log answers ErrFailed from
// then on, and what was flushed before is there after a restart.
func TestWriteErrorIsFinal(t *testing.T) {
	tests := []struct {
		name  string
		fault vfs.Fault
		do    func(l *Log) error
	}{
		{"append", vfs.Fault{Op: vfs.OpWrite, Glob: "*.log", Written: 10}, func(l *Log) error {
			_, _, err := l.Append(buildBatch(t, 1, 1, 1, 1), 1)
			return err
		}},
		{"epoch", vfs.Fault{Op: vfs.OpSync, Glob: epochsName + ".tmp"}, func(l *Log) error {
			_, _, err := l.Append(buildBatch(t, 1, 1, 1, 1), 9)
			return err
		}},
		{"fdatasync", vfs.Fault{Op: vfs.OpSync, Glob: "*.log"}, func(l *Log) error {
			_, err := l.Flush()
			return err
		}},
		{"note", vfs.Fault{Op: vfs.OpWrite, Glob: noteName}, func(l *Log) error {
			_, err := l.Flush()
			return err
		}},
		{"note's sync", vfs.Fault{Op: vfs.OpSync, Glob: noteName}, func(l *Log) error { return l.Checkpoint() }},
		{"index", vfs.Fault{Op: vfs.OpSync, Glob: "*.index"}, func(l *Log) error { return l.Checkpoint() }},
		{"roll", vfs.Fault{Op: vfs.OpOpen, Glob: "*.log"}, func(l *Log) error { return l.Roll() }},
		{"directory", vfs.Fault{Op: vfs.OpSyncDir}, func(l *Log) error {
			if err := l.Roll(); err != nil {
				return err
			}
			_, err := l.Flush()
			return err
		}},
		{"truncate", vfs.Fault{Op: vfs.OpTruncate, Glob: "*.log"}, func(l *Log) error { return l.Truncate(5) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			disk := vfs.NewCrash(1)
			fs := vfs.NewFaulty(disk)
			o := testOptions(fs)
			o.SegmentBytes = 1 << 20
			l := mustOpen(t, o)
			mustAppend(t, l, 20)
			mustFlush(t, l)
			want := readAll(t, l)
			mustAppend(t, l, 10)
			tt.fault.Times, tt.fault.Err = 1, errIO
			fs.Add(tt.fault)
			if err := tt.do(l); !errors.Is(err, ErrFailed) || !errors.Is(err, errIO) {
				t.Fatalf("error = %v, want ErrFailed and its cause", err)
			}
			syncs := fs.Ops(vfs.OpSync)
			if _, _, err := l.Append(buildBatch(t, 1, 1, 1, 1), 9); !errors.Is(err, ErrFailed) {
				t.Errorf("append after the failure: %v", err)
			}
			if _, err := l.Flush(); !errors.Is(err, ErrFailed) {
				t.Errorf("flush after the failure: %v", err)
			}
			if err := l.Close(); !errors.Is(err, ErrFailed) {
				t.Errorf("close after the failure: %v", err)
			}
			if n := fs.Ops(vfs.OpSync); n != syncs {
				t.Errorf("%d syncs after the failure: a failed one is never retried", n-syncs)
			}
			if tt.name == "truncate" {
				want = want[:0] // the truncation may or may not have happened
			}
			l = mustOpen(t, testOptions(disk.Crash(0, nil)))
			if got := readAll(t, l); !bytes.HasPrefix(got, want) {
				t.Fatal("flushed bytes are gone after the restart")
			}
		})
	}
}

// TestReadErrorIsNoCorruption tells the disk's refusal to read from damage.
func TestReadErrorIsNoCorruption(t *testing.T) {
	fs := vfs.NewFaulty(vfs.NewCrash(1))
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 20)
	fs.Add(vfs.Fault{Op: vfs.OpRead, Glob: "*.log", Err: errIO})
	_, err := l.Read(nil, ReadRequest{From: 0, Bound: l.End(), MaxBytes: 1 << 20})
	if !errors.Is(err, errIO) || errors.Is(err, ErrCorrupt) {
		t.Fatalf("read: %v", err)
	}
	fs.Clear()
	checkDense(t, l)
	mustFlush(t, l)
	fs.Add(vfs.Fault{Op: vfs.OpRead, Glob: "*.log", Err: errIO})
	if _, err := Open(testDir, testOptions(fs)); !errors.Is(err, errIO) || errors.Is(err, ErrCorrupt) {
		t.Fatalf("open: %v", err)
	}
	fs.Clear()
	checkDense(t, mustOpen(t, testOptions(fs)))
}

// TestStartIsDurableBeforeSegmentsGo: the note with the new start was written but its sync failed.
// The next start must not delete by it what an older note still needs after a power cut.
func TestStartIsDurableBeforeSegmentsGo(t *testing.T) {
	crash := vfs.NewCrash(1)
	disk := vfs.NewFaulty(crash)
	l := mustOpen(t, testOptions(disk))
	for range 2 {
		mustAppend(t, l, 1)
		if err := l.Roll(); err != nil {
			t.Fatal(err)
		}
	}
	second := l.set.Load().list[1].base
	if err := l.Checkpoint(); err != nil {
		t.Fatal(err)
	}
	disk.Add(vfs.Fault{Op: vfs.OpSync, Glob: noteName, Times: 1, Err: vfs.ErrIO})
	if err := l.AdvanceStart(second); err == nil {
		t.Fatal("a failed sync of the note went unnoticed")
	}
	mustOpen(t, testOptions(crash)) // The process is gone, the machine is not.
	mustOpen(t, testOptions(crash.Crash(0, nil)))
}

// TestNamesAreDurableBeforeTheNote lets two processes in a row die, each at every operation on the
// files of a new log in turn. What the third makes durable in it survives a power cut.
func TestNamesAreDurableBeforeTheNote(t *testing.T) {
	const operations = 40 // more than making a log takes
	for first := range operations {
		for second := range operations {
			crash := vfs.NewCrash(1)
			survived := 0
			for _, nth := range []int{first, second} {
				disk := vfs.NewFaulty(crash, vfs.Fault{Nth: 1 + nth, Err: vfs.ErrIO})
				if _, err := Open(testDir, testOptions(disk)); err == nil {
					survived++
				}
			}
			if first == operations-1 && survived == 0 {
				t.Fatalf("making a log takes more than %d operations: raise the bound", operations)
			}
			l := mustOpen(t, testOptions(crash))
			mustAppend(t, l, 1)
			end := mustFlush(t, l)
			after := mustOpen(t, testOptions(crash.Crash(0, nil)))
			if after.End() != end {
				t.Fatalf("killed at operations %d and %d: the log ends at %d, flushed up to %d",
					1+first, 1+second, after.End(), end)
			}
		}
	}
}
