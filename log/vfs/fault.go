package vfs

import (
	"path"
	"strings"
	"time"
)

// Op is a kind of operation on a file system.
type Op int

// The kinds. A method that is made of others (SyncDir, ReadFile, WriteFileAtomic) counts as these.
const (
	OpAny      Op = iota // in a Fault: every kind
	OpOpen               // Open, OpenReadWrite, OpenLog, OpenDir
	OpCreate             // Create
	OpRead               // Read, ReadAt
	OpWrite              // Write, WriteAt, WriteDirect
	OpTruncate           // Truncate
	OpSync               // Sync and SyncData of a file
	OpSyncDir            // Sync of a directory
	OpRename             // Rename, ReuseForWrite; the path is the new one
	OpRemove             // Remove, RemoveAll
	OpLink               // Link; the path is the new one
	OpMkdir              // MkdirAll
	OpList               // List
	OpStat               // Stat, Size, GetDiskUsage
	OpLock               // Lock
	OpAllocate           // Allocate
	opCount
)

var opNames = [opCount]string{
	"any", "open", "create", "read", "write", "truncate", "sync", "syncdir", "rename", "remove",
	"link", "mkdir", "list", "stat", "lock", "allocate",
}

// String returns the kind's name.
func (o Op) String() string {
	if o < 0 || o >= opCount {
		return "unknown"
	}
	return opNames[o]
}

// Fault says which operations go wrong, and how. The zero Fault matches all and changes nothing.
//
// Some useful ones:
//
//	Fault{Op: OpSync, Glob: "*.log", Nth: 3, Times: 1, Err: ErrIO}
//	Fault{Op: OpRead, Err: ErrIO}
//	Fault{Op: OpWrite, Glob: "/data/index/*", Latency: 20 * time.Millisecond}
//
// A sync that fails does not reach the disk. Over a Crash, the bytes that it should have written
// then stay readable but never become durable, and the next sync succeeds all the same, as on
// Linux.
type Fault struct {
	Op   Op
	Glob string // for path.Match: with a slash for the cleaned path, else its last part; "" for all

	Nth   int // the first of the matching operations that is hit, from 1; 0 means 1
	Times int // how many are hit; 0 means all from the Nth on

	Before  func(path string) // called first, without locks; it may block
	Latency time.Duration     // waited next
	Err     error             // then returned instead of the operation; nil lets it go on
	Written int               // with Err, of a write: bytes that it writes nevertheless
}

// matches reports whether the fault is about such an operation.
func (f *Fault) matches(op Op, name string) bool {
	if f.Op != OpAny && f.Op != op {
		return false
	}
	if f.Glob == "" {
		return true
	}
	if !strings.Contains(f.Glob, "/") {
		name = path.Base(name)
	}
	ok, err := path.Match(f.Glob, name)
	return ok && err == nil // a malformed pattern was refused by Add
}

// scripted is a fault with the number of operations that it has matched.
type scripted struct {
	Fault
	seen int
}

// hit counts one matching operation and reports whether the fault hits it.
func (s *scripted) hit() bool {
	s.seen++
	first := max(s.Nth, 1)
	return s.seen >= first && (s.Times == 0 || s.seen < first+s.Times)
}
