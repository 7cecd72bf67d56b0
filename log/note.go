package log

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	noteName = "recovery-point"

	noteMagic       uint32 = 0x43524e32 // "CRN2"
	noteMagicOld    uint32 = 0x43524e31 // "CRN1": without the journal's fields
	noteSlots              = 4          // 0 and 1: synced at checkpoints; 2 and 3: after flushes
	noteSyncedSlots        = 2
	noteSlotBytes          = 512 // one sector, so that a power cut tears one slot at most
	noteDataBytes          = 100 // of which the last 4 are the checksum
	noteOldBytes           = 88  // the same of the old layout
	noteFileBytes          = noteSlots * noteSlotBytes

	// noteVouched is the flag of noteState.vouched.
	noteVouched uint32 = 1
)

// noteState is what the note says. Every value was true when it was written; only Truncate makes
// an older one untrue, and Truncate syncs a newer one first.
type noteState struct {
	seq      uint64 // counts the writes; the intact slot with the highest one is the note
	start    Offset
	flushed  Offset // everything below was synced
	recovery point

	// vouched says that nothing was acknowledged but what this note or the journal vouches for: what
	// lies beyond is cut, even if it looks whole. It is false for a log written through the page
	// cache, and in notes of the old layout.
	vouched bool
	// journalFrom is the first journal sequence that may say more than this note.
	journalFrom journal.Sequence
}

// point is a batch boundary from which a log can be recovered, with what Open needs to know of
// the segment before it.
type point struct {
	offset       Offset
	segment      Offset // base offset of the segment
	pos          int64  // position in that segment
	maxTime      UnixMs // greatest timestamp of that segment below the point
	firstTime    UnixMs // greatest timestamp of that segment's first batch
	indexEntries int    // entries of the offset index below the point
	timeEntries  int    // entries of the time index at or below it
}

// encode returns the slot's bytes.
func (n noteState) encode() []byte {
	p := make([]byte, noteSlotBytes)
	be := binary.BigEndian
	be.PutUint32(p[0:], noteMagic)
	be.PutUint64(p[4:], n.seq)
	be.PutUint64(p[12:], uint64(n.start))
	be.PutUint64(p[20:], uint64(n.flushed))
	be.PutUint64(p[28:], uint64(n.recovery.offset))
	be.PutUint64(p[36:], uint64(n.recovery.segment))
	be.PutUint64(p[44:], uint64(n.recovery.pos))
	be.PutUint64(p[52:], uint64(n.recovery.maxTime))
	be.PutUint64(p[60:], uint64(n.recovery.firstTime))
	be.PutUint64(p[68:], uint64(n.recovery.indexEntries))
	be.PutUint64(p[76:], uint64(n.recovery.timeEntries))
	if n.vouched {
		be.PutUint32(p[84:], noteVouched)
	}
	be.PutUint64(p[88:], uint64(n.journalFrom))
	be.PutUint32(p[96:], crc32.Checksum(p[:96], castagnoli))
	return p
}

// decodeNote returns the state in a slot, if the slot is intact and makes sense.
func decodeNote(p []byte) (noteState, bool) {
	be := binary.BigEndian
	if len(p) < noteDataBytes {
		return noteState{}, false
	}
	size := noteDataBytes
	if be.Uint32(p) == noteMagicOld {
		size = noteOldBytes
	} else if be.Uint32(p) != noteMagic {
		return noteState{}, false
	}
	if sum := size - 4; be.Uint32(p[sum:]) != crc32.Checksum(p[:sum], castagnoli) {
		return noteState{}, false
	}
	n := noteState{
		seq:     be.Uint64(p[4:]),
		start:   Offset(be.Uint64(p[12:])),
		flushed: Offset(be.Uint64(p[20:])),
		recovery: point{
			offset:       Offset(be.Uint64(p[28:])),
			segment:      Offset(be.Uint64(p[36:])),
			pos:          int64(be.Uint64(p[44:])),
			maxTime:      UnixMs(be.Uint64(p[52:])),
			firstTime:    UnixMs(be.Uint64(p[60:])),
			indexEntries: int(be.Uint64(p[68:])),
			timeEntries:  int(be.Uint64(p[76:])),
		},
	}
	if size == noteDataBytes {
		n.vouched = be.Uint32(p[84:])&noteVouched != 0
		n.journalFrom = journal.Sequence(be.Uint64(p[88:]))
	}
	r := n.recovery
	sane := n.start >= 0 && r.segment >= 0 && r.segment <= r.offset && r.offset <= n.flushed &&
		n.start <= n.flushed && r.pos >= 0 && r.indexEntries >= 0 && r.timeEntries >= 0
	return n, sane
}

// note is the open recovery-point file. Log.flushing owns it.
type note struct {
	file   vfs.LogFile
	state  noteState // as last written
	synced noteState // as last synced
	turns  [2]int    // which of the two slots comes next: for checkpoints, for flushes
	rotten bool      // it was found with bytes in it, and with no slot intact
}

// loadNote opens the note and returns its state. found is false when no slot is intact.
func loadNote(fs vfs.FS, dir string) (n *note, found bool, err error) {
	path := fs.PathJoin(dir, noteName)
	f, err := fs.OpenLog(path)
	if err != nil {
		return nil, false, fmt.Errorf("open note %s: %w", path, refused(err))
	}
	n = &note{file: f}
	p := make([]byte, noteFileBytes)
	had, err := f.ReadAt(p, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, false, errors.Join(fmt.Errorf("read note %s: %w", path, refused(err)), f.Close())
	}
	var seqs [noteSlots]uint64 // 0: not intact
	for i := range noteSlots {
		s, ok := decodeNote(p[i*noteSlotBytes : (i+1)*noteSlotBytes])
		if !ok {
			continue
		}
		seqs[i] = s.seq
		if !found || s.seq > n.state.seq {
			n.state, found = s, true
		}
	}
	// The older slot of each kind is overwritten first. The newest flush note may be in the page
	// cache only, so the newer checkpoint must stay whole while the next one is written.
	for kind := range n.turns {
		if seqs[2*kind] > seqs[2*kind+1] {
			n.turns[kind] = 1
		}
	}
	n.synced = n.state
	n.rotten = !found && had > 0
	return n, found, nil
}

// write writes the state into the next slot of its kind. Unsynced, it survives the end of the
// process; a power cut may take it back to an older one.
func (n *note) write(s noteState, sync bool) error {
	kind := 1
	if sync {
		kind = 0
	}
	s.seq = n.state.seq + 1
	slot := 2*kind + n.turns[kind]
	n.turns[kind] = 1 - n.turns[kind]
	if _, err := n.file.WriteAt(s.encode(), int64(slot*noteSlotBytes)); err != nil {
		return fmt.Errorf("write note: %w", err)
	}
	n.state = s
	if !sync {
		return nil
	}
	if err := n.file.SyncData(); err != nil {
		return fmt.Errorf("sync note: %w", err)
	}
	n.synced = s
	return nil
}

// create fills a new note: all of it is written, so that later writes need no space. One that
// exists keeps its slots.
func (n *note) create(s noteState, exists bool) error {
	if exists {
		return n.write(s, true)
	}
	if _, err := n.file.WriteAt(make([]byte, noteFileBytes), 0); err != nil {
		return fmt.Errorf("write note: %w", err)
	}
	n.turns = [2]int{}
	return n.write(s, true)
}
