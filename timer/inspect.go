package timer

import (
	"fmt"
	"strings"

	"github.com/chronosdb/chronosdb/log/batch"
)

// String returns the action's name.
func (a Action) String() string {
	switch a {
	case ActionDeliver:
		return "deliver"
	case ActionCancel:
		return "cancel"
	default:
		return fmt.Sprintf("Action(%d)", uint8(a))
	}
}

// String returns the flags' names.
func (f DecisionFlags) String() string {
	var names []string
	for _, flag := range []struct {
		bit  DecisionFlags
		name string
	}{{FlagControl, "control"}, {FlagDueNow, "due-now"}} {
		if f&flag.bit != 0 {
			names = append(names, flag.name)
			f &^= flag.bit
		}
	}
	if f != 0 {
		names = append(names, fmt.Sprintf("%#x", uint8(f)))
	}
	return strings.Join(names, ",")
}

// String returns the fate's name.
func (f Fate) String() string {
	switch f {
	case FateDelivered:
		return "delivered"
	default:
		return fmt.Sprintf("Fate(%d)", uint8(f))
	}
}

// StagedRecord is one record of a staged batch, with what was decided about it.
type StagedRecord struct {
	Position Position
	Decision Decision
	// Record is as it lies in the staging log: its last header is the decision.
	Record batch.Record
}

// InspectStaged calls fn for every record of a staged batch whose CRC was checked. Each record's
// own checksum is checked as well: a delivery believes nothing else.
func InspectStaged(b batch.Batch, fn func(r StagedRecord) error) error {
	w := walkStaged(b)
	for {
		e, _, ok, err := w.next()
		if err != nil || !ok {
			return err
		}
		rec := b[e.At : e.At+e.Length]
		d, err := checkRecord(rec)
		if err != nil {
			return fmt.Errorf("staging offset %d: %w", e.Position.Offset, err)
		}
		r, _, err := batch.ParseRecord(rec)
		if err != nil {
			return fmt.Errorf("staging offset %d: %w", e.Position.Offset, err)
		}
		if err := fn(StagedRecord{Position: e.Position, Decision: d, Record: r}); err != nil {
			return err
		}
	}
}

// SettledRange is a run of consecutive staging offsets with one fate.
type SettledRange struct {
	Epoch       batch.LeaderEpoch
	First, Last Offset // staging offsets, both included
	Occurrence  Occurrence
	Fate        Fate
}

// InspectSettlement reads a settlement batch whose CRC was checked: the partition-log offset below
// which every delivery has a settlement, and what became of which staged records.
func InspectSettlement(b batch.Batch) (settledTo Offset, ranges []SettledRange, err error) {
	s, err := settlementOf(b)
	if err != nil {
		return 0, nil, err
	}
	for _, r := range s.ranges {
		ranges = append(ranges, SettledRange{
			Epoch: r.epoch, First: r.first, Last: r.last, Occurrence: r.occurrence, Fate: r.fate,
		})
	}
	return s.settledTo, ranges, nil
}

// InspectCommands reads a command batch whose CRC was checked.
func InspectCommands(b batch.Batch) ([]Command, error) { return commandsOf(b) }
