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

	prev *nameOp // the operation by which a renamed inode had got its old name, if unsynced
	done bool    // durable, or overtaken by one that is
}

// nameTables is a set of directories' entries to which operations are applied.
type nameTables interface {
	get(dir *inode, name string) *inode
	set(dir *inode, name string, to *inode) // nil removes the name
}

// apply does the operation on t. The applied function tells which operations t contains already.
//
// A removal only takes away the inode that it took away at the time. A rename whose inode has not
// come to its old name yet, because the rename before was lost, takes it from where it is: a file
// never ends up under both names, as no journal lets it.
func (op *nameOp) apply(t nameTables, applied func(*nameOp) bool) {
	for o := op; o != nil && o.from != nil; o = o.prev {
		if t.get(o.from, o.fromName) == op.inode {
			t.set(o.from, o.fromName, nil)
		}
		if o.prev != nil && applied(o.prev) {
			break
		}
	}
	if op.dir != nil {
		t.set(op.dir, op.name, op.inode)
	}
}

// latestName returns the unsynced operation that gave the inode this name, or nil.
func latestName(dir *inode, name string, to *inode) *nameOp {
	for i := len(dir.pendingNames) - 1; i >= 0; i-- {
		op := dir.pendingNames[i]
		if !op.done && op.dir == dir && op.name == name && op.inode == to {
			return op
		}
	}
	return nil
}

// durableTables are the durable entries of a crash file system.
type durableTables struct{ c *Crash }

func (durableTables) get(dir *inode, name string) *inode { return dir.durableNames[name] }

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

func (t cutTables) get(dir *inode, name string) *inode { return t.names(dir)[name] }

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
