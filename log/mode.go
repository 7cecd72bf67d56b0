package log

import "fmt"

// Mode says when an appended batch is made durable, and so when it can be acknowledged.
type Mode int8

// The modes, as in --fsync-mode.
const (
	// Batch is group commit: one flush covers all that has come in while the last one ran.
	Batch Mode = iota
	// EveryEvent gives each append a commit of its own.
	EveryEvent
	// Periodic flushes at an interval. Whoever acknowledges before it can lose that much.
	Periodic
)

var modeNames = [...]string{Batch: "batch", EveryEvent: "every_event", Periodic: "periodic"}

// String returns the mode's name, as ParseMode reads it.
func (m Mode) String() string {
	if m < 0 || int(m) >= len(modeNames) {
		return fmt.Sprintf("mode(%d)", int8(m))
	}
	return modeNames[m]
}

// ParseMode returns the mode of that name.
func ParseMode(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("fsync mode %q; write batch, every_event or periodic", name)
}
