package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer"
)

// StagingName is the folder of the staging log in a partition's folder.
const StagingName = stagingDir

// PartitionVerifyOptions say who hears of a VerifyPartition.
type PartitionVerifyOptions struct {
	FS vfs.FS
	// OnFinding is called for everything that is not as it should be.
	OnFinding func(f log.Finding)
	// OnBatch is called for each intact batch of both logs in order. Its error ends the call.
	OnBatch func(b log.BatchAt) error
	// OnBytes is called with the bytes of segments that were read since the last call.
	OnBytes func(n int64)
	// Await is that of log.VerifyOptions.
	Await func()
}

// VerifyPartition reads all files of a partition's folder and checks each against the others: both
// logs, the records of the staging log, the deliveries, and the producer snapshot. It writes
// nothing and needs no lock. The second summary is that of the staging log, if there is one.
func VerifyPartition(dir string, o PartitionVerifyOptions) (sums []log.VerifySummary, err error) {
	v := &partitionVerification{o: o, dir: dir}
	// The snapshot first: what it names was in the logs when it was written.
	v.readProducers()
	folders := []string{dir}
	folder := o.FS.PathJoin(dir, stagingDir)
	_, err = o.FS.Stat(folder)
	switch {
	case err == nil:
		folders = append(folders, folder)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case v.snapshot.StagingEnd > 0:
		v.report(log.GradeDamage, folder, 0, fmt.Errorf("the folder is missing; the producer snapshot"+
			" names staging offset %d", v.snapshot.StagingEnd))
	}
	for kind, folder := range folders {
		sum, err := log.Verify(folder, log.VerifyOptions{
			FS: o.FS, OnFinding: o.OnFinding, OnBytes: o.OnBytes, Await: o.Await,
			OnBatch: func(b log.BatchAt) error { return v.batch(logKind(kind), b) },
		})
		if err != nil {
			return sums, fmt.Errorf("verify %s: %w", folder, err)
		}
		sums = append(sums, sum)
		v.checkSnapshotEnd(logKind(kind), sum)
	}
	v.checkDelivered(sums)
	return sums, nil
}

// partitionVerification is one VerifyPartition.
type partitionVerification struct {
	o        PartitionVerifyOptions
	dir      string
	snapshot ProducerSnapshot
	// known are the batches of the snapshot by log and base offset; bounded by its size.
	known [2]map[batch.Offset]knownBatch

	delivered   timer.Position // the one with the greatest staging offset
	deliveredAt log.BatchAt    // without its batch
}

// knownBatch is a batch as the producer snapshot knows it.
type knownBatch struct {
	id          batch.ProducerID
	epoch       batch.ProducerEpoch
	first, last batch.Sequence
	end         batch.Offset
}

func (v *partitionVerification) report(g log.Grade, file string, pos int64, err error) {
	if v.o.OnFinding != nil {
		v.o.OnFinding(log.Finding{Grade: g, File: file, Position: pos, Err: err})
	}
}

func (v *partitionVerification) producersPath() string {
	return v.o.FS.PathJoin(v.dir, producerFile)
}

func (v *partitionVerification) readProducers() {
	s, err := InspectProducers(v.o.FS, v.producersPath())
	switch {
	case errors.Is(err, fs.ErrNotExist): // A partition that never had a checkpoint.
		return
	case err != nil:
		v.report(log.GradeDerived, v.producersPath(), 0, err)
		return
	}
	v.snapshot = s
	v.known = [2]map[batch.Offset]knownBatch{{}, {}}
	for _, p := range s.Producers {
		for _, b := range p.Batches {
			kind := visible
			if b.Staged {
				kind = staging
			}
			v.known[kind][b.Base] = knownBatch{p.ID, p.Epoch, b.First, b.Last, b.End}
		}
	}
}

func (v *partitionVerification) batch(kind logKind, b log.BatchAt) error {
	v.checkProducer(kind, b)
	if err := v.checkContent(kind, b); err != nil {
		v.report(log.GradeDamage, b.File, b.Position, err)
	}
	if v.o.OnBatch == nil {
		return nil
	}
	return v.o.OnBatch(b)
}

