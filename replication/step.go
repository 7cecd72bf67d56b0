package replication

import (
	"github.com/chronosdb/chronosdb/timer/clock"
)

// stepsMax bounds RunUntilIdle: a schedule that never becomes idle is a bug, not a long test.
const stepsMax = 1_000_000

// CommitOnce runs one group commit. Only for a Manual manager.
func (m *Manager) CommitOnce() error {
	_, err := m.committer.CommitOnce()
	return err
}

// DeliverOnce runs one turn of every schedule and reports whether any did something. Only for a
// Manual manager.
func (m *Manager) DeliverOnce() (worked bool, err error) {
	for _, p := range m.partitions() {
		s := p.stage.Load()
		if s == nil {
			continue
		}
		w, err := s.schedule.RunOnce()
		if err != nil {
			return worked, err
		}
		worked = worked || w
	}
	return worked, nil
}

// RunUntilIdle commits and delivers until there is nothing left to do at the clock's present time.
// Only for a Manual manager.
func (m *Manager) RunUntilIdle() error {
	for range stepsMax {
		if err := m.CommitOnce(); err != nil {
			return err
		}
		worked, err := m.DeliverOnce()
		if err != nil {
			return err
		}
		if !worked {
			return m.CommitOnce()
		}
	}
	return nil
}

// Retain runs retention once over all partitions, with their settlements. Only for a Manual
// manager.
func (m *Manager) Retain() error {
	now := clock.ToMs(m.o.Clock.Now())
	for _, p := range m.partitions() {
		if err := p.enforceRetention(now, nil); err != nil {
			return err
		}
	}
	return nil
}

// CompactAll compacts every partition that is due. Only for a Manual manager.
func (m *Manager) CompactAll() { m.cleaner.cleanAll() }

// CheckpointAll moves every partition's recovery points. Only for a Manual manager.
func (m *Manager) CheckpointAll() error {
	for _, p := range m.partitions() {
		if err := p.checkpoint(); err != nil {
			return err
		}
	}
	return m.index.Flush()
}

// FlushIndex makes the schedule index durable as it is. Only for a Manual manager: otherwise the
// index does so by itself.
func (m *Manager) FlushIndex() error { return m.index.Flush() }
