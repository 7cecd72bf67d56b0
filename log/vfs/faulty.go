package vfs

import (
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// unlimited is the free space of a disk whose size is not simulated.
const unlimited = -1

// Faulty is a file system that passes everything on to another one, except for what its script of
// faults makes fail or wait. It counts what goes through it.
type Faulty struct {
	// Sleep waits for a Fault's latency; time.Sleep unless set before the file system is in use.
	Sleep func(time.Duration)

	inner FS
	count counters

	script struct { // short: not held while an operation runs
		sync.Mutex
		faults []*scripted // bounded by what the test adds
		ops    [opCount]int64
	}

	// space is held for the whole of an operation that takes or gives back disk space, while the
	// space is limited: two writes must not both take the last byte.
	space struct {
		sync.Mutex
		free int64 // bytes, or unlimited
		// reserved is, by path, up to where a file has space by Allocate, where that is beyond its
		// length. Bounded by the paths that a test opens.
		reserved map[string]int64
	}
}

var _ FS = (*Faulty)(nil)

// NewFaulty wraps a file system, which may be OS() or a Crash, with a script of faults. More can
// be added later.
func NewFaulty(inner FS, faults ...Fault) *Faulty {
	f := &Faulty{Sleep: time.Sleep, inner: inner}
	f.space.free = unlimited
	f.space.reserved = map[string]int64{}
	for _, fault := range faults {
		f.Add(fault)
	}
	return f
}

// Add adds a fault to the script. It sees the operations from now on.
func (f *Faulty) Add(fault Fault) {
	_, err := path.Match(fault.Glob, "")
	invariant.Check(err == nil, "fault has the malformed pattern %q", fault.Glob)
	f.script.Lock()
	defer f.script.Unlock()
	f.script.faults = append(f.script.faults, &scripted{Fault: fault})
}

// Clear ends all faults. The counters and the free space stay.
func (f *Faulty) Clear() {
	f.script.Lock()
	defer f.script.Unlock()
	f.script.faults = nil
}

// Ops returns how many operations of the kind were tried, failed ones included; with OpAny, of all
// kinds.
func (f *Faulty) Ops(op Op) int64 {
	f.script.Lock()
	defer f.script.Unlock()
	return f.script.ops[op]
}

// Stats returns the counters since the file system was made.
func (f *Faulty) Stats() Stats { return f.count.stats() }

// BytesReadUnder returns how many bytes were read from files whose cleaned path, when they were
// opened, began with prefix.
func (f *Faulty) BytesReadUnder(prefix string) int64 { return f.count.bytesReadUnder(prefix) }

// SetFree limits the disk to so many more bytes; a negative number lifts the limit. A write that
// makes a file longer takes space; overwriting and holes take none; truncating, removing and
// replacing a file give its space back, even while it is open or has another name. A write that
// finds too little space writes what fits and fails with ErrNoSpace. What Allocate reserves is
// taken at once; writes there then take none.
func (f *Faulty) SetFree(bytes int64) {
	f.space.Lock()
	defer f.space.Unlock()
	f.space.free = max(bytes, unlimited)
}

// AddFree raises a limited disk's free space.
func (f *Faulty) AddFree(bytes int64) {
	f.space.Lock()
	defer f.space.Unlock()
	f.gainLocked(bytes)
}

// gainLocked gives space back, if it is limited.
func (f *Faulty) gainLocked(bytes int64) {
	if f.space.free != unlimited {
		f.space.free += bytes
	}
}

// enter runs the script for an operation. It returns the fault whose error ends the operation.
func (f *Faulty) enter(op Op, name string) *Fault {
	for _, fault := range f.hits(op, cleanPath(name)) {
		if fault.Before != nil {
			fault.Before(cleanPath(name))
		}
		if fault.Latency > 0 {
			f.Sleep(fault.Latency)
		}
		if fault.Err != nil {
			f.count.injected()
			return &fault
		}
	}
	return nil
}

// hits counts the operation and returns the faults that hit it.
func (f *Faulty) hits(op Op, name string) []Fault {
	f.script.Lock()
	defer f.script.Unlock()
	f.script.ops[OpAny]++
	f.script.ops[op]++
	var hits []Fault
	for _, s := range f.script.faults {
		if s.matches(op, name) && s.hit() {
			hits = append(hits, s.Fault)
		}
	}
	return hits
}

// check is enter for operations that fail whole.
func (f *Faulty) check(op Op, name string) error {
	if fault := f.enter(op, name); fault != nil {
		return pathError(op.String(), name, fault.Err)
	}
	return nil
}

// removing runs an operation that frees the file under a name, and gives its space back.
func (f *Faulty) removing(name string, do func() error) error {
	f.space.Lock()
	defer f.space.Unlock()
	if f.space.free == unlimited {
		return do()
	}
	size := f.treeBytes(name)
	err := do()
	if err == nil {
		f.gainLocked(size)
		for reserved := range f.space.reserved {
			if under(reserved, cleanPath(name)) {
				delete(f.space.reserved, reserved)
			}
		}
	}
	return err
}

// under reports whether a path is dir or lies in it.
func under(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// takenLocked returns up to where a file of that length has its space already.
func (f *Faulty) takenLocked(name string, size int64) int64 {
	return max(size, f.space.reserved[name])
}

// treeBytes adds up the space of the files at and below a name. What cannot be read counts 0.
func (f *Faulty) treeBytes(name string) int64 {
	info, err := f.inner.Stat(name)
	if err != nil {
		return 0
	}
	if !info.IsDir() {
		return f.takenLocked(cleanPath(name), info.Size())
	}
	names, err := f.inner.List(name)
	if err != nil {
		return 0
	}
	var sum int64
	for _, child := range names {
		sum += f.treeBytes(f.inner.PathJoin(name, child))
	}
	return sum
}

// file wraps an open file, unless opening it has failed.
func (f *Faulty) file(
	inner pebblevfs.File, err error, name string, dir bool,
) (pebblevfs.File, error) {
	if err != nil {
		return nil, err
	}
	w := &faultyFile{inner: inner}
	w.faultyHandle = faultyHandle{
		fs: f, raw: inner, path: cleanPath(name), dir: dir, size: w.length,
	}
	return w, nil
}

// Create makes a new file, in place of one that has the name.
func (f *Faulty) Create(
	name string, category pebblevfs.DiskWriteCategory,
) (pebblevfs.File, error) {
	if err := f.check(OpCreate, name); err != nil {
		return nil, err
	}
	var file pebblevfs.File
	err := f.removing(name, func() (err error) {
		file, err = f.inner.Create(name, category)
		return err
	})
	return f.file(file, err, name, false)
}

// Open opens a file for reading.
func (f *Faulty) Open(name string, opts ...pebblevfs.OpenOption) (pebblevfs.File, error) {
	if err := f.check(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.inner.Open(name, opts...)
	return f.file(file, err, name, false)
}

// OpenReadWrite opens a file for reading and writing, and creates it when it does not exist.
func (f *Faulty) OpenReadWrite(
	name string, category pebblevfs.DiskWriteCategory, opts ...pebblevfs.OpenOption,
) (pebblevfs.File, error) {
	if err := f.check(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenReadWrite(name, category, opts...)
	return f.file(file, err, name, false)
}

// OpenDir opens a directory for syncing.
func (f *Faulty) OpenDir(name string) (pebblevfs.File, error) {
	if err := f.check(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenDir(name)
	return f.file(file, err, name, true)
}

// OpenLog opens a file for positional access, and creates it when it does not exist.
func (f *Faulty) OpenLog(name string) (LogFile, error) {
	if err := f.check(OpOpen, name); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenLog(name)
	if err != nil {
		return nil, err
	}
	return &faultyLog{
		faultyHandle: faultyHandle{fs: f, raw: file, path: cleanPath(name), size: file.Size},
		inner:        file,
	}, nil
}

// SyncDir makes the names in the directory durable.
func (f *Faulty) SyncDir(dir string) error { return syncDir(f, dir) }

// ReadFile returns the content of a small file.
func (f *Faulty) ReadFile(name string) ([]byte, error) { return readFile(f, name) }

// WriteFileAtomic replaces a small file.
func (f *Faulty) WriteFileAtomic(name string, data []byte) error {
	return writeFileAtomic(f, name, data)
}

// Link gives a file a second name.
func (f *Faulty) Link(oldname, newname string) error {
	if err := f.check(OpLink, newname); err != nil {
		return err
	}
	return f.inner.Link(oldname, newname)
}

// Remove removes a file or an empty directory.
func (f *Faulty) Remove(name string) error {
	if err := f.check(OpRemove, name); err != nil {
		return err
	}
	return f.removing(name, func() error { return f.inner.Remove(name) })
}

// RemoveAll removes a file, or a directory with everything in it.
func (f *Faulty) RemoveAll(name string) error {
	if err := f.check(OpRemove, name); err != nil {
		return err
	}
	return f.removing(name, func() error { return f.inner.RemoveAll(name) })
}

// Rename gives a file or directory another name, in place of a file that has it.
func (f *Faulty) Rename(oldname, newname string) error {
	if err := f.check(OpRename, newname); err != nil {
		return err
	}
	if cleanPath(oldname) == cleanPath(newname) {
		return f.inner.Rename(oldname, newname) // frees nothing
	}
	return f.removing(newname, func() error { return f.inner.Rename(oldname, newname) })
}

// ReuseForWrite renames a file and opens it for writing, its content in place.
func (f *Faulty) ReuseForWrite(
	oldname, newname string, category pebblevfs.DiskWriteCategory,
) (pebblevfs.File, error) {
	if err := f.check(OpRename, newname); err != nil {
		return nil, err
	}
	file, err := f.inner.ReuseForWrite(oldname, newname, category)
	return f.file(file, err, newname, false)
}

// MkdirAll makes a directory and those above it.
func (f *Faulty) MkdirAll(dir string, perm fs.FileMode) error {
	if err := f.check(OpMkdir, dir); err != nil {
		return err
	}
	return f.inner.MkdirAll(dir, perm)
}

// Lock locks a file.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	if err := f.check(OpLock, name); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

// List returns the names in a directory.
func (f *Faulty) List(dir string) ([]string, error) {
	if err := f.check(OpList, dir); err != nil {
		return nil, err
	}
	return f.inner.List(dir)
}

// Stat describes a file or directory.
func (f *Faulty) Stat(name string) (pebblevfs.FileInfo, error) {
	if err := f.check(OpStat, name); err != nil {
		return nil, err
	}
	return f.inner.Stat(name)
}

// GetDiskUsage tells the space of the disk; a limit by SetFree shows as available space.
func (f *Faulty) GetDiskUsage(name string) (pebblevfs.DiskUsage, error) {
	if err := f.check(OpStat, name); err != nil {
		return pebblevfs.DiskUsage{}, err
	}
	usage, err := f.inner.GetDiskUsage(name)
	f.space.Lock()
	defer f.space.Unlock()
	if err == nil && f.space.free != unlimited {
		usage.AvailBytes = uint64(f.space.free)
		usage.TotalBytes = usage.UsedBytes + usage.AvailBytes
	}
	return usage, err
}

// PathBase returns the last part of a path.
func (f *Faulty) PathBase(name string) string { return f.inner.PathBase(name) }

// PathJoin joins parts of a path.
func (f *Faulty) PathJoin(elem ...string) string { return f.inner.PathJoin(elem...) }

// PathDir returns all but the last part of a path.
func (f *Faulty) PathDir(name string) string { return f.inner.PathDir(name) }

// Unwrap returns the wrapped file system.
func (f *Faulty) Unwrap() pebblevfs.FS { return f.inner }
