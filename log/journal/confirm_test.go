package journal

import (
	"errors"
	"path"
	"testing"
)

// TestConfirmedRecordsDoNotRotUnnoticed flips bits of the newest record and of its confirmation, and
// zeroes their blocks: that is damage and no torn write, or all is there. What rots in the confirmation
// costs nothing.
func TestConfirmedRecordsDoNotRotUnnoticed(t *testing.T) {
	for _, sizes := range [][]int{{100}, {100, 5000}, {9000, 9000}, {9000, 100, 9000, 16000}} {
		fs := newFS(t, 1)
		o := testOptions(fs)
		j := start(t, o)
		for i, n := range sizes {
			_, err := j.Commit([]Entry{entry("a", int64(i), n)})
			must(t, err)
		}
		must(t, j.Confirm())
		next := j.Next()
		must(t, j.Confirm())
		if j.Next() != next || int(next) != len(sizes)+2 || j.Stats().Confirms != 1 {
			t.Fatalf("%d records, two confirmations: the next one is %d", len(sizes), j.Next())
		}
		must(t, j.Close())
		refused := map[Sequence]int{}
		for s, r := range layout(t, fs) {
			if s < next-2 {
				continue
			}
			name := path.Base(r.File)
			whole, err := fs.ReadFile(r.File)
			must(t, err)
			try := func(pos int64, p []byte) {
				old := whole[pos : pos+int64(len(p))]
				rewrite(t, fs, name, pos, p)
				if isRefused(t, o, len(sizes)) {
					refused[s]++
				}
				rewrite(t, fs, name, pos, old)
			}
			for pos := r.Position; pos < r.Position+r.Bytes; pos += 1 + pos%3 {
				try(pos, []byte{whole[pos] ^ 1<<(pos%8)})
			}
			for pos := r.Position; pos < r.Position+r.Bytes; pos += blockBytes {
				try(pos, make([]byte, blockBytes))
			}
		}
		if refused[next-2] < 50 || refused[next-1] > 0 {
			t.Errorf("sizes %d: refused %v", sizes, refused)
		}
	}
}

// isRefused opens a damaged journal, and makes sure that it is refused or has all of log a.
func isRefused(t *testing.T, o Options, records int) bool {
	t.Helper()
	j, err := Open(o)
	if errors.Is(err, ErrCorrupt) {
		return true
	}
	must(t, err)
	got := 0
	must(t, j.Replay("a", 0, func(Sequence, Entry) error { got++; return nil }))
	must(t, j.Close())
	if got != records {
		t.Fatalf("%d records of %d, and nobody says so", got, records)
	}
	return false
}

// TestConfirmGoesOn writes confirmations among commits over all files, and reads them after a kill.
func TestConfirmGoesOn(t *testing.T) {
	fs := newFS(t, 1)
	o := testOptions(fs)
	j := start(t, o)
	var last Sequence
	for i := range 40 {
		last = commit(t, j)
		if i%3 == 0 {
			must(t, j.Confirm())
		}
		j.Release(last - min(last, 3))
	}
	must(t, j.Confirm())
	next := j.Next()
	j, err := Open(testOptions(fs.CrashClone(0, nil)))
	must(t, err)
	if j.Next() != next || j.Confirmed() != next-1 {
		t.Errorf("next is %d, confirmed %d; want %d and %d", j.Next(), j.Confirmed(), next, next-1)
	}
	if all := replayAll(t, j, last)["a"]; len(all) != 1 || all[0].sequence != last {
		t.Errorf("behind record %d: %v", last, all)
	}
	// A journal that is full takes no confirmation, and no harm.
	must(t, j.Recovered())
	for err == nil {
		_, err = j.Commit([]Entry{entry("a", int64(j.Next()), 100)})
	}
	if again := j.Confirm(); !errors.Is(err, ErrFull) || !errors.Is(again, ErrFull) {
		t.Errorf("a full journal: %v, %v", err, again)
	}
	j.Release(j.Next() - 1)
	must(t, j.Confirm())
}
