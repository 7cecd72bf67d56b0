package crash

import (
	"errors"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	journalDir       = "/data/journal"
	journalFileBytes = 16 << 10
	journalFilesMax  = 3
	undrainedBytes   = 64 << 10 // of memory, before logs are drained for it
	directBytes      = 900      // of a log in one commit, to go to its segment directly
)

// way is how what is appended comes to the disk.
type way int

const (
	plain     way = iota // through the page cache
	buffered             // held in memory until a flush
	journaled            // the same, and committed to the journal
)

func (w way) String() string { return [...]string{"plain", "buffered", "journaled"}[w] }

// nodeOptions are what all nodes of a history have in common.
type nodeOptions struct {
	way  way
	mode log.Mode
	// replays says that a start replays every log before it opens the first, and then has the journal
	// used again, as package replication does; else it opens them over the journal.
	replays bool
	salt    func() uint64
}

// node is the logs of one process and what joins them.
type node struct {
	journal   *journal.Journal // nil, unless journaled
	buffers   *log.Buffers     // nil if plain
	logs      [logCount]*log.Log
	members   [logCount]*log.Member
	committer *log.Committer
}

// openNode opens the logs on what there is. Whoever wants to hear of flushes gives flushed.
func openNode(fs vfs.FS, o nodeOptions, flushed func(i int, end log.Offset)) (*node, error) {
	n := &node{}
	if err := n.open(fs, o); err != nil {
		n.abandon()
		return nil, err
	}
	n.committer = log.NewCommitter(log.CommitterOptions{
		Mode: o.mode, Manual: true, Journal: n.journal, Buffers: n.buffers, DirectBytes: directBytes,
	})
	for i, l := range n.logs {
		n.members[i] = n.committer.Join(l, func(end log.Offset) {
			if flushed != nil {
				flushed(i, end)
			}
		})
	}
	return n, nil
}

func (n *node) open(fs vfs.FS, o nodeOptions) (err error) {
	if o.way == journaled {
		// The data directory's own name is its owner's to make durable.
		if err := firstOf(fs.MkdirAll("/data", 0o750), fs.SyncDir("/")); err != nil {
			return err
		}
		n.journal, err = journal.Open(journal.Options{
			FS: fs, Dir: journalDir, FileBytes: journalFileBytes, FilesMax: journalFilesMax, Manual: true,
			Salt: o.salt,
		})
		if err != nil {
			return err
		}
	}
	if o.way != plain {
		n.buffers, err = log.NewBuffers(log.BuffersOptions{UndrainedBytesMax: undrainedBytes, RecentBytesMax: 8 << 10})
		if err != nil {
			return err
		}
	}
	if n.journal != nil && o.replays {
		for _, name := range n.journal.Logs() {
			if err := log.Replay("/data/"+name, log.Options{FS: fs, Journal: n.journal, Name: name}); err != nil {
				return err
			}
		}
		if err := n.journal.Recovered(); err != nil {
			return err
		}
	}
	for i := range n.logs {
		n.logs[i], err = log.Open(logDir(i), log.Options{
			FS: fs, SegmentBytes: segmentBytes, IndexIntervalBytes: indexBytes, Buffers: n.buffers,
			Journal: n.journal, Name: logName(i),
		})
		if err != nil {
			return err
		}
	}
	if n.journal != nil {
		return n.journal.Recovered() // a second time it does nothing
	}
	return nil
}

// abandon lets go of the files of a node whose process is dead.
func (n *node) abandon() {
	for _, l := range n.logs {
		if l != nil {
			_ = l.Close() // its file system fails, or nobody looks at it any more
		}
	}
	if n.journal != nil {
		_ = n.journal.Close() // the same
	}
}

// close stops the node as an operator does.
func (n *node) close() (err error) {
	for i, l := range n.logs {
		n.members[i].Leave()
		err = errors.Join(err, l.Close())
	}
	err = errors.Join(err, n.committer.Close())
	if n.journal != nil {
		err = errors.Join(err, n.journal.Close())
	}
	return err
}
