package vfs

import (
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// Crash is a file system in memory that can lose power.
//
// For every file it knows which writes and truncations were synced, and for every directory which
// new, renamed and removed names. Syncing a file makes its bytes and its length durable, but not
// its name: that takes a sync of its directory, and a new directory's name one of its parent. The
// root directory always exists. Paths are cleaned; a relative one starts at the root.
//
// Two runs of the same operations by one goroutine with the same seeds give the same bytes.
type Crash struct {
	// OnSync, when set, is called before each sync of a file or a directory, with its cleaned path
	// and the number of the sync, counted from 1. It may call Crash, in which case that sync fails
	// and everything after it. Set it before the file system is in use.
	OnSync func(path string, n int)

	count counters

	mu struct { // short: never held while OnSync runs
		sync.Mutex
		rng    *rand.Rand
		dead   bool // power is lost
		root   *inode
		nextID uint64
		seq    uint64 // of name operations and modifications
		syncs  int
		dirty  map[*inode]struct{} // inodes with pending operations
	}
}

var _ FS = (*Crash)(nil)

// NewCrash returns an empty file system. The seed serves the power cuts that are given no random
// numbers of their own.
func NewCrash(seed uint64) *Crash {
	c := &Crash{}
	c.mu.rng = rand.New(rand.NewPCG(seed, 0))
	c.mu.dirty = make(map[*inode]struct{})
	c.mu.root = c.newInodeLocked(true)
	c.mu.root.refs = 1
	return c
}

// Crash cuts the power and returns the file system as it is found afterwards. This one is dead:
// every later operation on it and on its open files, those in progress included, fails with
// ErrCrashed.
//
// With keep between 0 and 1, each file keeps of its unsynced writes and truncations either single
// ones, each with probability keep, or all up to some point; the last write that it keeps may be
// torn at any byte. Each directory keeps its unsynced names up to some point, for itself: on the
// file systems in use, which have a journal, names do not overtake each other within a directory,
// and Pebble relies on it. Files and directories know nothing of each other's fate.
//
// With keep = 1 all is kept: the process died, the machine did not. With keep = 0 only what was
// synced is left. A nil rng stands for the file system's own.
func (c *Crash) Crash(keep float64, rng *rand.Rand) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.dead = true
	return c.cutLocked(keep, rng)
}

// CrashClone returns what Crash would, and leaves this file system running: one history can be
// examined under many power cuts. It also spares the code on top its last moments: Pebble ends the
// process, through its logger's Fatalf, when the file system under it dies.
func (c *Crash) CrashClone(keep float64, rng *rand.Rand) *Crash {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cutLocked(keep, rng)
}

// Stats returns the counters since the file system was made. They can be read after a crash.
func (c *Crash) Stats() Stats { return c.count.stats() }

// BytesReadUnder returns how many bytes were read from files whose cleaned path, when they were
// opened, began with prefix.
func (c *Crash) BytesReadUnder(prefix string) int64 { return c.count.bytesReadUnder(prefix) }

// cleanPath returns the absolute form under which a path is counted and reported.
func cleanPath(name string) string { return path.Clean("/" + name) }

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// newInodeLocked makes an inode without a name.
func (c *Crash) newInodeLocked(dir bool) *inode {
	c.mu.nextID++
	n := &inode{id: c.mu.nextID, dir: dir}
	if dir {
		n.names = make(map[string]*inode)
		n.durableNames = make(map[string]*inode)
	}
	return n
}

// setNameLocked points a name of a live or durable table to an inode, or removes it.
func (c *Crash) setNameLocked(names map[string]*inode, name string, to *inode) {
	old := names[name]
	if to != nil {
		to.refs++
		names[name] = to
	} else {
		delete(names, name)
	}
	if old != nil {
		c.unrefLocked(old)
	}
}

// unrefLocked takes back a reference. Without any, no power cut can bring the inode back, nor what
// only it leads to.
func (c *Crash) unrefLocked(n *inode) {
	n.refs--
	if n.refs > 0 {
		return
	}
	n.pending = nil
	delete(c.mu.dirty, n)
	for _, child := range n.durableNames {
		c.unrefLocked(child)
	}
	clear(n.durableNames)
	ops := n.pendingNames
	n.pendingNames = nil
	for _, op := range ops {
		// A rename from or to another directory stays: it is that directory's to sync.
		if !op.joins() {
			c.finishLocked(op)
		}
	}
}

