package timer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	indexMemTableBytes = 16 << 20
	indexCacheBytes    = 8 << 20
	// indexMemTablesMax bounds the memtables that wait to be written: beyond it Apply waits.
	indexMemTablesMax = 4
	indexFilesMax     = 256

	// rebuildNote is a file that asks the next OpenIndex to wipe the index: a read met damage.
	rebuildNote = "REBUILD"
	// lockName is the file that the index holds locked, named as Pebble would.
	lockName = "LOCK"
)

// PebbleIndex is the Index over a Pebble database, one for a data directory. It runs without
// Pebble's own log: the logs of the partitions are its log. What it took is durable when a memtable
// was written, after Flush and after Close.
type PebbleIndex struct {
	fs     vfs.FS
	dir    string
	logger *zap.Logger
	lock   io.Closer // of the folder, through all databases

	database *indexDatabase // the one that serves; fixed once open
	db       *pebble.DB     // its

	serving   chan struct{} // closed once open
	closing   chan struct{} // closed by Interrupt
	interrupt sync.Once
	closed    atomic.Bool
}

// OpenIndex opens or makes the index in dir. An index that is damaged, or that a read found damaged
// before, is wiped with a warning: the schedules rebuild it from their logs.
func OpenIndex(fs vfs.FS, dir string, logger *zap.Logger) (*PebbleIndex, error) {
	if logger == nil {
		logger = zap.NewNop()
	}
	ix := &PebbleIndex{
		fs: fs, dir: dir, logger: logger.Named("index"),
		serving: make(chan struct{}), closing: make(chan struct{}),
	}
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make schedule index %s: %w", dir, err)
	}
	if err := fs.SyncDir(fs.PathDir(dir)); err != nil {
		return nil, fmt.Errorf("sync the parent of schedule index %s: %w", dir, err)
	}
	lock, err := fs.Lock(fs.PathJoin(dir, lockName))
	if err != nil {
		return nil, fmt.Errorf("lock schedule index %s: %w", dir, err)
	}
	ix.lock = lock
	if err := ix.openOrWipe(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	close(ix.serving)
	return ix, nil
}

// openOrWipe opens the database; one that cannot be read is wiped and made anew, once.
func (ix *PebbleIndex) openOrWipe() error {
	noted, err := ix.isNoted()
	if err != nil {
		return err
	}
	if !noted {
		err := ix.open()
		if err == nil {
			return nil
		}
		if vfs.IsShortage(err) || errors.Is(err, fs.ErrPermission) ||
			errors.Is(err, vfs.ErrCrashed) {
			return fmt.Errorf("open schedule index %s: %w", ix.dir, err)
		}
		ix.logger.Warn("schedule index cannot be read; the schedules rebuild it from their logs",
			zap.String("dir", ix.dir), zap.Error(err))
	}
	if err := ix.wipe(); err != nil {
		return fmt.Errorf("wipe schedule index %s: %w", ix.dir, err)
	}
	if err := ix.open(); err != nil {
		return fmt.Errorf("make schedule index %s anew: %w", ix.dir, err)
	}
	return nil
}

func (ix *PebbleIndex) isNoted() (bool, error) {
	_, err := ix.fs.Stat(ix.fs.PathJoin(ix.dir, rebuildNote))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for the rebuild note of schedule index %s: %w", ix.dir, err)
	}
	return err == nil, nil
}

// wipe removes all files but the lock, the note last: a crash before that wipes again.
func (ix *PebbleIndex) wipe() error {
	names, err := ix.fs.List(ix.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == lockName || name == rebuildNote {
			continue
		}
		if err := ix.fs.RemoveAll(ix.fs.PathJoin(ix.dir, name)); err != nil {
			return err
		}
	}
	if err := ix.fs.SyncDir(ix.dir); err != nil {
		return err
	}
	err = ix.fs.Remove(ix.fs.PathJoin(ix.dir, rebuildNote))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return ix.fs.SyncDir(ix.dir)
}

// open opens the database. One that cannot be opened has left the folder when it returns.
func (ix *PebbleIndex) open() error {
	d, err := openDatabase(ix)
	if err != nil {
		return err
	}
	ix.database, ix.db = d, d.db
	return nil
}

// check returns the failure, if there is one. It is asked before each call.
func (ix *PebbleIndex) check() error {
	if ix.closed.Load() {
		return fmt.Errorf("schedule index %s: %w", ix.dir, ErrClosed)
	}
	return ix.database.failedErr()
}

// judge wraps an error of a call; damage leaves a note, so that the next start rebuilds the index.
func (ix *PebbleIndex) judge(what string, err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) || errors.Is(err, ErrIndex) {
		ix.database.noteDamage()
	}
	err = fmt.Errorf("%s: %w", what, err)
	ix.database.fail(err)
	return ix.database.failedErr()
}

