package log

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// asideName is the file with what the commit journal had of a log that could not be replayed. While
// it is there nothing newer is in the journal, because the log is not open. A log of which the
// journal had nothing has no such file.
const asideName = "unreplayed"

func (l *Log) asidePath() string { return l.o.FS.PathJoin(l.dir, asideName) }

// setAside copies what the journal has of the log into its folder, durably, because of a fault of
// this log alone: the journal can be used again, and the next Open replays the copy. A copy from an
// earlier start stays as it is.
func (r *recovery) setAside(cause error) error {
	l := r.l
	l.o.Logger.Error("the log cannot be read as it is; what the commit journal has of it is put aside"+
		" in its folder until it can", zap.String("dir", l.dir), zap.Error(cause))
	_, err := l.o.FS.Stat(l.asidePath())
	switch {
	case isNotExist(err):
		err = l.o.Journal.Keep(l.o.Name, l.asidePath())
	case err == nil:
		// From an earlier start. It may have died before it synced the name.
		if err = l.o.FS.SyncDir(l.dir); err == nil && r.asideBad {
			err = r.stillInJournal()
		}
	}
	if err != nil {
		return replayError(errors.Join(cause, err))
	}
	return nil
}

// stillInJournal is an error if the journal has entries of a log whose copy of them cannot be read:
// the start that made the copy died before the journal was recycled, and now it must not be.
func (r *recovery) stillInJournal() error {
	l := r.l
	return l.o.Journal.Replay(l.o.Name, 0, func(journal.Sequence, journal.Entry) error {
		return fmt.Errorf("%s cannot be read, and the journal has entries of this log, too; mend the"+
			" disk, or remove the file if what it says is in the journal", l.asidePath())
	})
}

// isUnreadable says that an error is of what is on the disk, or of the disk's refusal to read it:
// this log's alone. What has run out may be there again at the next start.
func isUnreadable(err error) bool {
	return (errors.Is(err, ErrUnreadable) || errors.Is(err, ErrCorrupt)) && !vfs.IsShortage(err)
}

// refused makes an error of the disk one that says so.
func refused(err error) error {
	if err == nil || vfs.IsShortage(err) {
		return err
	}
	return &readError{err}
}

// replayEntries passes on what was put aside, and behind it what the journal has.
//
// What was confirmed when the newest entry was copied says whether that one was durable. The
// journal may have been used again since: what it was told of other logs says nothing of the copy.
func (r *recovery) replayEntries(fn func(s journal.Sequence, e journal.Entry) error) error {
	l, from := r.l, r.note.journalFrom
	aside, err := r.replayAside(fn)
	if err != nil {
		return err
	}
	r.aside, r.confirmed = aside.Found, aside.Confirmed
	if l.o.Journal == nil || r.fresh {
		return nil
	}
	return l.o.Journal.Replay(l.o.Name, max(from, aside.Last+1),
		func(s journal.Sequence, e journal.Entry) error {
			r.confirmed = l.o.Journal.Confirmed()
			return fn(s, e)
		})
}

// replayAside passes on what was put aside. That the copy cannot be read is a fault of this log
// alone, as it is of its other files.
func (r *recovery) replayAside(fn func(s journal.Sequence, e journal.Entry) error) (
	journal.Kept, error,
) {
	l, passed := r.l, error(nil) // the first error of fn
	aside, err := journal.ReplayKept(l.o.FS, l.asidePath(), r.note.journalFrom,
		func(s journal.Sequence, e journal.Entry) error {
			passed = fn(s, e)
			return passed
		})
	var damage *journal.CorruptError
	switch {
	case passed != nil:
		return aside, err
	case errors.As(err, &damage):
		r.asideBad = true
		return aside, &CorruptError{File: damage.File, Position: damage.Position, Err: damage.Err}
	default:
		r.asideBad = err != nil
		return aside, refused(err)
	}
}

// dropAside removes what was put aside, once the segments have it and a durable note says so.
func (r *recovery) dropAside() error {
	if !r.aside {
		return nil
	}
	if err := r.l.o.FS.Remove(r.l.asidePath()); err != nil && !isNotExist(err) {
		return fmt.Errorf("remove what was put aside: %w", err)
	}
	r.aside = false
	return r.l.o.FS.SyncDir(r.l.dir)
}

// InspectAside reads what was put aside in a log's folder: how many entries of the commit journal
// wait there for the next start, and the offset behind the last one, which is -1 if there is none.
func InspectAside(fs vfs.FS, dir string) (entries int, end Offset, err error) {
	end = noOffset
	_, err = journal.ReplayKept(fs, fs.PathJoin(dir, asideName), 0,
		func(_ journal.Sequence, e journal.Entry) error {
			entries, end = entries+1, Offset(e.End)
			return nil
		})
	return entries, end, err
}
