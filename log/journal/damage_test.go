package journal

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// history is a journal on a disk, and what must be replayed from it.
type history struct {
	fs       *vfs.Crash
	records  map[Sequence][]string // all that were committed
	released Sequence
	last     Sequence
}

// newHistory commits records of the given sizes, and releases those up to released as soon as they
// are there. The process dies then, but not the disk.
func newHistory(t testing.TB, released Sequence, sizes ...int) *history {
	t.Helper()
	h := &history{fs: newFS(t, 1), records: map[Sequence][]string{}, released: released}
	o := testOptions(h.fs)
	o.FileBytes = 5 * blockBytes
	o.FilesMax = 4
	j := start(t, o)
	for i, n := range sizes {
		e := []Entry{entry("a", int64(i*10), n), entry("b", int64(i*10), 20)}
		s, err := j.Commit(e)
		if errors.Is(err, ErrFull) {
			t.Fatalf("record %d does not fit: %v", i+1, err)
		}
		must(t, err)
		h.records[s], h.last = []string{stored(e[0]), stored(e[1])}, s
		if s <= released {
			j.Release(s)
		}
	}
	h.fs = h.fs.CrashClone(1, nil)
	return h
}

// files returns the content of all files of the journal.
func (h *history) files(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := h.fs.List(testDir)
	must(t, err)
	all := map[string][]byte{}
	for _, name := range names {
		if all[name], err = h.fs.ReadFile(path.Join(testDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// rewrite changes bytes of a file, durably.
func rewrite(t testing.TB, fs vfs.FS, name string, pos int64, p []byte) {
	t.Helper()
	f, err := fs.OpenLog(path.Join(testDir, name))
	must(t, err)
	_, err = f.WriteAt(p, pos)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

// layout says where each record of a journal is.
func layout(t testing.TB, fs vfs.FS) map[Sequence]Record {
	t.Helper()
	at := map[Sequence]Record{}
	must(t, Inspect(fs, testDir, func(r Record) error {
		r.Entries = nil
		at[r.Sequence] = r
		return nil
	}))
	return at
}

// verdict is what became of a damaged journal.
type verdict struct {
	corrupt *CorruptError
	missing []Sequence // committed, not released, not replayed
}

// judge opens a damaged journal and compares what it replays. What was never committed, or differs,
// fails the test.
func (h *history) judge(t testing.TB, o Options) verdict {
	t.Helper()
	var v verdict
	j, err := Open(o)
	if errors.As(err, &v.corrupt) {
		return v
	}
	must(t, err)
	got := map[Sequence][]string{}
	for _, name := range j.Logs() {
		err := j.Replay(name, 0, func(s Sequence, e Entry) error {
			got[s] = append(got[s], e.text())
			return nil
		})
		must(t, err)
	}
	must(t, j.Close())
	for s, texts := range got {
		if !sameSet(texts, h.records[s]) {
			t.Fatalf("record %d was replayed with %.100q, committed was %.100q", s, texts, h.records[s])
		}
	}
	for s := h.released + 1; s <= h.last; s++ {
		if got[s] == nil {
			v.missing = append(v.missing, s)
		}
	}
	return v
}

// histories are journals whose damage is tried everywhere: records that fill a file alone, small
// ones, several files in use, some released, the last file begun or not.
func histories(t *testing.T) map[string]*history {
	return map[string]*history{
		"one file":               newHistory(t, 0, 100, 200),
		"one record for each":    newHistory(t, 0, 9000, 9000, 9000),
		"small and large":        newHistory(t, 0, 100, 5000, 100, 100, 100, 9000, 300, 100),
		"some released":          newHistory(t, 4, 100, 5000, 100, 100, 100, 9000, 300, 100),
		"used again":             newHistory(t, 8, 9000, 100, 100, 100, 9000, 100, 100, 9000, 300, 9000, 100, 100),
		"all but one released":   newHistory(t, 9, 9000, 100, 100, 100, 9000, 100, 100, 9000, 300, 9000),
		"ends at a file's end":   newHistory(t, 0, 100, 100, 100, 9000),
		"large record is oldest": newHistory(t, 0, 9000, 100, 100),
	}
}

// damaged judges one damage, done to the bytes [pos, pos+n) of a file.
func (h *history) damaged(t *testing.T, o Options, at map[Sequence]Record, name string, pos, n int64) {
	t.Helper()
	before := h.files(t)
	v := h.judge(t, o)
	where := fmt.Sprintf("damage of %d bytes at byte %d of %s", n, pos, name)
	last := at[h.last]
	inLast := path.Base(last.File) == name && pos < last.Position+last.Bytes && pos+n > last.Position
	if v.corrupt != nil {
		for s, r := range at {
			if s > h.released && path.Base(r.File) == name && r.Position == v.corrupt.Position &&
				path.Base(v.corrupt.File) == name && pos < r.Position+r.Bytes && pos+n > r.Position {
				after := h.files(t)
				for f := range before {
					if !slices.Equal(before[f], after[f]) {
						t.Fatalf("%s: %s was changed although it is corrupt", where, f)
					}
				}
				return
			}
		}
		t.Fatalf("%s: named elsewhere: %v", where, v.corrupt)
	}
	switch {
	case len(v.missing) == 0:
	case inLast && slices.Equal(v.missing, []Sequence{h.last}):
		// The documented limit: it looks as if its commit had never ended.
	default:
		t.Fatalf("%s: records %d are lost, and nobody says so", where, v.missing)
	}
}

// TestBitFlipAnywhere flips bits of every byte that is used, and of a sample of the others.
func TestBitFlipAnywhere(t *testing.T) {
	for name, h := range histories(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := layout(t, h.fs)
			o := testOptions(h.fs)
			tried := 0
			for name, p := range h.files(t) {
				for pos := range p {
					if in := pos % blockBytes; in > 130 && in%211 != 0 && in < blockBytes-2 {
						continue
					}
					bit := byte(1) << (pos % 8)
					rewrite(t, h.fs, name, int64(pos), []byte{p[pos] ^ bit})
					h.damaged(t, o, at, name, int64(pos), 1)
					rewrite(t, h.fs, name, int64(pos), p[pos:pos+1])
					tried++
				}
			}
			if v := h.judge(t, o); tried < 500 || v.corrupt != nil || v.missing != nil {
				t.Fatalf("%d flips; after all was put right again: %+v", tried, v)
			}
		})
	}
}

// TestZeroedBlockAnywhere zeroes each 4 KiB block, and fills it with another one of the journal: what
// a disk does that loses a write or puts it in the wrong place.
func TestZeroedBlockAnywhere(t *testing.T) {
	for name, h := range histories(t) {
		t.Run(name, func(t *testing.T) {
			at := layout(t, h.fs)
			o := testOptions(h.fs)
			files := h.files(t)
			for name, p := range files {
				for pos := 0; pos < len(p); pos += blockBytes {
					fills := [][]byte{make([]byte, blockBytes)}
					for _, q := range files {
						for from := 0; from < len(q); from += blockBytes {
							fills = append(fills, q[from:from+blockBytes])
						}
					}
					for _, fill := range fills {
						if slices.Equal(fill, p[pos:pos+blockBytes]) {
							continue
						}
						rewrite(t, h.fs, name, int64(pos), fill)
						h.damaged(t, o, at, name, int64(pos), blockBytes)
						rewrite(t, h.fs, name, int64(pos), p[pos:pos+blockBytes])
					}
				}
			}
		})
	}
}

// TestTornAnywhere tears the last record at every byte, and at every block of it.
func TestTornAnywhere(t *testing.T) {
	h := newHistory(t, 0, 100, 200, 9000)
	at := layout(t, h.fs)[h.last]
	name := path.Base(at.File)
	whole := h.files(t)[name][at.Position : at.Position+at.Bytes]
	used := recordHeaderBytes + 2*(entryHeaderBytes+1) + 9000 + 20
	for n := 0; n <= len(whole); n += 1 {
		torn := make([]byte, len(whole))
		copy(torn, whole[:n])
		rewrite(t, h.fs, name, at.Position, torn)
		v := h.judge(t, testOptions(h.fs))
		// The record's last bytes are no zeros, so that it is whole only with all of them.
		if want := n < used; v.corrupt != nil || (len(v.missing) > 0) != want {
			t.Fatalf("torn at byte %d of %d: %+v", n, used, v)
		}
	}
	for mask := range 1 << (at.Bytes / blockBytes) {
		torn := slices.Clone(whole)
		for i := range int(at.Bytes / blockBytes) {
			if mask>>i&1 == 0 {
				clear(torn[i*blockBytes : (i+1)*blockBytes])
			}
		}
		rewrite(t, h.fs, name, at.Position, torn)
		v := h.judge(t, testOptions(h.fs))
		if want := mask+1 < 1<<(at.Bytes/blockBytes); v.corrupt != nil || (len(v.missing) > 0) != want {
			t.Fatalf("blocks %b of it are there: %+v", mask, v)
		}
	}
}

// TestFileGone removes each file, and cuts each one short.
func TestFileGone(t *testing.T) {
	for name, h := range histories(t) {
		t.Run(name, func(t *testing.T) {
			at := layout(t, h.fs)
			for name, p := range h.files(t) {
				needed := false
				for s, r := range at {
					needed = needed || path.Base(r.File) == name && s > h.released
				}
				gone := *h
				gone.fs = h.fs.CrashClone(1, nil)
				must(t, gone.fs.Remove(path.Join(testDir, name)))
				newest := path.Base(at[h.last].File) == name
				v := gone.judge(t, testOptions(gone.fs))
				if needed && !newest && v.corrupt == nil {
					t.Errorf("%s is gone with records that are needed: %+v", name, v)
				}
				for size := int64(0); size < int64(len(p)); size += blockBytes {
					short := *h
					short.fs = h.fs.CrashClone(1, nil)
					f, err := short.fs.OpenLog(path.Join(testDir, name))
					must(t, err)
					must(t, f.Truncate(size))
					must(t, f.Sync())
					must(t, f.Close())
					v := short.judge(t, testOptions(short.fs))
					if v.corrupt == nil && len(v.missing) > 0 && !(newest && size < firstRecord) {
						t.Errorf("%s ends at byte %d: %+v", name, size, v)
					}
				}
			}
		})
	}
}

// TestOpenReadError takes an unreadable file for neither an empty nor a damaged one.
func TestOpenReadError(t *testing.T) {
	h := newHistory(t, 0, 100, 5000, 9000)
	reads := 0
	for nth := 1; ; nth++ {
		faulty := vfs.NewFaulty(h.fs, vfs.Fault{Op: vfs.OpRead, Nth: nth, Times: 1, Err: vfs.ErrIO})
		j, err := Open(testOptions(faulty))
		if err == nil {
			must(t, j.Close())
			break
		}
		var corrupt *CorruptError
		if !errors.Is(err, vfs.ErrIO) || errors.As(err, &corrupt) || errors.Is(err, io.EOF) {
			t.Fatalf("read %d: %v", nth, err)
		}
		if !strings.Contains(err.Error(), testDir) {
			t.Errorf("read %d: the error names no file: %v", nth, err)
		}
		reads++
	}
	if reads < 10 {
		t.Errorf("only %d reads were spoilt", reads)
	}
	if v := h.judge(t, testOptions(h.fs)); v.corrupt != nil || v.missing != nil {
		t.Errorf("an error while reading has changed the journal: %+v", v)
	}
}
