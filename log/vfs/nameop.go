package vfs

// nameOp is one unsynced operation on directory entries: it gives an inode a name, takes a name
// away, or does both at once (a rename, which a power cut keeps or loses as a whole). Its fields
// belong to Crash.mu.
type nameOp struct {
	seq   uint64
	inode *inode

	dir  *inode // where the inode gets a name; nil for a removal
	name string

	from     *inode // where it loses one; nil for a new name
	fromName string

	done bool // durable, or out of reach
}

// nameTables is a set of directories' entries to which operations are applied.
type nameTables interface {
	set(dir *inode, name string, to *inode) // nil removes the name
}

// apply does the operation on t.
func (op *nameOp) apply(t nameTables) {
	if op.from != nil {
		t.set(op.from, op.fromName, nil)
	}
	if op.dir != nil {
		t.set(op.dir, op.name, op.inode)
	}
}

// joins reports whether the operation is a rename from one directory to another.
func (op *nameOp) joins() bool { return op.dir != nil && op.from != nil && op.dir != op.from }

// other returns the second directory of a rename between two.
func (op *nameOp) other(dir *inode) *inode {
	if op.dir == dir {
		return op.from
	}
	return op.dir
}

// durableTables are the durable entries of a crash file system.
type durableTables struct{ c *Crash }

func (t durableTables) set(dir *inode, name string, to *inode) {
	t.c.setNameLocked(dir.durableNames, name, to)
}

// cutTables are the entries after a power cut, copied from the durable ones where they differ.
type cutTables map[*inode]map[string]*inode

func (t cutTables) names(dir *inode) map[string]*inode {
	if names, ok := t[dir]; ok {
		return names
	}
	return dir.durableNames
}

func (t cutTables) set(dir *inode, name string, to *inode) {
	names, ok := t[dir]
	if !ok {
		names = make(map[string]*inode, len(dir.durableNames)+1)
		for k, v := range dir.durableNames {
			names[k] = v
		}
		t[dir] = names
	}
	if to == nil {
		delete(names, name)
		return
	}
	names[name] = to
}
