package log

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// A read of several pieces gives the whole batches that fit, wherever the pieces' boundaries lie:
// within a header, within a batch that is larger than a piece, or between two.
func TestReadPieces(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	l := mustOpen(t, Options{FS: vfs.NewCrash(1), SegmentBytes: 64 << 20})
	defer mustClose(t, l)
	var all []byte
	var sizes []int // of all batches
	for len(all) < 12*readPieceBytes {
		n := []int{1, 200, 60_000, readPieceBytes / 2, 3 * readPieceBytes / 2}[rng.IntN(5)] + rng.IntN(200)
		b := buildBatch(t, uint64(len(sizes)), 1, n, 1000)
		if _, _, err := l.Append(b, 1); err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(b))
		all = append(all, readAll(t, l)[len(all):]...)
	}
	mustFlush(t, l)
	for range 300 {
		from := rng.IntN(len(sizes))
		r := ReadRequest{
			From: Offset(from), Bound: Offset(from + 1 + rng.IntN(len(sizes)-from)),
			MaxBytes: rng.IntN(6 * readPieceBytes), MinOne: rng.IntN(2) == 0,
		}
		before, want := 0, 0
		for i, n := range sizes {
			switch {
			case i < from:
				before += n
			case i < int(r.Bound) && (want+n <= r.MaxBytes || i == from && r.MinOne):
				want += n
			default:
				r.Bound = min(r.Bound, Offset(i)) // nothing behind one that does not fit
			}
		}
		got, err := l.Read([]byte("kept"), r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if string(got) != "kept"+string(all[before:before+want]) {
			t.Fatalf("%+v: %d bytes, want the %d at %d", r, len(got)-len("kept"), want, before)
		}
	}
}

// A read that finds damage in a late piece returns nothing of the earlier ones.
func TestReadDamageInALatePiece(t *testing.T) {
	t.Parallel()
	fs := vfs.NewCrash(1)
	l := mustOpen(t, Options{FS: fs, SegmentBytes: 64 << 20})
	defer mustClose(t, l)
	for i := range 8 {
		if _, _, err := l.Append(buildBatch(t, uint64(i), 1, readPieceBytes/2, 1000), 1); err != nil {
			t.Fatal(err)
		}
	}
	mustFlush(t, l)
	all := readAll(t, l)
	starts := batchStarts(t, all)
	at := starts[5] + 1000
	patch(t, fs, segmentName(0), at, []byte{all[at] ^ 0x10})
	got, err := l.Read([]byte("kept"), ReadRequest{Bound: l.End(), MaxBytes: 1 << 30})
	wantCorrupt(t, err, segmentName(0), starts[5])
	if string(got) != "kept" {
		t.Fatalf("read gave %d bytes beside the damage", len(got))
	}
	got, err = l.Read(nil, ReadRequest{Bound: 4, MaxBytes: 1 << 30})
	if err != nil || len(got) == 0 {
		t.Fatalf("what lies before the damage: %d bytes, %v", len(got), err)
	}
}

// A read that is between two of its pieces while the log is cut and filled again gives what was there
// before or what is there now, and nothing of both: each piece would pass for whole batches.
func TestReadBesideATruncation(t *testing.T) {
	t.Parallel()
	n := readPieceBytes/2 - (len(buildBatch(t, 1, 1, readPieceBytes/4, 1000)) - readPieceBytes/4)
	if got := len(buildBatch(t, 1, 1, n, 1000)); got != readPieceBytes/2 {
		t.Fatalf("a batch of %d bytes: no piece ends with one", got)
	}
	for nth := 1; ; nth++ {
		fs := vfs.NewFaulty(vfs.NewCrash(1))
		l := mustOpen(t, Options{FS: fs, SegmentBytes: 64 << 20})
		fill := func(mark uint64) {
			for l.End() < 8 {
				b := buildBatch(t, mark+uint64(l.End()), 1, n, 1000)
				if _, _, err := l.Append(b, 1); err != nil {
					t.Fatal(err)
				}
			}
		}
		fill(100)
		mustFlush(t, l)
		old := readAll(t, l)
		reads, cut := 0, false
		fs.Add(vfs.Fault{Op: vfs.OpRead, Glob: segmentName(0), Before: func(string) {
			if reads++; reads != nth || cut {
				return
			}
			cut = true
			if err := l.Truncate(1); err != nil {
				t.Error(err)
			}
			fill(200)
		}})
		got := readAll(t, l)
		fs.Clear()
		if now := readAll(t, l); !bytes.Equal(got, old) && !bytes.Equal(got, now) {
			t.Errorf("cut before read %d: neither what was there nor what is", nth)
		}
		mustClose(t, l)
		if !cut {
			if nth < 5 {
				t.Fatalf("a read of %d bytes took %d reads", len(old), reads)
			}
			return
		}
	}
}
