package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// JournalName is the folder of the commit journal in a data directory.
const JournalName = "journal"

// VerifyParallelMax bounds how many folders a Verify reads at once.
const VerifyParallelMax = 16

// makingMax is how long a server takes at most from a log's folder to its first note: a few fsyncs.
const makingMax = time.Second

// VerifyOptions say which data directory Verify reads, and who hears of it. The functions are
// called by one goroutine at a time.
type VerifyOptions struct {
	FS      vfs.FS
	DataDir string
	Clock   clock.Clock // Clock waits for a server that uses the directory. Default: clock.Real.
	// Parallel is how many folders are read at once, up to VerifyParallelMax; default 1.
	Parallel int
	// OnTotal is called first, with how many bytes of segments there are.
	OnTotal func(bytes int64)
	// OnBytes is called with the bytes of segments that were read since the last call.
	OnBytes func(n int64)
	// OnFinding is called for everything that is not as it should be.
	OnFinding func(f log.Finding)
	// OnFolder is called for each folder when it has been read.
	OnFolder func(f VerifiedFolder)
}

// VerifiedFolder is one folder of a data directory: the metadata, a partition, or the index.
type VerifiedFolder struct {
	Name   string // Name is "metadata", "index", or topic and partition.
	Dir    string
	Logs   []log.VerifySummary // Logs are its logs; a partition's staging log comes second.
	Damage int                 // Damage is how many findings there were, remarks left out.
}

// Verify reads a whole data directory and checks each file against the others. It writes nothing
// and needs no lock; what a server writes meanwhile is not taken for damage.
func Verify(ctx context.Context, o VerifyOptions) ([]VerifiedFolder, error) {
	o.Parallel = min(max(o.Parallel, 1), VerifyParallelMax)
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	v := &dirVerification{o: o}
	if err := log.InspectFormat(o.FS, o.DataDir); err != nil {
		return nil, err
	}
	jobs, err := v.plan()
	if err != nil {
		return nil, err
	}
	if o.OnTotal != nil {
		o.OnTotal(v.totalBytes(jobs))
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(o.Parallel)
	for _, job := range jobs {
		group.Go(func() error { return v.run(ctx, job) })
	}
	err = group.Wait()
	return v.out.folders, err
}

// dirVerification is one Verify.
type dirVerification struct {
	o VerifyOptions

	out struct { // held while a function of the options runs
		sync.Mutex
		folders []VerifiedFolder
	}
}

// verifyJob is one folder to read.
type verifyJob struct {
	name, dir string
	logs      []string // the folders with segments in it
	read      verifyRead
}

// verifyRead reads a folder and gives its findings to the function.
type verifyRead func(
	ctx context.Context, dir string, onFinding func(log.Finding),
) ([]log.VerifySummary, error)

func (v *dirVerification) report(f log.Finding) {
	v.out.Lock()
	defer v.out.Unlock()
	if v.o.OnFinding != nil {
		v.o.OnFinding(f)
	}
}

func (v *dirVerification) read(n int64) {
	v.out.Lock()
	defer v.out.Unlock()
	if v.o.OnBytes != nil {
		v.o.OnBytes(n)
	}
}

func (v *dirVerification) run(ctx context.Context, job verifyJob) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	findings := folderFindings{v: v, dir: job.dir}
	sums, err := job.read(ctx, job.dir, findings.add)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		// The rest is still worth reading.
		findings.add(log.Finding{Grade: log.GradeDamage, File: job.dir, Err: err})
	}
	if findings.report(); findings.void {
		return nil
	}
	v.out.Lock()
	defer v.out.Unlock()
	f := VerifiedFolder{Name: job.name, Dir: job.dir, Logs: sums, Damage: findings.damage}
	v.out.folders = append(v.out.folders, f)
	if v.o.OnFolder != nil {
		v.o.OnFolder(f)
	}
	return nil
}

// plan lists the folders to read.
func (v *dirVerification) plan() ([]verifyJob, error) {
	path := v.o.FS.PathJoin
	meta := path(v.o.DataDir, metadataDir)
	jobs := []verifyJob{{
		name: metadataDir, dir: meta, logs: []string{path(meta, metadata.LogName)}, read: v.metadata,
	}}
	names, known, err := v.topics(meta)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		job := verifyJob{name: known[name], dir: path(v.o.DataDir, topicsDir, name), read: v.partition}
		job.logs = []string{job.dir, path(job.dir, stagingDir)}
		if job.name == "" {
			job.name = name
			v.report(log.Finding{
				Grade: log.GradeRemark, File: job.dir, Err: errors.New("the folder belongs to no topic"),
			})
		}
		jobs = append(jobs, job)
	}
	index := path(v.o.DataDir, indexDir)
	if _, err := v.o.FS.Stat(index); err == nil {
		jobs = append(jobs, verifyJob{name: indexDir, dir: index, read: v.index})
	}
	commits := path(v.o.DataDir, JournalName)
	if _, err := v.o.FS.Stat(commits); err == nil {
		jobs = append(jobs, verifyJob{name: JournalName, dir: commits, read: v.journal})
	}
	return jobs, nil
}