// finishLocked retires a name operation: it is durable, or nothing leads to its directory any more.
func (c *Crash) finishLocked(op *nameOp) {
	if op.done {
		return
	}
	op.done = true
	c.unrefLocked(op.inode)
}

// changeLocked does a name operation on the live tables and keeps it for the directories' syncs.
func (c *Crash) changeLocked(op *nameOp) {
	c.mu.seq++
	op.seq = c.mu.seq
	op.inode.refs++
	if op.from != nil {
		c.setNameLocked(op.from.names, op.fromName, nil)
		c.pendLocked(op.from, op)
	}
	if op.dir != nil {
		c.setNameLocked(op.dir.names, op.name, op.inode)
		if op.dir != op.from {
			c.pendLocked(op.dir, op)
		}
	}
}

func (c *Crash) pendLocked(dir *inode, op *nameOp) {
	dir.modified = op.seq
	if dir.refs == 0 {
		return // removed while a handle was open: nothing can bring it back
	}
	dir.pendingNames = append(dir.pendingNames, op)
	c.mu.dirty[dir] = struct{}{}
}

// syncDirLocked makes the directory's name operations up to the given one durable, in order. A
// rename from or to another directory becomes durable as a whole, and with it what was done in the
// other directory before: names must not come back there that the rename has overtaken.
func (c *Crash) syncDirLocked(dir *inode, upTo uint64) {
	var later []*nameOp
	for i, op := range dir.pendingNames {
		if op.seq > upTo {
			later = dir.pendingNames[i:]
			break
		}
		if op.done {
			continue
		}
		if op.joins() {
			c.syncDirLocked(op.other(dir), op.seq-1)
		}
		op.apply(durableTables{c})
		c.finishLocked(op)
	}
	dir.pendingNames = slices.Clone(later)
	if len(later) == 0 {
		delete(c.mu.dirty, dir)
	}
}

// lookupLocked finds the inode of a path.
func (c *Crash) lookupLocked(op, name string) (*inode, error) {
	if c.mu.dead {
		return nil, pathError(op, name, ErrCrashed)
	}
	n := c.mu.root
	for part := range strings.SplitSeq(strings.TrimPrefix(cleanPath(name), "/"), "/") {
		if part == "" { // the root itself
			break
		}
		if !n.dir {
			return nil, pathError(op, name, unix.ENOTDIR)
		}
		next := n.names[part]
		if next == nil {
			return nil, pathError(op, name, unix.ENOENT)
		}
		n = next
	}
	return n, nil
}

// parentLocked finds the directory that holds or would hold a path, and the last part of the path.
func (c *Crash) parentLocked(op, name string) (dir *inode, base string, err error) {
	clean := cleanPath(name)
	if clean == "/" {
		return nil, "", pathError(op, name, unix.EBUSY)
	}
	parent, base := path.Split(clean)
	dir, err = c.lookupLocked(op, parent)
	if err != nil {
		return nil, "", err
	}
	if !dir.dir {
		return nil, "", pathError(op, name, unix.ENOTDIR)
	}
	return dir, base, nil
}

// diskBytesTotal is the size of the disk that GetDiskUsage tells of.
const diskBytesTotal = 1 << 40

// usedBytesLocked adds up the lengths of the files below n.
func usedBytesLocked(n *inode) int64 {
	sum := n.live.size
	for _, child := range n.names {
		sum += usedBytesLocked(child)
	}
	return sum
}

// GetDiskUsage tells of a disk of a tebibyte, of which the files' lengths are used.
func (c *Crash) GetDiskUsage(name string) (pebblevfs.DiskUsage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.lookupLocked("statfs", name); err != nil {
		return pebblevfs.DiskUsage{}, err
	}
	used := uint64(usedBytesLocked(c.mu.root))
	return pebblevfs.DiskUsage{
		TotalBytes: diskBytesTotal, UsedBytes: used, AvailBytes: diskBytesTotal - used,
	}, nil
}

// sortedNames returns the names of a directory in order: the order decides which random numbers
// they get.
func sortedNames(names map[string]*inode) []string {
	list := make([]string, 0, len(names))
	for name := range names {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
