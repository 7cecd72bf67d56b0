package timer

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"go.uber.org/zap"
)

// indexDatabase is one Pebble database: what is opened, and what serves if that succeeds. Pebble
// reports some failures only to its logger and expects that call not to return, so its goroutines
// may end without a result, and others wait for them for ever. A failed database is therefore never
// closed, only abandoned: it loses its file system, and what it still reports changes nothing.
type indexDatabase struct {
	ix          *PebbleIndex
	lease       *indexLease
	compactions *indexCompactions
	db          *pebble.DB // once open

	failed  chan struct{} // closed with the first failure
	failure struct {      // short
		sync.Mutex
		err error
	}
}

// openDatabase opens or makes the database in the index's folder. When that fails nothing of it is
// at work in the folder any more.
func openDatabase(ix *PebbleIndex) (*indexDatabase, error) {
	d := &indexDatabase{
		ix: ix, lease: newIndexLease(ix.fs), compactions: newIndexCompactions(),
		failed: make(chan struct{}),
	}
	var db *pebble.DB
	err := d.guard(func() (err error) {
		db, err = pebble.Open(ix.dir, d.options())
		return err
	})
	if err == nil {
		err = d.failedErr() // One of its goroutines has met damage meanwhile.
	}
	if err != nil {
		d.abandon(err)
		return nil, err
	}
	d.db = db
	d.compactions.begin()
	return d, nil
}

func (d *indexDatabase) options() *pebble.Options {
	o := &pebble.Options{
		FS:                          indexFS{d.lease, d},
		Logger:                      indexLogger{d},
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatNewest,
		MemTableSize:                indexMemTableBytes,
		MemTableStopWritesThreshold: indexMemTablesMax,
		CacheSize:                   indexCacheBytes,
		MaxOpenFiles:                indexFilesMax,
		EventListener: &pebble.EventListener{
			BackgroundError: d.backgroundError,
			DataCorruption:  d.dataCorruption,
		},
	}
	o.Experimental.CompactionScheduler = d.compactions
	return o
}

// guard runs f and returns its error, or the failure that ended f's goroutine or had it wait.
func (d *indexDatabase) guard(f func() error) error {
	done := make(chan error, 1)
	// Stopped by f's end, or by Fatalf ending the goroutine; guard waits for either. Where f waits
	// for a goroutine that was ended, it stays, with an abandoned database.
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-d.failed:
		return d.failedErr()
	}
}

// abandon takes the file system from the database, which has failed or could not be opened or
// closed. It waits for file operations that are under way, but for nothing that Pebble waits for.
func (d *indexDatabase) abandon(why error) {
	d.failOnce(why) // Without a word; what is reported later is only that its files are gone.
	d.lease.revoke()
}

// backgroundError ends the database: Pebble would try again at once and for ever. A full disk never
// gets here, see indexFS. Ending the goroutine leaves Pebble's job marked as running, so that it is
// not started again.
func (d *indexDatabase) backgroundError(err error) {
	d.fail(err)
	runtime.Goexit()
}

// dataCorruption is Pebble's call when it reads damage. The note has the next start rebuild the
// index; the error itself reaches whoever was reading.
func (d *indexDatabase) dataCorruption(info pebble.DataCorruptionInfo) {
	d.noteDamage()
	d.fail(fmt.Errorf("file %s is damaged: %w", info.Path, info.Details))
}

// noteDamage has the next start rebuild the index. An abandoned database must not ask for that: the
// lease refuses it.
func (d *indexDatabase) noteDamage() {
	note := d.ix.fs.PathJoin(d.ix.dir, rebuildNote)
	if err := d.lease.WriteFileAtomic(note, nil); err != nil && !errors.Is(err, errRevoked) {
		d.ix.logger.Error("the next start cannot be told to rebuild the schedule index; remove it",
			zap.String("dir", d.ix.dir), zap.Error(err))
	}
}

// fail records the first failure.
func (d *indexDatabase) fail(err error) {
	if !d.failOnce(fmt.Errorf("%w: %s: %w; restart to open or rebuild it", ErrIndex, d.ix.dir, err)) {
		return
	}
	d.ix.logger.Error("schedule index failed", zap.String("dir", d.ix.dir), zap.Error(err))
}

// failOnce says whether it is the first failure.
func (d *indexDatabase) failOnce(err error) bool {
	d.failure.Lock()
	defer d.failure.Unlock()
	if d.failure.err != nil {
		return false
	}
	d.failure.err = err
	close(d.failed)
	return true
}

func (d *indexDatabase) failedErr() error {
	d.failure.Lock()
	defer d.failure.Unlock()
	return d.failure.err
}

// indexLogger passes Pebble's words on.
type indexLogger struct{ d *indexDatabase }

// Infof drops what Pebble tells about its work.
func (l indexLogger) Infof(string, ...any) {}

// Errorf logs a warning: what matters reaches the caller as an error as well.
func (l indexLogger) Errorf(format string, args ...any) {
	l.d.ix.logger.Warn(fmt.Sprintf(format, args...))
}

// Fatalf records the failure and ends the goroutine: Pebble expects that it does not return.
func (l indexLogger) Fatalf(format string, args ...any) {
	fatal := &fatalError{text: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			fatal.cause = err
		}
	}
	l.d.fail(fatal)
	runtime.Goexit()
}

// fatalError is what Pebble told Fatalf, with the error among its arguments.
type fatalError struct {
	text  string
	cause error
}

// Error returns Pebble's text.
func (e *fatalError) Error() string { return e.text }

// Unwrap returns the error that Pebble gave up for, or nil.
func (e *fatalError) Unwrap() error { return e.cause }

var _ pebble.Logger = indexLogger{}
