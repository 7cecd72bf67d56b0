package log

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// lookUps are reads whose answer is either the one before a change or the one behind it.
var lookUps = map[string]func(l *Log) (string, error){
	"offset for time": func(l *Log) (string, error) {
		o, at, ok, err := l.OffsetForTime(1045, l.End())
		return fmt.Sprint(o, at, ok), err
	},
	"offset for the first time": func(l *Log) (string, error) {
		o, at, ok, err := l.OffsetForTime(0, l.End())
		return fmt.Sprint(o, at, ok), err
	},
	"offset for the last time": func(l *Log) (string, error) {
		o, at, ok, err := l.OffsetForTime(1109, l.End())
		return fmt.Sprint(o, at, ok), err
	},
	"greatest timestamp": func(l *Log) (string, error) {
		o, at, ok, err := l.MaxTimestamp(l.End())
		return fmt.Sprint(o, at, ok), err
	},
	"greatest timestamp below": func(l *Log) (string, error) {
		o, at, ok, err := l.MaxTimestamp(100)
		return fmt.Sprint(o, at, ok), err
	},
	"first of a read": func(l *Log) (string, error) {
		p, err := l.Read(nil, ReadRequest{From: 80, Bound: l.End(), MaxBytes: 1, MinOne: true})
		if err != nil || len(p) == 0 {
			return "none", err
		}
		return fmt.Sprint(batch.Batch(p).BaseOffset()), nil
	},
	"last header": func(l *Log) (string, error) {
		last := noOffset
		err := l.Headers(80, l.End(), func(h batch.Batch, _ int) error {
			last = h.LastOffset()
			return nil
		})
		return fmt.Sprint(last), err
	},
}

// TestReadersMeetAChangeAtEveryOperation compacts or deletes at each file operation of a reader in
// turn. What it has opened, looked up or is about to open has gone then, or is another one's.
func TestReadersMeetAChangeAtEveryOperation(t *testing.T) {
	changes := map[string]func(l *Log) error{
		"compact":       func(l *Log) error { _, err := compactAll(l); return err },
		"advance to 40": func(l *Log) error { return l.AdvanceStart(40) },
		"advance to 75": func(l *Log) error { return l.AdvanceStart(75) },
		"compact and advance": func(l *Log) error {
			_, err := compactAll(l)
			return errors.Join(err, l.AdvanceStart(50))
		},
	}
	for what, look := range lookUps {
		for change, act := range changes {
			hits := 0
			// Those that hold no lock which the change needs.
			for _, at := range []vfs.Fault{{Op: vfs.OpRead}, {Op: vfs.OpOpen, Glob: "*index"}} {
				for at.Nth = 1; lookBeside(t, what+" beside "+change, at, look, act); at.Nth++ {
					hits++
				}
			}
			if t.Logf("%s beside %s: %d operations", what, change, hits); hits == 0 {
				t.Error("that is none")
			}
		}
	}
}

// lookBeside makes one look-up, with a change at one of its file operations; it reports whether there
// was such a one.
func lookBeside(
	t *testing.T, what string, at vfs.Fault, look func(l *Log) (string, error), act func(l *Log) error,
) bool {
	t.Helper()
	l, _, faulty, o := swapLog(t, 7)
	before, err := look(l)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	mustClose(t, l)
	l = mustOpen(t, o) // nothing is known or open
	hit := false
	at.Times, at.Before = 1, func(string) {
		hit = true
		if err := act(l); err != nil {
			t.Errorf("%s, %v %d: %v", what, at.Op, at.Nth, err)
		}
	}
	faulty.Add(at)
	got, err := look(l)
	faulty.Clear()
	after, afterErr := look(l)
	if afterErr != nil {
		t.Fatalf("%s, %v %d: again: %v", what, at.Op, at.Nth, afterErr)
	}
	if err != nil || !slices.Contains([]string{before, after}, got) {
		t.Errorf("%s, %v %d: %s, %v; before %s, after %s", what, at.Op, at.Nth, got, err, before, after)
	}
	mustClose(t, l)
	return hit
}