// checkProducer compares a batch with what the snapshot says of its offset. A producer's older
// batches may be of an epoch before the one in the snapshot.
func (v *partitionVerification) checkProducer(kind logKind, b log.BatchAt) {
	known, ok := v.known[kind][b.Batch.BaseOffset()]
	if !ok {
		return
	}
	found := knownBatch{
		b.Batch.ProducerID(), b.Batch.ProducerEpoch(), b.Batch.BaseSequence(), b.Batch.LastSequence(),
		b.Batch.LastOffset() + 1,
	}
	found.epoch = min(found.epoch, known.epoch)
	want := known
	want.epoch = found.epoch
	if found != want || b.Batch.ProducerEpoch() > known.epoch {
		v.report(log.GradeDerived, v.producersPath(), 0, fmt.Errorf("it says that offset %d is from"+
			" producer %d, sequences %d to %d; %s has producer %d, sequences %d to %d at byte %d",
			b.Batch.BaseOffset(), known.id, known.first, known.last, b.File, found.id, found.first,
			found.last, b.Position))
	}
}

// checkContent opens what the server itself has put into a batch.
func (v *partitionVerification) checkContent(kind logKind, b log.BatchAt) error {
	if kind == visible {
		if !b.Batch.IsMarked() {
			return nil
		}
		return timer.EachDelivered(b.Batch, func(d timer.Delivered) error {
			if v.deliveredAt.File == "" || d.Position.Offset > v.delivered.Offset {
				v.delivered = d.Position
				v.deliveredAt = log.BatchAt{File: b.File, Position: b.Position}
			}
			return nil
		})
	}
	switch b.Batch.Kind() {
	case batch.KindStaged:
		return timer.InspectStaged(b.Batch, func(timer.StagedRecord) error { return nil })
	case batch.KindSettlement:
		_, _, err := timer.InspectSettlement(b.Batch)
		return err
	case batch.KindCommand:
		_, err := timer.InspectCommands(b.Batch)
		return err
	default:
		return fmt.Errorf("%w: the batch of offset %d is neither staged nor a settlement nor a command",
			log.ErrCorrupt, b.Batch.BaseOffset())
	}
}

// checkSnapshotEnd makes sure that the snapshot does not name more than there is.
func (v *partitionVerification) checkSnapshotEnd(kind logKind, sum log.VerifySummary) {
	need := [2]batch.Offset{visible: v.snapshot.LogEnd, staging: v.snapshot.StagingEnd}[kind]
	if need > sum.End && need > v.endNow(sum.Dir) {
		v.report(log.GradeDamage, v.producersPath(), 0, fmt.Errorf("%w: it names offset %d of %s, which"+
			" ends at %d", ErrDisagree, need, sum.Dir, sum.End))
	}
}

// checkDelivered makes sure that what was delivered had been staged.
func (v *partitionVerification) checkDelivered(sums []log.VerifySummary) {
	if v.deliveredAt.File == "" {
		return
	}
	end := batch.Offset(0)
	if len(sums) > int(staging) {
		end = sums[staging].End
	}
	folder := v.o.FS.PathJoin(v.dir, stagingDir)
	if v.delivered.Offset >= end && v.delivered.Offset >= v.endNow(folder) {
		v.report(log.GradeDamage, v.deliveredAt.File, v.deliveredAt.Position, fmt.Errorf("%w: position"+
			" %s was delivered, the staging log does not have it", ErrDisagree, v.delivered))
	}
}

// endNow is where a log ends by the commit journal, whose bytes may not be in the segments yet, and
// by its note. The journal is read first: what it lets go of is in the note by then.
func (v *partitionVerification) endNow(folder string) batch.Offset {
	fsys := v.o.FS
	partition := fsys.PathBase(v.dir)
	name := fsys.PathJoin(topicsDir, partition)
	if folder != v.dir {
		name = fsys.PathJoin(name, stagingDir)
	}
	end := batch.Offset(-1)
	commits := fsys.PathJoin(fsys.PathDir(fsys.PathDir(v.dir)), JournalName)
	err := journal.Inspect(fsys, commits, func(r journal.Record) error {
		for _, e := range r.Entries {
			if e.Log == name {
				end = max(end, batch.Offset(e.End))
			}
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return math.MaxInt64 // Damage in the journal is reported as its own; here nothing is known.
	}
	if _, aside, err := log.InspectAside(fsys, folder); err != nil {
		return math.MaxInt64
	} else {
		end = max(end, aside)
	}
	slots, err := log.InspectNote(fsys, fsys.PathJoin(folder, log.NoteName))
	if err != nil {
		return end
	}
	for _, slot := range slots {
		if slot.Newest {
			end = max(end, slot.FlushedEnd)
		}
	}
	return end
}
