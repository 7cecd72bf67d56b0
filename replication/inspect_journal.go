package replication

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
)

// journalRef is a reference of the commit journal: bytes that went straight to a segment.
type journalRef struct {
	sequence journal.Sequence
	entry    journal.Entry
}

// journalInspection is one reading of the commit journal.
type journalInspection struct {
	v    *dirVerification
	refs []journalRef                // bounded by the size of the journal
	last map[string]journal.Sequence // of the newest record with an entry of a log
}

// read reads the records. Damage is a *journal.CorruptError.
func (j *journalInspection) read(ctx context.Context, dir string) error {
	j.refs, j.last = nil, map[string]journal.Sequence{}
	return journal.Inspect(j.v.o.FS, dir, func(r journal.Record) error {
		for _, e := range r.Entries {
			j.last[e.Log] = r.Sequence
			if e.Kind == journal.Ref && e.Length > 0 {
				j.refs = append(j.refs, journalRef{r.Sequence, e})
			}
		}
		return ctx.Err()
	})
}

// checkRefs looks for the bytes that the references name. What a log's note vouches for is compared
// with the log itself; the journal says what was made durable since. A log's newest record may not
// have been acknowledged: its commit is the one that a crash cuts short.
func (j *journalInspection) checkRefs(ctx context.Context, onFinding func(log.Finding)) error {
	for _, ref := range j.refs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if ref.sequence == j.last[ref.entry.Log] {
			continue
		}
		dir := j.logDir(ref.entry.Log)
		if !j.isNeeded(dir, ref) {
			continue
		}
		whole, path, err := log.InspectRef(j.v.o.FS, dir, ref.entry)
		// A server may have compacted or deleted the segment meanwhile; then its note says more.
		if whole || !j.isNeeded(dir, ref) || IsDeleted(j.v.o.FS, dir) {
			continue
		}
		what := fmt.Errorf("%w: the commit journal, record %d, says that offsets %d to %d lie in the %d"+
			" bytes from here on; they do not", batch.ErrCorrupt, ref.sequence, ref.entry.First,
			ref.entry.End-1, ref.entry.Length)
		onFinding(log.Finding{
			Grade: log.GradeDamage, File: path, Position: ref.entry.Position,
			Err: errors.Join(what, err),
		})
	}
	return nil
}

// logDir is the folder of a log by its name in the journal.
func (j *journalInspection) logDir(name string) string {
	parts := append([]string{j.v.o.DataDir}, strings.Split(name, "/")...)
	return j.v.o.FS.PathJoin(parts...)
}

// isNeeded says whether a start depends on the bytes of a reference: the log is there, and its note
// does not vouch for them.
func (j *journalInspection) isNeeded(dir string, ref journalRef) bool {
	slots, err := log.InspectNote(j.v.o.FS, j.v.o.FS.PathJoin(dir, log.NoteName))
	if errors.Is(err, fs.ErrNotExist) {
		return false // A topic that was deleted, or its log is reported as one without a note.
	}
	for _, s := range slots {
		if s.Newest {
			return ref.sequence >= journal.Sequence(s.JournalFrom) &&
				batch.Offset(ref.entry.End) > s.FlushedEnd
		}
	}
	return false
}
