package log

import (
	"errors"

	"github.com/chronosdb/chronosdb/log/journal"
)

// compactNode is what a log of a server has around it: a commit journal, whose entries must not
// bring back what was compacted, buffers and the committer.
type compactNode struct {
	fileBytes int64
	journal   *journal.Journal
	committer *Committer
	member    *Member
}

// open opens the journal, before the log.
func (n *compactNode) open(m *compactModel) error {
	if err := makeDir(m.faulty, "/data"); err != nil {
		return err
	}
	var err error
	n.journal, err = journal.Open(journal.Options{
		FS: m.faulty, Dir: "/data/journal", FileBytes: n.fileBytes, FilesMax: 2 + m.rng.IntN(3),
		Manual: true, Salt: m.rng.Uint64,
	})
	m.o.Journal, m.o.Name = n.journal, "p"
	m.o.Buffers = testBuffers(m.t, int64(m.rng.IntN(64<<10)))
	return err
}

// join opens the committer, when the log is open.
func (n *compactNode) join(m *compactModel, l *Log) error {
	if err := n.journal.Recovered(); err != nil {
		return err
	}
	n.committer = NewCommitter(CommitterOptions{
		Manual: true, DirectBytes: int64(1 + m.rng.IntN(2000)), Journal: n.journal, Buffers: m.o.Buffers,
	})
	n.member = n.committer.Join(l, func(end Offset) { m.acked = max(m.acked, end) })
	return nil
}

// flush makes durable what was appended: by the journal, mostly.
func (m *compactModel) flush() error {
	if m.node == nil || m.rng.IntN(4) == 0 {
		_, err := m.log.Flush()
		return err
	}
	m.node.member.Dirty()
	_, err := m.node.committer.CommitOnce()
	return err
}

// close closes the log and what is around it.
func (m *compactModel) close() error {
	n := m.node
	if n == nil {
		return m.log.Close()
	}
	n.member.Leave()
	if err := m.log.Close(); err != nil {
		return err
	}
	return errors.Join(n.committer.Close(), n.journal.Close())
}