// topics returns the folders of partitions that are there, sorted, and the topic and partition to
// which each belongs. A folder that the metadata names and that is not there is reported, and so is
// one that is being removed, which is left out.
func (v *dirVerification) topics(meta string) (names []string, known map[string]string, err error) {
	// The metadata first: a server makes the folders of a topic before it names them there.
	known, removed, err := namedFolders(v.o.FS, v.o.DataDir)
	if err != nil {
		v.report(log.Finding{Grade: log.GradeDamage, File: meta, Err: err})
	}
	dir := v.o.FS.PathJoin(v.o.DataDir, topicsDir)
	names, err = v.o.FS.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	slices.Sort(names)
	names = slices.DeleteFunc(names, func(name string) bool {
		if removed[name] {
			v.report(log.Finding{
				Grade: log.GradeRemark, File: v.o.FS.PathJoin(dir, name),
				Err: errors.New("its topic was deleted, and it is being removed, or will be at a start"),
			})
		}
		return removed[name]
	})
	for _, folder := range slices.Sorted(maps.Keys(known)) {
		path := v.o.FS.PathJoin(dir, folder)
		if !slices.Contains(names, folder) && !IsDeleted(v.o.FS, path) {
			v.report(log.Finding{
				Grade: log.GradeDamage, File: path,
				Err: fmt.Errorf("the folder of partition %s is missing", known[folder]),
			})
		}
	}
	return names, known, nil
}

// totalBytes is how many bytes of segments the jobs will read. What cannot be looked at counts
// nothing here; it is reported when it is read.
func (v *dirVerification) totalBytes(jobs []verifyJob) (sum int64) {
	for _, job := range jobs {
		for _, dir := range job.logs {
			names, err := v.o.FS.List(dir)
			if err != nil {
				continue
			}
			for _, name := range names {
				info, err := v.o.FS.Stat(v.o.FS.PathJoin(dir, name))
				if err == nil && log.IsSegmentName(name) {
					sum += info.Size()
				}
			}
		}
	}
	return sum
}

// metadata reads the snapshot and the commands.
func (v *dirVerification) metadata(
	ctx context.Context, dir string, onFinding func(log.Finding),
) ([]log.VerifySummary, error) {
	snapshot := v.o.FS.PathJoin(dir, metadata.SnapshotName)
	_, _, err := metadata.InspectSnapshot(v.o.FS, snapshot)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		onFinding(log.Finding{Grade: log.GradeDamage, File: snapshot, Err: err})
	}
	sum, err := log.Verify(v.o.FS.PathJoin(dir, metadata.LogName), log.VerifyOptions{
		FS: v.o.FS, OnFinding: onFinding, OnBytes: v.read,
		OnBatch: func(b log.BatchAt) error {
			err := metadata.InspectCommands(b.Batch, func(log.Offset, []byte) error { return nil })
			if err != nil {
				onFinding(log.Finding{
					Grade: log.GradeDamage, File: b.File, Position: b.Position, Err: err,
				})
			}
			return ctx.Err()
		},
	})
	return []log.VerifySummary{sum}, err
}

func (v *dirVerification) partition(
	ctx context.Context, dir string, onFinding func(log.Finding),
) ([]log.VerifySummary, error) {
	return VerifyPartition(dir, PartitionVerifyOptions{
		FS: v.o.FS, OnFinding: onFinding, OnBytes: v.read,
		OnBatch: func(log.BatchAt) error { return ctx.Err() },
		Await:   func() { v.awaitServer(ctx) },
	})
}

// awaitServer gives a server that uses the directory the time to finish what it is making.
func (v *dirVerification) awaitServer(ctx context.Context) {
	if vfs.HolderOf(v.o.FS, v.o.DataDir).Pid == 0 {
		return
	}
	t := v.o.Clock.NewTimer(makingMax)
	defer t.Stop()
	select {
	case <-t.C():
	case <-ctx.Done():
	}
}

func (v *dirVerification) index(
	_ context.Context, dir string, onFinding func(log.Finding),
) ([]log.VerifySummary, error) {
	return nil, timer.InspectIndex(v.o.FS, dir, func(file string, err error) {
		onFinding(log.Finding{Grade: log.GradeDerived, File: file, Err: err})
	})
}

// journalLooksMax is how often a journal is read that seems damaged: a server recycles its files.
const journalLooksMax = 3

func (v *dirVerification) journal(
	ctx context.Context, dir string, onFinding func(log.Finding),
) ([]log.VerifySummary, error) {
	j := &journalInspection{v: v}
	var corrupt *journal.CorruptError
	for look := 1; ; look++ {
		err := j.read(ctx, dir)
		switch {
		case err == nil:
			return nil, j.checkRefs(ctx, onFinding)
		case !errors.As(err, &corrupt):
			return nil, err
		case look == journalLooksMax:
			onFinding(log.Finding{
				Grade: log.GradeDamage, File: corrupt.File, Position: corrupt.Position, Err: corrupt.Err,
			})
			return nil, nil
		}
	}
}
