package replication

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// verified is a closed data directory with something of everything in it.
type verified struct {
	t     *testing.T
	fs    *vfs.Crash
	files map[string][]byte // by path
}

func newVerified(t *testing.T) *verified {
	t.Helper()
	n := startNode(t)
	seq := int32(0)
	for i := range 40 {
		n.append(n.batch(-1, -1, rec{value: fmt.Sprintf("plain %d %0500d", i, 0)}))
		n.append(n.batch(7, batch.Sequence(seq), rec{value: "idempotent"}, rec{value: "too"}))
		seq += 2
		n.append(n.batch(-1, -1, rec{value: "soon", delay: at(100)}, rec{value: "late", delay: at(1 << 30)}))
		n.idle()
	}
	n.clock.Advance(time.Second)
	n.idle()
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	v := &verified{t: t, fs: n.fs, files: map[string][]byte{}}
	v.collect("/data")
	return v
}

// collect reads all files below a folder.
func (v *verified) collect(dir string) {
	v.t.Helper()
	names, err := v.fs.List(dir)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, name := range names {
		path := v.fs.PathJoin(dir, name)
		info, err := v.fs.Stat(path)
		if err != nil {
			v.t.Fatal(err)
		}
		if info.IsDir() {
			v.collect(path)
			continue
		}
		if v.files[path], err = v.fs.ReadFile(path); err != nil {
			v.t.Fatal(err)
		}
	}
}

func (v *verified) put(path string, p []byte) {
	v.t.Helper()
	if err := v.fs.WriteFileAtomic(path, p); err != nil {
		v.t.Fatal(err)
	}
}

// verify returns all findings, and makes sure that nothing was written.
func (v *verified) verify(parallel int) (found []log.Finding, folders []VerifiedFolder) {
	v.t.Helper()
	before := v.fs.Stats()
	var total, read int64
	folders, err := Verify(context.Background(), VerifyOptions{
		FS: v.fs, DataDir: "/data", Parallel: parallel,
		OnTotal:   func(n int64) { total = n },
		OnBytes:   func(n int64) { read += n },
		OnFinding: func(f log.Finding) { found = append(found, f) },
	})
	if err != nil {
		v.t.Fatal(err)
	}
	if after := v.fs.Stats(); after.BytesWritten != before.BytesWritten || after.Syncs != before.Syncs {
		v.t.Fatal("verify has written")
	}
	if len(found) == 0 && total != read {
		v.t.Errorf("%d bytes were announced, %d read", total, read)
	}
	return found, folders
}

