package timer

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Verb is what a command does to a pending record.
type Verb uint8

// The verbs of this version.
const (
	// VerbNext: the recurring record was delivered, and is due again at Due.
	VerbNext Verb = 1
	// VerbEnd: the recurring record was delivered for the last time.
	VerbEnd Verb = 2
	// VerbExpire: the record was not delivered by its expiry, and never will be.
	VerbExpire Verb = 3

	// The following are an operator's.

	// VerbCancel: the record goes; of a recurring one, all that would have come.
	VerbCancel Verb = 4
	// VerbMove: the record is due at Due. Of a recurring one only this occurrence moves: the next
	// is computed from the time that this one was scheduled for.
	VerbMove Verb = 5
	// VerbPause: nothing is delivered any more. It names no record.
	VerbPause Verb = 6
	// VerbResume: deliveries go on. It names no record.
	VerbResume Verb = 7
)

// isSteering says whether the verb is an operator's.
func (v Verb) isSteering() bool { return v >= VerbCancel && v <= VerbResume }

// HasDue says whether a command of the verb has a Due.
func (v Verb) HasDue() bool { return v == VerbNext || v == VerbMove }

// String returns the verb's name.
func (v Verb) String() string {
	switch v {
	case VerbNext:
		return "next"
	case VerbEnd:
		return "end"
	case VerbExpire:
		return "expire"
	case VerbCancel:
		return "cancel"
	case VerbMove:
		return "move"
	case VerbPause:
		return "pause"
	case VerbResume:
		return "resume"
	default:
		return fmt.Sprintf("Verb(%d)", uint8(v))
	}
}

// Command is one line of a command batch: what the leader or an operator decided about a record
// after it was staged. A command takes effect where it stands in the staging log. One whose record
// is not there any more does nothing: it was cancelled or replaced while the command was on its
// way.
type Command struct {
	Verb Verb
	Key  Key    // of the record, as the index has it
	Due  UnixMs // VerbNext: when the next occurrence is due; VerbMove: when the record is
	ID   []byte // of the record; empty: it has none
}

const (
	commandsVersion = 1
	// commandBytesMin is the smallest encoded command, which bounds a count by the bytes there are.
	commandBytesMin = 6
	// commandIDMax bounds an id.
	commandIDMax = math.MaxUint8
)

// BuildCommands returns a command batch, stamped with the time now.
func BuildCommands(now UnixMs, commands []Command) batch.Batch {
	value := make([]byte, 0, 16+48*len(commands))
	value = append(value, commandsVersion)
	value = binary.AppendUvarint(value, uint64(len(commands)))
	for i := range commands {
		c := &commands[i]
		value = append(value, byte(c.Verb))
		value = binary.AppendVarint(value, int64(c.Key.Due))
		value = binary.AppendUvarint(value, uint64(c.Key.Epoch))
		value = binary.AppendUvarint(value, uint64(c.Key.Offset))
		value = binary.AppendUvarint(value, uint64(c.Key.Occurrence))
		value = binary.AppendUvarint(value, uint64(len(c.ID)))
		value = append(value, c.ID...)
		if c.Verb.HasDue() {
			value = binary.AppendVarint(value, int64(c.Due))
		}
	}
	return sealValue(batch.KindCommand, now, value)
}

// commandsOf reads a command batch whose CRC was checked. Ids alias b.
func commandsOf(b batch.Batch) ([]Command, error) {
	v, err := valueOfKind(b, batch.KindCommand)
	if err != nil {
		return nil, fmt.Errorf("%w: staging offset %d: %w", ErrBadCommand, b.BaseOffset(), err)
	}
	bad := func() ([]Command, error) {
		return nil, fmt.Errorf("%w: staging offset %d; start the version that wrote it, or a newer one",
			ErrBadCommand, b.BaseOffset())
	}
	if len(v) < 2 || v[0] != commandsVersion {
		return bad()
	}
	d := varintReader{p: v[1:]}
	commands := make([]Command, d.unsigned(uint64(len(v))/commandBytesMin))
	for i := range commands {
		c := &commands[i]
		c.Verb = Verb(d.one())
		c.Key.Due = UnixMs(d.signed())
		c.Key.Epoch = batch.LeaderEpoch(d.unsigned(math.MaxInt32))
		c.Key.Offset = Offset(d.unsigned(math.MaxInt64))
		c.Key.Occurrence = Occurrence(d.unsigned(math.MaxInt32))
		c.ID = d.text(commandIDMax)
		if c.Verb < VerbNext || c.Verb > VerbResume {
			return bad()
		}
		if c.Verb.HasDue() {
			c.Due = UnixMs(d.signed())
		}
	}
	if d.bad || len(d.p) != 0 {
		return bad()
	}
	return commands, nil
}

// hasSteering says whether there are an operator's commands in a command batch.
func hasSteering(b batch.Batch) (bool, error) {
	commands, err := commandsOf(b)
	for i := range commands {
		if commands[i].Verb.isSteering() {
			return true, err
		}
	}
	return false, err
}