// Load returns how far the partition's entries follow the logs.
func (ix *PebbleIndex) Load(p PartitionNumber) (Applied, bool, error) {
	if err := ix.check(); err != nil {
		return Applied{}, false, err
	}
	var k [spaceKeyBytes]byte
	putSpaceKey(k[:], spaceApplied, p)
	v, closer, err := ix.db.Get(k[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return Applied{}, false, nil
	}
	if err != nil {
		return Applied{}, false, ix.judge("load", err)
	}
	a, ok := appliedOf(v)
	return a, ok, ix.judge("load", closer.Close())
}

// Get returns the entry of a key.
func (ix *PebbleIndex) Get(p PartitionNumber, key Key) (e Entry, ok bool, err error) {
	if err := ix.check(); err != nil {
		return Entry{}, false, err
	}
	var k [entryKeyBytes]byte
	putEntryKey(k[:], p, key)
	err = ix.get(k[:], func(v []byte) (err error) {
		ok = true
		e, err = entryOf(k[:], v)
		return err
	})
	return e, ok && err == nil, err
}

// Named returns the key of the entry that has an id.
func (ix *PebbleIndex) Named(p PartitionNumber, id string) (key Key, ok bool, err error) {
	if err := ix.check(); err != nil {
		return Key{}, false, err
	}
	var k [spaceKeyBytes + 256]byte
	err = ix.get(appendNameKey(k[:0], p, id), func(v []byte) (err error) {
		ok = true
		key, err = nameOf(v)
		return err
	})
	return key, ok && err == nil, err
}

// Place returns the place of a record.
func (ix *PebbleIndex) Place(p PartitionNumber, first Position) (pl Place, ok bool, err error) {
	if err := ix.check(); err != nil {
		return Place{}, false, err
	}
	var k [placeKeyBytes]byte
	putPlaceKey(k[:], p, first)
	err = ix.get(k[:], func(v []byte) (err error) {
		ok = true
		pl, err = placeOf(first, v)
		return err
	})
	return pl, ok && err == nil, err
}

// get calls fn with the value of a key, if it is there.
func (ix *PebbleIndex) get(k []byte, fn func(v []byte) error) error {
	v, closer, err := ix.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return ix.judge("look up", err)
	}
	return ix.judge("look up", errors.Join(fn(v), closer.Close()))
}