func TestVerifyOfAWholeDataDirectory(t *testing.T) {
	v := newVerified(t)
	for _, parallel := range []int{0, 1, 4} {
		found, folders := v.verify(parallel)
		if len(found) > 0 {
			t.Errorf("found %v in a directory without a fault", found)
		}
		var names []string
		for _, f := range folders {
			names = append(names, f.Name)
		}
		slices.Sort(names)
		if want := []string{"index", "journal", "metadata", "t-0"}; !slices.Equal(names, want) {
			t.Errorf("verified %v, want %v", names, want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Verify(ctx, VerifyOptions{FS: v.fs, DataDir: "/data"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_, err := Verify(context.Background(), VerifyOptions{FS: v.fs, DataDir: "/data/topics"})
	if !errors.Is(err, log.ErrFormatUnknown) {
		t.Errorf("a folder that is no data directory: %v", err)
	}
}

// TestVerifyComparesTheJournalWithTheSegments: what went straight to a segment after the log's note
// is known to the commit journal alone. A batch there that is sound, and another one, is damage.
func TestVerifyComparesTheJournalWithTheSegments(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigInternalSegmentBytes, "10000000")
	for range 3 {
		n.append(n.batch(-1, -1, rec{value: strings.Repeat("x", 300<<10)}))
		n.idle()
	}
	// A power cut takes the note, which was not synced.
	v := &verified{t: t, fs: n.fs.Crash(0, rand.New(rand.NewPCG(1, 1))), files: map[string][]byte{}}
	_ = n.Close() // it is dead: this ends its goroutines
	v.collect("/data")
	if found, _ := v.verify(1); len(found) > 0 {
		t.Fatalf("found %v in a directory without a fault", found)
	}
	path := ""
	for name, p := range v.files {
		if log.IsSegmentName(v.fs.PathBase(name)) && len(p) > 900<<10 {
			path = name
		}
	}
	if path == "" {
		t.Fatal("no segment holds the three batches")
	}
	segment := v.files[path]
	for at, want := range []bool{true, true, false} { // the newest was not acknowledged for certain
		changed := slices.Clone(segment)
		var b batch.Batch
		for rest := changed; len(b) == 0 || at > int(b.BaseOffset()); {
			var err error
			if b, rest, err = batch.Next(rest); err != nil {
				t.Fatal(err)
			}
		}
		b[len(b)-10] ^= 1
		b.SealCRC()
		v.put(path, changed)
		found, _ := v.verify(1)
		if got := slices.ContainsFunc(found, func(f log.Finding) bool {
			return f.Grade == log.GradeDamage && f.File == path && strings.Contains(f.Err.Error(), "journal")
		}); got != want {
			t.Errorf("another batch at offset %d: found %v", b.BaseOffset(), found)
		}
	}
}

// TestVerifyAfterAnInterruptedDeletion: the commit journal still names the segments of a topic whose
// files were half removed when the power went.
func TestVerifyAfterAnInterruptedDeletion(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigInternalSegmentBytes, "10000000")
	for range 3 {
		n.append(n.batch(-1, -1, rec{value: strings.Repeat("x", 300<<10)}))
		n.idle()
	}
	v := &verified{t: t, fs: n.fs.Crash(0, rand.New(rand.NewPCG(1, 1)))}
	dir := n.partitionDir(n.topic.ID, 0)
	_ = n.Close() // it is dead: this ends its goroutines
	removeNamed(t, v.fs, dir, ".log")
	if found, _ := v.verify(1); !slices.ContainsFunc(found, func(f log.Finding) bool {
		return f.Grade == log.GradeDamage && strings.Contains(f.Err.Error(), "the commit journal, record")
	}) {
		t.Fatalf("found %v without the segments of a topic that is there", found)
	}
	store, err := metadata.OpenStore(metadata.StoreOptions{
		FS: v.fs, Dir: "/data/metadata", Clock: n.clock, Logger: zap.NewNop(),
	})
	if err != nil {
		t.Fatal(err)
	}
	deletion := metadata.Command{DeleteTopic: &metadata.DeleteTopic{ID: n.topic.ID}}
	if _, err := store.Propose(deletion); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	found, folders := v.verify(1)
	if len(found) != 1 || found[0].Grade != log.GradeRemark || found[0].File != dir {
		t.Errorf("found %v", found)
	}
	if slices.ContainsFunc(folders, func(f VerifiedFolder) bool { return f.Dir == dir }) {
		t.Errorf("what is being removed was verified: %+v", folders)
	}
}

// TestVerifyTellsOfEveryFinding: findings are held back a few at a time, and none is lost.
func TestVerifyTellsOfEveryFinding(t *testing.T) {
	for _, n := range []int{1, findingsHeldMax - 1, findingsHeldMax, 3*findingsHeldMax + 5} {
		told, most := 0, 0
		v := &dirVerification{o: VerifyOptions{FS: vfs.NewCrash(1), DataDir: "/data"}}
		v.o.OnFinding = func(log.Finding) { told++ }
		job := verifyJob{name: "metadata", dir: "/data/metadata"}
		job.read = func(
			_ context.Context, _ string, onFinding func(log.Finding),
		) ([]log.VerifySummary, error) {
			for i := range n {
				onFinding(log.Finding{Grade: log.GradeDamage, Position: int64(i), Err: vfs.ErrIO})
				most = max(most, i+1-told)
			}
			return nil, nil
		}
		if err := v.run(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if told != n || v.out.folders[0].Damage != n || most >= findingsHeldMax {
			t.Errorf("%d of %d findings were told, %d held at most, %+v", told, n, most, v.out.folders)
		}
	}
}

// TestVerifyMissesTheMetadata: without it nothing says which folders there should be.
func TestVerifyMissesTheMetadata(t *testing.T) {
	v := newVerified(t)
	if err := v.fs.RemoveAll("/data/metadata"); err != nil {
		t.Fatal(err)
	}
	if found, _ := v.verify(1); !slices.ContainsFunc(found, func(f log.Finding) bool {
		return f.Grade == log.GradeDamage && strings.HasPrefix(f.File, "/data/metadata")
	}) {
		t.Errorf("found %v", found)
	}
}

// TestVerifyBesideChanges makes or deletes a topic whenever a Verify reads the metadata or lists the
// folders: whatever it sees first, no folder is missing.
func TestVerifyBesideChanges(t *testing.T) {
	for _, op := range []vfs.Fault{{Op: vfs.OpOpen, Glob: "*.log"}, {Op: vfs.OpList, Glob: "topics"}} {
		n := startNode(t)
		topic, err := n.CreateTopic(TopicSpec{Name: "u", Partitions: 1, ReplicationFactor: -1}, false)
		if err != nil {
			t.Fatal(err)
		}
		changes := 0
		op.Before = func(path string) {
			if changes == 2 || op.Op == vfs.OpOpen && !strings.Contains(path, "metadata") {
				return
			}
			changes = 2
			_, err := n.CreateTopic(TopicSpec{Name: "v", Partitions: 1, ReplicationFactor: -1}, false)
			if err == nil {
				err = n.DeleteTopic(topic.ID)
			}
			if err != nil {
				t.Error(err)
			}
		}
		var found []log.Finding
		_, err = Verify(context.Background(), VerifyOptions{
			FS: vfs.NewFaulty(n.fs, op), DataDir: "/data",
			OnFinding: func(f log.Finding) { found = append(found, f) },
		})
		damaged := slices.ContainsFunc(found, func(f log.Finding) bool { return f.Grade == log.GradeDamage })
		if err != nil || changes == 0 || damaged {
			t.Errorf("%v: %d changes, found %v, %v", op.Op, changes, found, err)
		}
	}
}

// TestVerifyBesideASlowDeletion deletes a topic at each file operation of a Verify in turn. The disk
// takes long to remove the folder: some of its files are gone, the others are still there.
func TestVerifyBesideASlowDeletion(t *testing.T) {
	for _, gone := range []string{".log", log.NoteName} {
		for _, op := range []vfs.Op{vfs.OpOpen, vfs.OpList, vfs.OpStat} {
			hits := 0
			for verifyBesideDeletion(t, gone, vfs.Fault{Op: op, Nth: hits + 1, Times: 1}) {
				hits++
			}
			if t.Logf("without %s, %v: %d operations", gone, op, hits); hits < 3 {
				t.Error("those are few")
			}
		}
	}
}

// verifyBesideDeletion has a Verify meet the deletion at one of its operations, and reports whether
// there was such a one.
func verifyBesideDeletion(t *testing.T, gone string, op vfs.Fault) bool {
	t.Helper()
	fs := vfs.NewCrash(1)
	disk := vfs.NewFaulty(fs)
	n := &node{t: t, fs: fs, clock: clock.NewManual(time.UnixMilli(1_700_000_000_000))}
	n.openOver(disk, new([]error))
	topic, err := n.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	n.topic = topic
	for i := range batch.Sequence(3) {
		n.append(n.batch(5, 2*i, rec{value: strings.Repeat("x", 300<<10)}, rec{value: "later", delay: at(1 << 30)}))
		n.idle()
	}
	dir := n.partitionDir(topic.ID, 0)
	disk.Add(vfs.Fault{Op: vfs.OpRemove, Glob: dir, Err: vfs.ErrIO, Before: func(string) {
		removeNamed(t, fs, dir, gone)
	}})
	hit := false
	op.Before = func(string) {
		hit = true
		if err := n.DeleteTopic(topic.ID); err != nil {
			t.Error(err)
		}
	}
	var found []log.Finding
	_, err = Verify(t.Context(), VerifyOptions{
		FS: vfs.NewFaulty(fs, op), DataDir: "/data", Clock: impatient{clock.Real()},
		OnFinding: func(f log.Finding) {
			if f.Grade != log.GradeRemark {
				found = append(found, f)
			}
		},
	})
	if err != nil || len(found) > 0 {
		t.Errorf("without %s, %v %d: found %v, %v", gone, op.Op, op.Nth, found, err)
	}
	if err := n.Manager.Close(); err != nil {
		t.Error(err)
	}
	return hit
}

// impatient is a clock on which no wait takes time.
type impatient struct{ clock.Clock }

func (c impatient) NewTimer(time.Duration) clock.Timer { return c.Clock.NewTimer(0) }

// removeNamed removes the files below a folder whose names end so.
func removeNamed(t *testing.T, fs vfs.FS, dir, end string) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Error(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		switch {
		case err != nil:
			t.Error(err)
		case info.IsDir():
			removeNamed(t, fs, path, end)
		case strings.HasSuffix(name, end):
			if err := fs.Remove(path); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestVerifyComparesFilesWithEachOther removes whole folders: each file that is left is sound.
func TestVerifyComparesFilesWithEachOther(t *testing.T) {
	v := newVerified(t)
	// The journal remembers how far the logs were, although nothing of it is needed after a clean stop.
	if err := v.fs.RemoveAll("/data/journal"); err != nil {
		t.Fatal(err)
	}
	partition := ""
	for path := range v.files {
		if v.fs.PathBase(path) == ProducersName {
			partition = v.fs.PathDir(path)
		}
	}
	staging := v.fs.PathJoin(partition, StagingName)
	delivered := func(f log.Finding) bool {
		return errors.Is(f.Err, ErrDisagree) && log.IsSegmentName(v.fs.PathBase(f.File))
	}
	for _, test := range []struct {
		remove string
		want   []func(f log.Finding) bool
	}{
		{staging, []func(f log.Finding) bool{
			func(f log.Finding) bool { return f.File == staging }, delivered,
		}},
		{partition, []func(f log.Finding) bool{func(f log.Finding) bool { return f.File == partition }}},
	} {
		if err := v.fs.RemoveAll(test.remove); err != nil {
			t.Fatal(err)
		}
		found, _ := v.verify(1)
		for i, want := range test.want {
			if !slices.ContainsFunc(found, want) {
				t.Errorf("without %s: finding %d is not among %v", test.remove, i, found)
			}
		}
	}
}

// TestVerifyNamesEveryDamagedFile flips bits and cuts in every file of a data directory.
func TestVerifyNamesEveryDamagedFile(t *testing.T) {
	v := newVerified(t)
	flips := map[string]int{} // by kind of file
	for path, whole := range v.files {
		name := v.fs.PathBase(path)
		step := 1
		switch kind := kindOfFile(name); {
		case kind == "": // not checked: a lock, options, a marker
			continue
		case kind == ".log", kind == ".sst":
			step = 61
		case kind == "recovery-point":
			step = 2 * 512 // the magic of two slots: log tests the rest
		}
		for i := 0; i < len(whole); i += step {
			changed := slices.Clone(whole)
			changed[i] ^= 0x10
			v.put(path, changed)
			found, _ := v.verify(1)
			if !slices.ContainsFunc(found, func(f log.Finding) bool {
				return f.File == path && f.Grade != log.GradeRemark
			}) {
				t.Errorf("bit flip in byte %d of %s: found %v", i, path, found)
			}
			flips[kindOfFile(name)]++
		}
		v.put(path, whole)
	}
	if len(flips) < 6 {
		t.Errorf("files of these kinds only were there: %v", flips)
	}
}

// kindOfFile is what a file of a data directory holds, "" if nothing checks it.
func kindOfFile(name string) string {
	for _, kind := range []string{".index", ".timeindex", ".sst"} {
		if strings.HasSuffix(name, kind) {
			return kind
		}
	}
	if log.IsSegmentName(name) {
		return ".log"
	}
	if slices.Contains([]string{log.NoteName, log.EpochsName, ProducersName}, name) {
		return name
	}
	return ""
}
