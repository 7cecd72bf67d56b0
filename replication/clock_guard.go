package replication

import (
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// trustsClock is asked by every schedule before it delivers.
func (m *Manager) trustsClock() bool {
	trusted, change := m.guard.Check()
	switch change {
	case clock.Jumped:
		m.o.Logger.Error("the clock has jumped ahead; deliveries wait until it agrees with the time"+
			" that has passed, or an operator accepts it", zap.Duration("jump", m.guard.Jump()),
			zap.Duration("maxClockJump", m.o.MaxClockJump))
	case clock.Agreed:
		m.o.Logger.Info("the clock agrees with the time that has passed again; deliveries go on")
	case clock.Unchanged:
	}
	return trusted
}

// AcceptClock trusts the clock as it is: what is due by it is delivered.
func (m *Manager) AcceptClock() {
	if jump := m.guard.Accept(); jump > 0 {
		m.o.Logger.Warn("an operator has accepted the clock; deliveries go on",
			zap.Duration("jump", jump))
	}
	for _, p := range m.partitions() {
		if s := p.stage.Load(); s != nil {
			s.schedule.Wake()
		}
	}
}