// Apply makes one change.
func (ix *PebbleIndex) Apply(p PartitionNumber, c *Change) error {
	if err := ix.check(); err != nil {
		return err
	}
	b := ix.db.NewBatchWithSize(256 + len(c.Add)*(entryKeyBytes+14) +
		len(c.Remove)*(entryKeyBytes+3))
	var k, to [entryKeyBytes]byte
	if c.RemoveFrom.Less(c.RemoveTo) {
		putEntryKey(k[:], p, c.RemoveFrom)
		putEntryKey(to[:], p, c.RemoveTo)
		if err := b.DeleteRange(k[:], to[:], nil); err != nil {
			return ix.judge("delete a range", err)
		}
	}
	for _, key := range c.Remove {
		op := b.DeleteDeferred(entryKeyBytes)
		putEntryKey(op.Key, p, key)
		if err := op.Finish(); err != nil {
			return ix.judge("delete", err)
		}
	}
	if err := putEntries(b, p, c.Add); err != nil {
		return ix.judge("add", err)
	}
	if err := putEntries(b, p, c.Update); err != nil {
		return ix.judge("update", err)
	}
	if err := putNames(b, p, c.Names); err != nil {
		return ix.judge("name", err)
	}
	if err := putPlaces(b, p, c.Places); err != nil {
		return ix.judge("place", err)
	}
	if c.Applied != nil {
		var v [appliedBytes]byte
		putSpaceKey(k[:], spaceApplied, p)
		if err := b.Set(k[:spaceKeyBytes], appendApplied(v[:0], *c.Applied), nil); err != nil {
			return ix.judge("note what is applied", err)
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return ix.judge("commit", err)
	}
	return ix.judge("commit", b.Close())
}

// putEntries writes entries into a batch.
func putEntries(b *pebble.Batch, p PartitionNumber, entries []Entry) error {
	var value [entryValueBytesMax]byte
	for i := range entries {
		v := appendEntryValue(value[:0], &entries[i])
		op := b.SetDeferred(entryKeyBytes, len(v))
		putEntryKey(op.Key, p, entries[i].Key)
		copy(op.Value, v)
		if err := op.Finish(); err != nil {
			return err
		}
	}
	return nil
}

// putNames writes names into a batch.
func putNames(b *pebble.Batch, p PartitionNumber, names []Name) error {
	var k, v []byte
	for i := range names {
		k = appendNameKey(k[:0], p, names[i].ID)
		if names[i].Gone {
			if err := b.Delete(k, nil); err != nil {
				return err
			}
			continue
		}
		v = appendNameValue(v[:0], names[i].Key)
		if err := b.Set(k, v, nil); err != nil {
			return err
		}
	}
	return nil
}

// putPlaces writes places into a batch.
func putPlaces(b *pebble.Batch, p PartitionNumber, places []Place) error {
	var k [placeKeyBytes]byte
	var v []byte
	for i := range places {
		putPlaceKey(k[:], p, places[i].Key.Position)
		var err error
		if places[i].Gone {
			err = b.Delete(k[:], nil)
		} else {
			v = appendPlaceValue(v[:0], &places[i])
			err = b.Set(k[:], v, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Scan calls fn with at most limit entries whose key is not below from, in order.
func (ix *PebbleIndex) Scan(p PartitionNumber, from Key, limit int, fn func(e Entry) bool) error {
	if err := ix.check(); err != nil {
		return err
	}
	var lower [entryKeyBytes]byte
	var upper [spaceKeyBytes]byte
	putEntryKey(lower[:], p, from)
	putSpaceKey(upper[:], spaceEntries, p+1)
	if p+1 == 0 {
		upper = [spaceKeyBytes]byte{spaceEnd}
	}
	it, err := ix.db.NewIter(&pebble.IterOptions{LowerBound: lower[:], UpperBound: upper[:]})
	if err != nil {
		return ix.judge("scan", err)
	}
	for ok := it.First(); ok && limit > 0; ok = it.Next() {
		limit--
		v, err := it.ValueAndErr()
		if err != nil {
			break // Close returns it as well
		}
		e, err := entryOf(it.Key(), v)
		if err != nil {
			return errors.Join(ix.judge("scan", err), it.Close())
		}
		if !fn(e) {
			break
		}
	}
	return ix.judge("scan", it.Close())
}

// Drop deletes everything of the partition.
func (ix *PebbleIndex) Drop(p PartitionNumber) error {
	if err := ix.check(); err != nil {
		return err
	}
	b := ix.db.NewBatch()
	var k [spaceKeyBytes]byte
	putSpaceKey(k[:], spaceApplied, p)
	if err := b.Delete(k[:], nil); err != nil {
		return ix.judge("drop", err)
	}
	var from, to [entryKeyBytes + 1]byte
	putEntryKey(from[:entryKeyBytes], p, minKey)
	putEntryKey(to[:], p, maxKey) // one byte longer than any key, so behind the last one
	if err := b.DeleteRange(from[:entryKeyBytes], to[:], nil); err != nil {
		return ix.judge("drop", err)
	}
	if err := b.DeleteRange(appendNameKey(nil, p, ""), endOfNames(p), nil); err != nil {
		return ix.judge("drop", err)
	}
	var place [placeKeyBytes + 1]byte // one byte longer than any key, so behind the last one
	putPlaceKey(place[:], p, maxKey.Position)
	if err := b.DeleteRange(spaceKey(spacePlaces, p), place[:], nil); err != nil {
		return ix.judge("drop", err)
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return ix.judge("drop", err)
	}
	return ix.judge("drop", b.Close())
}

// Flush makes all changes so far durable.
func (ix *PebbleIndex) Flush() error {
	if err := ix.check(); err != nil {
		return err
	}
	// Guarded: it can wait for a flush whose goroutine a failure has ended.
	var flushed <-chan struct{}
	err := ix.database.guard(func() (err error) {
		flushed, err = ix.db.AsyncFlush()
		return err
	})
	if err != nil {
		return ix.judge("flush", err)
	}
	select {
	case <-flushed:
		return nil
	case <-ix.database.failed:
		return ix.database.failedErr()
	}
}

// Interrupt makes a full disk an error from now on instead of something to wait for. The owner
// calls it before it closes the schedules, whose last turns could be waiting.
func (ix *PebbleIndex) Interrupt() { ix.interrupt.Do(func() { close(ix.closing) }) }

// Close flushes and closes the index. No call may follow. A failed index is abandoned: what it had
// not written is rebuilt from the logs. Either way its folder is free for another then.
func (ix *PebbleIndex) Close() error {
	if ix.closed.Load() {
		return ix.check()
	}
	ix.Interrupt()
	err := ix.Flush()
	ix.closed.Store(true)
	if err == nil {
		err = ix.database.guard(ix.db.Close)
		if err != nil {
			err = fmt.Errorf("close schedule index %s: %w", ix.dir, err)
		}
	}
	if err != nil {
		ix.database.abandon(err)
	}
	return errors.Join(err, ix.lock.Close())
}

// Failed is closed when the index failed; Err then says why. Its schedules fail with it.
func (ix *PebbleIndex) Failed() <-chan struct{} { return ix.database.failed }

// Err returns why the index failed, or nil.
func (ix *PebbleIndex) Err() error { return ix.database.failedErr() }

var (
	_ Index        = (*PebbleIndex)(nil)
	_ pebblevfs.FS = indexFS{}
)
