package vfs

import (
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// Create makes a new file; one that has the name already loses it first.
func (c *Crash) Create(name string, _ pebblevfs.DiskWriteCategory) (pebblevfs.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parentLocked("create", name)
	if err != nil {
		return nil, err
	}
	if old := dir.names[base]; old != nil {
		if old.dir {
			return nil, pathError("create", name, unix.EISDIR)
		}
		c.changeLocked(&nameOp{inode: old, from: dir, fromName: base})
	}
	return c.createLocked(dir, name, base), nil
}

func (c *Crash) createLocked(dir *inode, name, base string) *crashFile {
	n := c.newInodeLocked(false)
	c.changeLocked(&nameOp{inode: n, dir: dir, name: base})
	return c.openLocked(n, name, true)
}

func (c *Crash) openLocked(n *inode, name string, writable bool) *crashFile {
	return &crashFile{fs: c, inode: n, path: cleanPath(name), writable: writable}
}

// Open opens a file or a directory for reading.
func (c *Crash) Open(name string, opts ...pebblevfs.OpenOption) (pebblevfs.File, error) {
	c.mu.Lock()
	n, err := c.lookupLocked("open", name)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	f := c.openLocked(n, name, false)
	for _, opt := range opts {
		opt.Apply(f)
	}
	return f, nil
}

// OpenReadWrite opens a file for reading and writing and creates it when it does not exist.
func (c *Crash) OpenReadWrite(
	name string, _ pebblevfs.DiskWriteCategory, opts ...pebblevfs.OpenOption,
) (pebblevfs.File, error) {
	f, err := c.openOrCreate(name)
	if err != nil {
		return nil, err
	}
	for _, opt := range opts {
		opt.Apply(f)
	}
	return f, nil
}

// OpenLog opens a file for positional reads and writes and creates it when it does not exist.
func (c *Crash) OpenLog(name string) (LogFile, error) {
	f, err := c.openOrCreate(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (c *Crash) openOrCreate(name string) (*crashFile, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parentLocked("open", name)
	if err != nil {
		return nil, err
	}
	n := dir.names[base]
	if n == nil {
		return c.createLocked(dir, name, base), nil
	}
	if n.dir {
		return nil, pathError("open", name, unix.EISDIR)
	}
	return c.openLocked(n, name, true), nil
}

// OpenDir opens a directory for syncing.
func (c *Crash) OpenDir(name string) (pebblevfs.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.lookupLocked("open", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("open", name, unix.ENOTDIR)
	}
	return c.openLocked(n, name, false), nil
}

// SyncDir makes the names in the directory durable.
func (c *Crash) SyncDir(dir string) error { return syncDir(c, dir) }

// ReadFile returns the content of a small file.
func (c *Crash) ReadFile(name string) ([]byte, error) { return readFile(c, name) }

// WriteFileAtomic replaces a small file.
func (c *Crash) WriteFileAtomic(name string, data []byte) error {
	return writeFileAtomic(c, name, data)
}

// Link gives a file a second name.
func (c *Crash) Link(oldname, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.lookupLocked("link", oldname)
	if err != nil {
		return err
	}
	dir, base, err := c.parentLocked("link", newname)
	switch {
	case err != nil:
		return err
	case n.dir:
		return pathError("link", oldname, unix.EPERM)
	case dir.names[base] != nil:
		return pathError("link", newname, unix.EEXIST)
	}
	c.changeLocked(&nameOp{inode: n, dir: dir, name: base})
	return nil
}

// Remove removes a file or an empty directory.
func (c *Crash) Remove(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parentLocked("remove", name)
	if err != nil {
		return err
	}
	n := dir.names[base]
	switch {
	case n == nil:
		return pathError("remove", name, unix.ENOENT)
	case len(n.names) > 0:
		return pathError("remove", name, unix.ENOTEMPTY)
	}
	c.changeLocked(&nameOp{inode: n, from: dir, fromName: base})
	return nil
}

// RemoveAll removes a file, or a directory with everything in it. A missing one is no error.
func (c *Crash) RemoveAll(name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	dir, base, err := c.parentLocked("remove", name)
	if err != nil {
		if isNotExist(err) {
			return nil
		}
		return err
	}
	if dir.names[base] != nil {
		c.removeAllLocked(dir, base)
	}
	return nil
}

// removeAllLocked removes what is below a name, in order, and the name. Its depth is bounded by
// that of the tree.
func (c *Crash) removeAllLocked(dir *inode, name string) {
	n := dir.names[name]
	for _, child := range sortedNames(n.names) {
		c.removeAllLocked(n, child)
	}
	c.changeLocked(&nameOp{inode: n, from: dir, fromName: name})
}

// Rename gives a file or directory another name. A file or an empty directory that has the new
// name already loses it in the same step.
func (c *Crash) Rename(oldname, newname string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renameLocked(oldname, newname)
}

func (c *Crash) renameLocked(oldname, newname string) error {
	from, fromBase, err := c.parentLocked("rename", oldname)
	if err != nil {
		return err
	}
	dir, base, err := c.parentLocked("rename", newname)
	if err != nil {
		return err
	}
	n, target := from.names[fromBase], dir.names[base]
	switch {
	case n == nil:
		return pathError("rename", oldname, unix.ENOENT)
	case n == target:
		return nil // two names of one file: as POSIX has it, nothing happens
	case n.dir && strings.HasPrefix(cleanPath(newname)+"/", cleanPath(oldname)+"/"):
		return pathError("rename", newname, unix.EINVAL)
	case target != nil && target.dir != n.dir:
		if target.dir {
			return pathError("rename", newname, unix.EISDIR)
		}
		return pathError("rename", newname, unix.ENOTDIR)
	case target != nil && len(target.names) > 0:
		return pathError("rename", newname, unix.ENOTEMPTY)
	}
	c.changeLocked(&nameOp{inode: n, dir: dir, name: base, from: from, fromName: fromBase})
	return nil
}

// ReuseForWrite renames a file and opens it for writing, its content in place.
func (c *Crash) ReuseForWrite(
	oldname, newname string, category pebblevfs.DiskWriteCategory,
) (pebblevfs.File, error) {
	if err := c.Rename(oldname, newname); err != nil {
		return nil, err
	}
	return c.OpenReadWrite(newname, category)
}

// MkdirAll makes a directory and those above it.
func (c *Crash) MkdirAll(name string, _ fs.FileMode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.dead {
		return pathError("mkdir", name, ErrCrashed)
	}
	dir := c.mu.root
	for part := range strings.SplitSeq(strings.TrimPrefix(cleanPath(name), "/"), "/") {
		if part == "" { // the root itself
			break
		}
		next := dir.names[part]
		if next == nil {
			next = c.newInodeLocked(true)
			c.changeLocked(&nameOp{inode: next, dir: dir, name: part})
		}
		if !next.dir {
			return pathError("mkdir", name, unix.ENOTDIR)
		}
		dir = next
	}
	return nil
}

// Lock locks a file, which it creates when missing. A power cut releases all locks.
func (c *Crash) Lock(name string) (io.Closer, error) {
	f, err := c.openOrCreate(name)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.inode.locked {
		return nil, pathError("lock", name, ErrLocked)
	}
	f.inode.locked = true
	return &crashLock{fs: c, inode: f.inode}, nil
}

// crashLock is a lock that is held.
type crashLock struct {
	fs    *Crash
	inode *inode
}

// Close releases the lock.
func (l *crashLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	l.inode.locked = false
	return nil
}

// List returns the names in a directory, in order.
func (c *Crash) List(name string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.lookupLocked("list", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("list", name, unix.ENOTDIR)
	}
	return sortedNames(n.names), nil
}

// Stat describes a file or directory.
func (c *Crash) Stat(name string) (pebblevfs.FileInfo, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.lookupLocked("stat", name)
	if err != nil {
		return nil, err
	}
	return infoLocked(n, path.Base(cleanPath(name))), nil
}

// PathBase returns the last part of a path.
func (*Crash) PathBase(name string) string { return filepath.Base(name) }

// PathJoin joins parts of a path.
func (*Crash) PathJoin(elem ...string) string { return filepath.Join(elem...) }

// PathDir returns all but the last part of a path.
func (*Crash) PathDir(name string) string { return filepath.Dir(name) }

// Unwrap returns nil: there is no file system below.
func (*Crash) Unwrap() pebblevfs.FS { return nil }
