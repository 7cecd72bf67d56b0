package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	entryBytes = 16
	// tableTailMax is how many entries wait in memory before they go to the file: one page.
	tableTailMax = 256
	// tableBlock is how many entries a search reads at once when few are left.
	tableBlock = 256
)

// The kinds of table. The kind is part of each entry's checksum.
const (
	offsetTable byte = 1 // key: base offset of a batch, value: its position
	timeTable   byte = 2 // key: greatest timestamp before a batch, value: its offset minus base
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errBadIndex says that a table contradicts itself or the log. The table is rebuilt.
var errBadIndex = errors.New("index is damaged")

// entry is one line of a table. Keys and values never fall from one entry to the next.
type entry struct {
	key   int64
	value uint32
}

// table is a sparse index: entries in a file, and the newest ones in memory. The file is opened
// for each use and closed again, so that an idle log holds no handle for it.
type table struct {
	fs   vfs.FS
	path string
	seed uint32 // checksum of kind and base: an entry of another table does not pass

	removed  atomic.Bool // the segment is deleted: opening the file would make it anew
	replaced atomic.Bool // the segment was compacted: the file is, or will be, another one's

	mu struct { // short, but for a page written when the tail is full
		sync.Mutex
		loaded   bool    // whether stored is known
		stored   int     // entries in the file
		tail     []entry // newer entries; replaced, never changed in place
		unsynced bool    // whether anything changed since the last sync
	}
}

func newTable(fs vfs.FS, path string, kind byte, base Offset) *table {
	var id [9]byte
	id[0] = kind
	binary.BigEndian.PutUint64(id[1:], uint64(base))
	return &table{fs: fs, path: path, seed: crc32.Checksum(id[:], castagnoli)}
}

// snapshot returns how many entries are in the file, and those in memory.
func (t *table) snapshot() (int, []entry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.loadLocked(); err != nil {
		return 0, nil, err
	}
	return t.mu.stored, t.mu.tail, nil
}

// loadLocked learns from the file's length how many entries it has.
func (t *table) loadLocked() error {
	if t.mu.loaded {
		return nil
	}
	info, err := t.fs.Stat(t.path)
	switch {
	case err == nil:
		t.mu.stored = int(info.Size() / entryBytes)
	case isNotExist(err):
		t.mu.stored = 0
	default:
		return fmt.Errorf("index %s: %w", t.path, err)
	}
	t.mu.loaded = true
	return nil
}

// reset makes the table as long as a note says it is. It is false when that cannot be: the file
// is shorter, or the last entry that would stay is damaged or does not lie below the point.
func (t *table) reset(entries int, below func(e entry) bool) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mu.loaded = false
	if err := t.loadLocked(); err != nil {
		return false, err
	}
	t.mu.tail = nil
	if t.mu.stored < entries {
		return false, nil
	}
	if entries > 0 {
		last := entry{}
		err := t.withFile(func(f vfs.LogFile) error {
			block, err := t.read(f, entries-1, 1)
			if err == nil {
				last = block[0]
			}
			return err
		})
		if errors.Is(err, errBadIndex) || (err == nil && !below(last)) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	return true, t.cutLocked(entries)
}

// cutLocked shortens the file to that many entries.
func (t *table) cutLocked(entries int) error {
	if t.mu.stored <= entries {
		return nil
	}
	err := t.withFile(func(f vfs.LogFile) error { return f.Truncate(int64(entries) * entryBytes) })
	if err != nil {
		return err
	}
	t.mu.stored, t.mu.unsynced = entries, true
	return nil
}

// len returns the number of entries.
func (t *table) len() (int, error) {
	stored, tail, err := t.snapshot()
	return stored + len(tail), err
}

// add appends an entry. A full disk or a want of file handles is no error: the entries wait in
// memory.
func (t *table) add(e entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.loadLocked(); err != nil {
		return err
	}
	t.mu.tail = append(t.mu.tail, e)
	t.mu.unsynced = true
	if len(t.mu.tail)%tableTailMax != 0 {
		return nil
	}
	if err := t.spillLocked(); err != nil && !vfs.IsShortage(err) {
		return err
	}
	return nil
}

// spillLocked moves the entries in memory to the file.
func (t *table) spillLocked() error {
	if len(t.mu.tail) == 0 {
		return nil
	}
	p := t.encode(t.mu.stored, t.mu.tail)
	err := t.withFile(func(f vfs.LogFile) error {
		_, err := f.WriteAt(p, int64(t.mu.stored)*entryBytes)
		return err
	})
	if err != nil {
		return err
	}
	t.mu.stored += len(t.mu.tail)
	t.mu.tail = nil // not reused: a search may still read it
	return nil
}

// sync makes all entries durable. It reports whether it did anything.
func (t *table) sync() (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.mu.unsynced {
		return false, nil
	}
	if err := t.spillLocked(); err != nil {
		return false, err
	}
	if err := t.withFile(vfs.LogFile.SyncData); err != nil {
		return false, err
	}
	t.mu.unsynced = false
	return true, nil
}

// truncate keeps the first n entries.
func (t *table) truncate(n int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.loadLocked(); err != nil {
		return err
	}
	if n >= t.mu.stored {
		t.mu.tail = t.mu.tail[: n-t.mu.stored : n-t.mu.stored]
		t.mu.unsynced = true
		return nil
	}
	t.mu.tail = nil
	return t.cutLocked(n)
}

// replace makes these entries the whole table.
func (t *table) replace(entries []entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.gone(); err != nil {
		return err
	}
	if err := t.fs.WriteFileAtomic(t.path, t.encode(0, entries)); err != nil {
		return err
	}
	t.mu.loaded, t.mu.stored, t.mu.tail = true, len(entries), nil
	return nil
}

// search returns the first index whose entry passes, as sort.Search does, and the entry before
// it. It takes no lock while it reads the file.
func (t *table) search(pass func(e entry) bool) (i int, before entry, err error) {
	stored, tail, err := t.snapshot()
	if err != nil {
		return 0, entry{}, err
	}
	i = sort.Search(len(tail), func(i int) bool { return pass(tail[i]) })
	if i > 0 {
		return stored + i, tail[i-1], nil
	}
	if stored == 0 {
		return 0, entry{}, nil
	}
	err = t.withFile(func(f vfs.LogFile) error {
		i, before, err = t.searchFile(f, stored, pass)
		return err
	})
	return i, before, err
}

// searchFile halves the range until it fits one read.
func (t *table) searchFile(f vfs.LogFile, n int, pass func(e entry) bool) (int, entry, error) {
	lo, hi := 0, n
	for hi-lo > tableBlock {
		mid := (lo + hi) / 2
		block, err := t.read(f, mid, 1)
		if err != nil {
			return 0, entry{}, err
		}
		if pass(block[0]) {
			hi = mid
		} else {
			lo = mid // not mid+1: the block then holds the entry before the answer
		}
	}
	block, err := t.read(f, lo, hi-lo)
	if err != nil {
		return 0, entry{}, err
	}
	k := sort.Search(len(block), func(k int) bool { return pass(block[k]) })
	if k == 0 {
		return lo, entry{}, nil // only when lo is 0
	}
	return lo + k, block[k-1], nil
}

// read returns n entries from the file, checked.
func (t *table) read(f vfs.LogFile, first, n int) ([]entry, error) {
	p := make([]byte, n*entryBytes)
	if k, err := f.ReadAt(p, int64(first)*entryBytes); k < len(p) {
		return nil, fmt.Errorf("%w: %s: read of entry %d: %w", errBadIndex, t.path, first, err)
	}
	entries := make([]entry, n)
	for i := range entries {
		q := p[i*entryBytes : (i+1)*entryBytes]
		if binary.BigEndian.Uint32(q[12:]) != t.sum(first+i, q[:12]) {
			return nil, fmt.Errorf("%w: %s: entry %d fails its checksum", errBadIndex, t.path, first+i)
		}
		entries[i] = entry{
			key:   int64(binary.BigEndian.Uint64(q)),
			value: binary.BigEndian.Uint32(q[8:]),
		}
	}
	return entries, nil
}

// encode returns the file bytes of entries, the first of which is number first.
func (t *table) encode(first int, entries []entry) []byte {
	p := make([]byte, len(entries)*entryBytes)
	for i, e := range entries {
		q := p[i*entryBytes : (i+1)*entryBytes]
		binary.BigEndian.PutUint64(q, uint64(e.key))
		binary.BigEndian.PutUint32(q[8:], e.value)
		binary.BigEndian.PutUint32(q[12:], t.sum(first+i, q[:12]))
	}
	return p
}

// sum is the checksum of an entry: table, number and content, so that an entry at a wrong place
// does not pass.
func (t *table) sum(number int, content []byte) uint32 {
	var n [4]byte
	binary.BigEndian.PutUint32(n[:], uint32(number))
	return crc32.Update(crc32.Update(t.seed, castagnoli, n[:]), castagnoli, content)
}

// withFile opens the file for one use.
func (t *table) withFile(use func(f vfs.LogFile) error) error {
	if err := t.gone(); err != nil {
		return err
	}
	f, err := t.fs.OpenLog(t.path)
	if err != nil {
		return fmt.Errorf("index %s: %w", t.path, err)
	}
	err = use(f)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if t.replaced.Load() {
		return errReplaced // perhaps it was the other one's file that was open
	}
	if err != nil {
		return fmt.Errorf("index %s: %w", t.path, err)
	}
	return nil
}

// gone returns why the file must not be touched, if so.
func (t *table) gone() error {
	switch {
	case t.replaced.Load():
		return errReplaced
	case t.removed.Load():
		return errRemoved(t.path)
	}
	return nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }
