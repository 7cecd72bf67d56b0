package log

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// inspected is a closed log of several segments, and its files as they should be.
type inspected struct {
	t     *testing.T
	fs    *vfs.Crash
	files map[string][]byte
}

// newInspected makes a log whose segments are longer than two blocks of a disk.
func newInspected(t *testing.T) *inspected {
	t.Helper()
	fs := vfs.NewCrash(1)
	l := mustOpen(t, inspectedOptions(fs))
	for epoch := range LeaderEpoch(3) {
		for i := range 60 {
			// Timestamps that also fall, so that the greatest one is not the newest.
			at := 1000 + UnixMs(l.End()) - UnixMs(i%3)*500
			if _, _, err := l.Append(buildBatch(t, uint64(l.End()), 1+i%3, 300, at), epoch); err != nil {
				t.Fatal(err)
			}
		}
		mustFlush(t, l)
	}
	mustClose(t, l)
	in := &inspected{t: t, fs: fs, files: map[string][]byte{}}
	names, err := fs.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if in.files[name], err = fs.ReadFile(fs.PathJoin(testDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(in.bases()); n < 4 {
		t.Fatalf("%d segments, the tests need more", n)
	}
	return in
}

func inspectedOptions(fs vfs.FS) Options {
	return Options{FS: fs, SegmentBytes: 20 << 10, IndexIntervalBytes: 1024}
}

func (in *inspected) bases() (all []Offset) {
	for name := range in.files {
		if base, ok := parseSegmentName(name); ok {
			all = append(all, base)
		}
	}
	slices.Sort(all)
	return all
}

// names returns the names with one of these endings, sorted.
func (in *inspected) names(endings ...string) (all []string) {
	for name := range in.files {
		if slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) }) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// put writes a file as a test wants it; nil removes it.
func (in *inspected) put(name string, p []byte) {
	in.t.Helper()
	path := in.fs.PathJoin(testDir, name)
	var err error
	if p == nil {
		if err = in.fs.Remove(path); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	} else {
		err = in.fs.WriteFileAtomic(path, p)
	}
	if err != nil {
		in.t.Fatal(err)
	}
}

// verify returns what is found, remarks left out, and makes sure that nothing was written.
func (in *inspected) verify() (found []Finding) {
	in.t.Helper()
	before := in.fs.Stats()
	_, err := Verify(testDir, VerifyOptions{
		FS: in.fs, IndexIntervalBytes: 1024,
		OnFinding: func(f Finding) {
			if f.Grade != GradeRemark {
				found = append(found, f)
			}
		},
	})
	if err != nil {
		in.t.Fatal(err)
	}
	after := in.fs.Stats()
	if after.BytesWritten != before.BytesWritten || after.Syncs != before.Syncs {
		in.t.Fatal("verify has written")
	}
	return found
}

// want verifies with a file changed, and wants it named with the position; -1 is any.
func (in *inspected) want(what, name string, changed []byte, position int64) {
	in.t.Helper()
	in.put(name, changed)
	found := in.verify()
	path := in.fs.PathJoin(testDir, name)
	if !slices.ContainsFunc(found, func(f Finding) bool {
		return f.File == path && (position < 0 || f.Position == position)
	}) {
		in.t.Errorf("%s of %s: want a finding there at byte %d, got %v", what, name, position, found)
	}
	in.put(name, in.files[name])
}

// batchHolding returns where the batch of a segment file begins that holds a byte.
func batchHolding(p []byte, at int64) (pos int64) {
	for {
		n := int64(batch.Batch(p[pos:]).Length())
		if pos+n > at {
			return pos
		}
		pos += n
	}
}

func TestVerifyOfAWholeLog(t *testing.T) {
	in := newInspected(t)
	var batches, bytes int64
	sum, err := Verify(testDir, VerifyOptions{
		FS: in.fs, IndexIntervalBytes: 1024,
		OnFinding: func(f Finding) { t.Errorf("found %v in a log without a fault", f) },
		OnBatch:   func(BatchAt) error { batches++; return nil },
		OnBytes:   func(n int64) { bytes += n },
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.End != 360 || sum.FlushedEnd != 360 || sum.Batches != 180 || batches != 180 ||
		sum.Records != 360 || sum.Bytes != bytes || sum.Segments != len(in.bases()) {
		t.Errorf("summary %+v, shown %d batches and %d bytes", sum, batches, bytes)
	}
	if in.verify(); t.Failed() {
		return
	}
	wrong := errors.New("enough")
	_, err = Verify(testDir, VerifyOptions{FS: in.fs, OnBatch: func(BatchAt) error { return wrong }})
	if !errors.Is(err, wrong) {
		t.Errorf("the error of OnBatch was %v at the end", err)
	}
}

// TestVerifyFindsEveryFlippedBit flips bits of every byte that has a meaning.
func TestVerifyFindsEveryFlippedBit(t *testing.T) {
	in := newInspected(t)
	for _, name := range in.names("") {
		whole := in.files[name]
		for i := range whole {
			position, every := int64(i), 1
			switch {
			case name == noteName:
				if i%noteSlotBytes >= noteDataBytes {
					continue // behind the checksum nothing is read
				}
				position -= position % noteSlotBytes
			case name == epochsName:
				position = 0
			case IsIndexName(name):
				position -= position % entryBytes
			default:
				position = batchHolding(whole, position)
				// Every byte of a header, and some of the rest, which one checksum covers.
				every = 97
				if int64(i)-position < batch.HeaderBytes {
					every = 1
				}
			}
			if i%every != 0 {
				continue
			}
			changed := slices.Clone(whole)
			changed[i] ^= 1 << (i % 8)
			in.want(fmt.Sprintf("bit flip in byte %d", i), name, changed, position)
			if t.Failed() {
				return
			}
		}
	}
}

// TestVerifyFindsZeroedBlocks zeroes each block of 4 KiB of each segment and index.
func TestVerifyFindsZeroedBlocks(t *testing.T) {
	const block = 4096
	in := newInspected(t)
	for _, name := range in.names(logSuffix) {
		whole := in.files[name]
		for at := 0; at < len(whole); at += block {
			changed := slices.Clone(whole)
			clear(changed[at:min(at+block, len(changed))])
			in.want(fmt.Sprintf("zeroed block at %d", at), name, changed, batchHolding(whole, int64(at)))
		}
	}
	for _, name := range in.names(indexSuffix, timesSuffix, noteName, epochsName) {
		in.want("zeros instead", name, make([]byte, max(1, len(in.files[name]))), 0)
	}
}

func TestVerifyFindsCutFiles(t *testing.T) {
	in := newInspected(t)
	for _, name := range in.names(logSuffix) {
		whole := in.files[name]
		for at := 0; at < len(whole); at += 777 {
			in.want(fmt.Sprintf("cut to %d bytes", at), name, whole[:at], batchHolding(whole, int64(at)))
			start := batchHolding(whole, int64(at))
			in.want(fmt.Sprintf("cut to whole batches of %d bytes", start), name, whole[:start], start)
		}
	}
	for _, name := range in.names(indexSuffix, timesSuffix) {
		whole := in.files[name]
		for at := range whole {
			in.want(fmt.Sprintf("cut to %d bytes", at), name, whole[:at], -1)
		}
	}
	for _, at := range []int{0, 87, 300, 600, 1024, 1500, 1600} {
		in.want("cut", noteName, in.files[noteName][:at], -1)
	}
	for at := range in.files[epochsName] {
		in.want("cut", epochsName, in.files[epochsName][:at], 0)
	}
}

func TestVerifyFindsMissingFiles(t *testing.T) {
	in := newInspected(t)
	for _, name := range in.names("") {
		in.want("loss", name, nil, -1)
	}
	// Two in the middle: each hole is named by the segment that it begins with.
	bases := in.bases()
	name := func(i int) string { return in.fs.PathBase(segmentPath(in.fs, testDir, bases[i])) }
	in.put(name(2), nil)
	in.want("loss of two neighbours", name(1), nil, 0)
	in.put(name(2), in.files[name(2)])
	in.put(name(1), nil)
	in.want("second loss", name(3), nil, 0)
	in.want("first loss", name(1), nil, 0)
}

func TestVerifyFindsWrongIndexes(t *testing.T) {
	in := newInspected(t)
	bases := in.bases()
	for i, base := range bases {
		s := newSegment(in.fs, testDir, base)
		other := newSegment(in.fs, testDir, bases[(i+1)%len(bases)])
		for _, pair := range [][2]*table{{s.index, other.index}, {s.times, other.times}, {s.index, s.times}} {
			name, wrong := in.fs.PathBase(pair[0].path), in.fs.PathBase(pair[1].path)
			if wrong := in.files[wrong]; len(wrong) > 0 {
				in.want("the index of another segment instead", name, wrong, -1)
			}
			// An index with sound checksums that lies by one, in each entry in turn.
			var entries []entry
			err := pair[0].inspect(in.files[name], func(e IndexEntry) error {
				entries = append(entries, entry{key: e.Key, value: e.Value})
				return e.Err
			})
			if err != nil {
				t.Fatal(err)
			}
			for k := range entries {
				for _, delta := range []entry{{key: 1}, {value: 1}} {
					lying := slices.Clone(entries)
					lying[k].key += delta.key
					lying[k].value += delta.value
					in.want(fmt.Sprintf("lie in entry %d", k), name, pair[0].encode(0, lying), -1)
				}
			}
		}
	}
}

// TestVerifyNamesEachOfSeveralDamages wants damage behind damage named, too.
func TestVerifyNamesEachOfSeveralDamages(t *testing.T) {
	in := newInspected(t)
	name := in.names(logSuffix)[1]
	changed := slices.Clone(in.files[name])
	var want []int64
	for _, at := range []int64{100, 5000, 12_000, 15_000} {
		changed[at] ^= 0x40
		want = append(want, batchHolding(in.files[name], at))
	}
	in.put(name, changed)
	var got []int64
	for _, f := range in.verify() {
		got = append(got, f.Position)
	}
	if !slices.Equal(got, want) {
		t.Errorf("found damage at %v, want %v", got, want)
	}
}

// TestVerifyOfWhatACrashLeaves wants no damage in what was torn before anybody was told of it.
func TestVerifyOfWhatACrashLeaves(t *testing.T) {
	fs := vfs.NewCrash(7)
	l := mustOpen(t, testOptions(fs))
	mustAppend(t, l, 40)
	mustFlush(t, l)
	mustAppend(t, l, 60)
	for range 200 {
		after := fs.CrashClone(0.5, nil)
		_, err := Verify(testDir, VerifyOptions{
			FS: after, IndexIntervalBytes: 256,
			OnFinding: func(f Finding) {
				if f.Grade == GradeDamage {
					t.Errorf("after a crash: %v", f)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// And while the log is in use.
	_, err := Verify(testDir, VerifyOptions{
		FS: fs, IndexIntervalBytes: 256,
		OnFinding: func(f Finding) { t.Errorf("while the log is open: %v", f) },
	})
	if err != nil {
		t.Fatal(err)
	}
	mustClose(t, l)
}

// TestVerifyOfDiskErrors wants the disk's refusal to read named like damage.
func TestVerifyOfDiskErrors(t *testing.T) {
	in := newInspected(t)
	name := in.names(logSuffix)[1]
	fs := vfs.NewFaulty(in.fs, vfs.Fault{Op: vfs.OpRead, Glob: name, Err: errIO})
	var found []Finding
	_, err := Verify(testDir, VerifyOptions{
		FS: fs, IndexIntervalBytes: 1024, OnFinding: func(f Finding) { found = append(found, f) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || !errors.Is(found[0].Err, errIO) || fs.PathBase(found[0].File) != name {
		t.Errorf("found %v, want the read error of %s", found, name)
	}
}

// TestInspectOfNoiseReadsItOnce: bytes that happen to look like the header of a long batch do not
// make the search for the next intact one read the file many times.
func TestInspectOfNoiseReadsItOnce(t *testing.T) {
	const size = 16 << 20
	fs := vfs.NewCrash(1)
	path := segmentPath(fs, "/", 0)
	f, err := fs.OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it never fails
	if _, err := f.WriteAt(noise, 0); err != nil {
		t.Fatal(err)
	}
	reads := 0
	counting := vfs.NewFaulty(fs, vfs.Fault{Op: vfs.OpRead, Before: func(string) { reads++ }})
	damages := 0
	sum, err := InspectSegment(path, SegmentInspection{
		FS: counting, OnDamage: func(SegmentDamage) error { damages++; return nil },
	})
	if err != nil || sum.Batches != 0 || damages != 1 {
		t.Fatalf("%+v, %d damages, %v", sum, damages, err)
	}
	if most := 2*size/scanBlockBytes + 8; reads > most {
		t.Errorf("%d reads of %d MiB; %d are enough", reads, size>>20, most)
	}
}

// TestVerifyAwaitsALogThatIsBeingMade: a folder without a note is damage, unless who makes the log
// writes the note in a moment.
func TestVerifyAwaitsALogThatIsBeingMade(t *testing.T) {
	for i, made := range []bool{false, true, true} {
		fs := vfs.NewCrash(1)
		if err := fs.MkdirAll(testDir, 0o755); err != nil {
			t.Fatal(err)
		}
		if i == 2 { // the file is there, and nothing in it
			if _, err := fs.OpenLog(fs.PathJoin(testDir, NoteName)); err != nil {
				t.Fatal(err)
			}
		}
		var found []Finding
		_, err := Verify(testDir, VerifyOptions{
			FS: fs, OnFinding: func(f Finding) { found = append(found, f) },
			Await: func() {
				if !made {
					return
				}
				l, err := Open(testDir, Options{FS: fs})
				if err != nil {
					t.Fatal(err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			},
		})
		if err != nil || (len(found) > 0) == made {
			t.Errorf("the log was made meanwhile: %v; found %v, %v", made, found, err)
		}
	}
}
