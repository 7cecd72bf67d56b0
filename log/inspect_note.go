package log

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// The names of the files in a log's folder that are no segments and no indexes.
const (
	NoteName   = noteName
	EpochsName = epochsName
)

// NoteSlot is one of the four places of a recovery-point note.
type NoteSlot struct {
	Position int64  // Position is its first byte in the file.
	Kind     string // Kind says when it is written: at a "checkpoint" or after a "flush".
	Intact   bool
	Newest   bool  // Newest says that this slot is the note.
	Err      error // Err says what is wrong with it; nil if it is intact or was never written.

	Sequence         uint64
	Start            Offset
	FlushedEnd       Offset
	RecoveryPoint    Offset
	RecoverySegment  Offset // RecoverySegment is the base offset of the recovery point's segment.
	RecoveryPosition int64  // RecoveryPosition is the recovery point's byte there.
	MaxTime          UnixMs // MaxTime is the greatest timestamp of that segment below it, or -1.
	FirstTime        UnixMs // FirstTime is the greatest one of that segment's first batch, or -1.
	IndexEntries     int
	TimeEntries      int
	// Vouched says that what lies beyond this note and the commit journal was never acknowledged.
	Vouched bool
	// JournalFrom is the first record of the commit journal that may say more than this note.
	JournalFrom uint64
}

// InspectNote reads a recovery-point file.
func InspectNote(fs vfs.FS, path string) ([]NoteSlot, error) {
	p, err := fs.ReadFile(path)
	if err != nil {
		return nil, err
	}
	slots, _, _ := readSlots(p)
	return slots, nil
}

// readSlots decodes the slots in the file's bytes, and says which state is the note.
func readSlots(p []byte) (slots []NoteSlot, newest noteState, found bool) {
	best := -1
	for i := range noteSlots {
		at := i * noteSlotBytes
		slot := NoteSlot{Position: int64(at), Kind: "checkpoint"}
		if i >= 2 {
			slot.Kind = "flush"
		}
		q := p[min(at, len(p)):min(at+noteSlotBytes, len(p))]
		if s, ok := decodeNote(q); ok {
			slot.fill(s)
			if best < 0 || s.seq > newest.seq {
				best, newest, found = i, s, true
			}
		} else {
			slot.Err = badSlot(q)
		}
		slots = append(slots, slot)
	}
	if found {
		slots[best].Newest = true
	}
	return slots, newest, found
}

func (slot *NoteSlot) fill(s noteState) {
	r := s.recovery
	slot.Intact = true
	slot.Sequence, slot.Start, slot.FlushedEnd = s.seq, s.start, s.flushed
	slot.RecoveryPoint, slot.RecoverySegment, slot.RecoveryPosition = r.offset, r.segment, r.pos
	slot.MaxTime, slot.FirstTime = r.maxTime, r.firstTime
	slot.IndexEntries, slot.TimeEntries = r.indexEntries, r.timeEntries
	slot.Vouched, slot.JournalFrom = s.vouched, uint64(s.journalFrom)
}

// badSlot says what is wrong with the bytes of a slot that is not intact. Zeros were never written.
func badSlot(p []byte) error {
	if len(p) < noteDataBytes {
		return fmt.Errorf("the file ends within the slot, after %d of its bytes", len(p))
	}
	for _, c := range p[:noteDataBytes] {
		if c != 0 {
			return errors.New("the slot's checksum or content is wrong")
		}
	}
	return nil
}

// EpochStart is one line of a leader-epochs file.
type EpochStart struct {
	Epoch LeaderEpoch
	Start Offset // Start is the log's end when the epoch began.
}

// InspectEpochs reads a leader-epochs file.
func InspectEpochs(fs vfs.FS, path string) ([]EpochStart, error) {
	p, err := fs.ReadFile(path)
	if err != nil {
		return nil, err
	}
	e, err := parseEpochs(p)
	if err != nil {
		return nil, fmt.Errorf("leader epochs %s: %w", path, err)
	}
	out := make([]EpochStart, len(e))
	for i, s := range e {
		out[i] = EpochStart{Epoch: s.epoch, Start: s.start}
	}
	return out, nil
}

// at returns the epoch in which a batch at an offset was written; known is false before the oldest
// start in the history, which forgets.
func (e epochs) at(o Offset) (epoch LeaderEpoch, known bool) {
	for i := len(e) - 1; i >= 0; i-- {
		if e[i].start <= o {
			return e[i].epoch, true
		}
	}
	return -1, false
}

// InspectTail returns how many bytes of segments an Open of the log in a folder would read: those
// at or past the recovery point, or all without a note.
func InspectTail(fs vfs.FS, dir string) (int64, error) {
	names, err := fs.List(dir)
	if err != nil {
		return 0, err
	}
	var at point
	p, err := fs.ReadFile(fs.PathJoin(dir, noteName))
	if err != nil && !isNotExist(err) {
		return 0, err
	}
	if _, state, found := readSlots(p); found {
		at = state.recovery
	}
	var sum int64
	for _, name := range names {
		base, ok := parseSegmentName(name)
		if !ok || base < at.segment {
			continue
		}
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return 0, err
		}
		sum += info.Size()
		if base == at.segment {
			sum -= min(at.pos, info.Size())
		}
	}
	return sum, nil
}
