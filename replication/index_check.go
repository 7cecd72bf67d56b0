package replication

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer"
)

// CheckIndex rebuilds every partition's schedule index from its two logs, in a scratch folder, and
// compares it with the one that was kept step by step. The manager must be idle. Only for a Manual
// manager: an index that is being changed cannot be compared.
func (m *Manager) CheckIndex(scratch string) (err error) {
	index, err := timer.OpenIndex(m.o.FS, scratch, m.o.Logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, index.Close(), m.o.FS.RemoveAll(scratch)) }()
	for _, p := range m.partitions() {
		if s := p.stage.Load(); s != nil {
			if err := p.checkIndex(s, index); err != nil {
				return fmt.Errorf("index of partition %s: %w", p.Name(), err)
			}
		}
	}
	return nil
}

// noSink refuses everything: a schedule that is only compared must not append.
type noSink struct{}

// Deliver always fails.
func (noSink) Deliver(batch.Batch, func() bool) (batch.Offset, error) { return 0, ErrClosed }

// Command always fails.
func (noSink) Command(batch.Batch) (batch.Offset, error) { return 0, ErrClosed }

func (p *Partition) checkIndex(s *stage, scratch timer.Index) error {
	rebuilt, err := timer.Open(timer.Options{
		Partition: timer.PartitionNumber(p.number), Staging: s.log, Visible: p.log,
		Index: scratch, Clock: p.deps.o.Clock, Sink: noSink{}, Manual: true,
	})
	if err != nil {
		return err
	}
	want, err := dump(rebuilt)
	if err != nil {
		return err
	}
	got, err := dump(s.schedule)
	if err != nil {
		return err
	}
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%w: it lacks the pending record %+v", ErrDisagree, want[i])
		case i >= len(want):
			return fmt.Errorf("%w: it holds %+v, which is not pending", ErrDisagree, got[i])
		case got[i] != want[i]:
			return fmt.Errorf("%w: entry %d is %+v, rebuilt it is %+v", ErrDisagree, i, got[i], want[i])
		}
	}
	return rebuilt.Close()
}

func dump(s *timer.Schedule) ([]timer.Entry, error) {
	var all []timer.Entry
	err := s.Dump(func(e timer.Entry) bool {
		all = append(all, e)
		return true
	})
	return all, err
}
