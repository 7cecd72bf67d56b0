package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/journal"
)

const (
	// journalFiles is how many files the commit journal has at most: enough that one is always
	// free while the segments get what the others hold.
	journalFiles    = 8
	journalBytesMin = journalFiles * 64 << 10
	journalBytesMax = journalFiles * 1 << 30
	journalAlign    = 4096
)

// openJournal opens the commit journal and brings every log up to what it holds, whether or not its
// partition can be opened later: from then on the journal is free for new commits.
//
// In periodic mode there is no journal, but an earlier start in another mode may have left one.
func (m *Manager) openJournal() error {
	dir := m.o.FS.PathJoin(m.o.DataDir, journalDir)
	if m.o.FsyncMode == log.Periodic {
		_, err := m.o.FS.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for the commit journal: %w", err)
		}
	}
	j, err := journal.Open(journal.Options{
		FS: m.o.FS, Dir: dir, FileBytes: m.o.JournalBytes / journalFiles &^ (journalAlign - 1),
		FilesMax: journalFiles, Manual: m.o.Manual, Logger: m.o.Logger,
	})
	if err != nil {
		return err
	}
	if err := m.replay(j); err != nil {
		return errors.Join(err, j.Close())
	}
	if m.o.FsyncMode == log.Periodic {
		return j.Close()
	}
	m.journal = j
	if err := j.Recovered(); err != nil {
		return err
	}
	m.buffers, err = log.NewBuffers(log.BuffersOptions{})
	return err
}

// replay brings the logs up to what the journal has of them.
func (m *Manager) replay(j *journal.Journal) error {
	names := j.Logs()
	if len(names) == 0 {
		return nil
	}
	progress := newOpenProgress(&m.o, OpenReplay, len(names))
	var group errgroup.Group
	group.SetLimit(openParallelMax)
	if m.o.Manual {
		group.SetLimit(1)
	}
	for _, name := range names {
		group.Go(func() error {
			err := m.replayLog(j, name)
			progress.done(name, 0)
			return err
		})
	}
	err := group.Wait()
	m.o.Logger.Info("replayed the commit journal", zap.Int("logs", len(names)),
		zap.Duration("took", m.o.Clock.Now().Sub(progress.began)), zap.Error(err))
	return err
}

// replayLog is replay for one log. A log whose folder is gone is of a deleted topic.
func (m *Manager) replayLog(j *journal.Journal, name string) error {
	dir := m.o.FS.PathJoin(append([]string{m.o.DataDir}, strings.Split(name, "/")...)...)
	if _, err := m.o.FS.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%w: log %s: %w", log.ErrNotReplayed, name, err)
	}
	return log.Replay(dir, log.Options{FS: m.o.FS, Journal: j, Name: name, Logger: m.o.Logger})
}
