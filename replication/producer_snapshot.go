package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	producerFile         = "producers"
	producerMagic        = "CHPS"
	producerFileVersion  = 1
	producerHeaderBytes  = 4 + 1 + 8 + 8 + 8 + 4
	producerStateBytes   = 8 + 2 + 8 + 8 + 8 + 8 + 1
	producerEntryBytes   = 4 + 4 + 1 + 8 + 8 + 8
	producerTrailerBytes = 4
)

// errNoSnapshot means that there is no usable snapshot: the window is rebuilt from the whole logs.
var errNoSnapshot = errors.New("no usable producer snapshot")

// snapshotPoint names what a snapshot of the window holds.
type snapshotPoint struct {
	ends           [2]batch.Offset // by logKind: every batch below is in the snapshot
	lastDeliveryMs clock.UnixMs    // the largest timestamp given to a delivery
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeProducers writes the window. The layout is in DESIGN.md; every number is big endian.
func encodeProducers(w *producerWindow, at snapshotPoint) []byte {
	be := binary.BigEndian
	out := make([]byte, 0, producerHeaderBytes+len(w.byID)*(producerStateBytes+5*producerEntryBytes)+4)
	out = append(out, producerMagic...)
	out = append(out, producerFileVersion)
	out = be.AppendUint64(out, uint64(at.ends[visible]))
	out = be.AppendUint64(out, uint64(at.ends[staging]))
	out = be.AppendUint64(out, uint64(at.lastDeliveryMs))
	out = be.AppendUint32(out, uint32(len(w.byID)))
	for id, s := range w.byID {
		out = be.AppendUint64(out, uint64(id))
		out = be.AppendUint16(out, uint16(s.epoch))
		out = be.AppendUint64(out, uint64(s.activeMs))
		out = be.AppendUint64(out, uint64(s.gate.ends[visible]))
		out = be.AppendUint64(out, uint64(s.gate.ends[staging]))
		out = be.AppendUint64(out, uint64(s.gate.nowEnd))
		out = append(out, byte(len(s.entries)))
		for _, e := range s.entries {
			out = be.AppendUint32(out, uint32(e.first))
			out = be.AppendUint32(out, uint32(e.last))
			out = append(out, byte(e.kind))
			out = be.AppendUint64(out, uint64(e.base))
			out = be.AppendUint64(out, uint64(e.end))
			out = be.AppendUint64(out, uint64(e.appendMs))
		}
	}
	return be.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

// decodeProducers reads what encodeProducers wrote. Anything else is errNoSnapshot: the snapshot is
// derived from the logs, so damage to it costs a longer start and nothing more.
func decodeProducers(p []byte) (*producerWindow, snapshotPoint, error) {
	var at snapshotPoint
	bad := func(why string) (*producerWindow, snapshotPoint, error) {
		return nil, at, fmt.Errorf("%w: %s", errNoSnapshot, why)
	}
	be := binary.BigEndian
	if len(p) < producerHeaderBytes+producerTrailerBytes || string(p[:4]) != producerMagic {
		return bad("it is too short or not a snapshot")
	}
	body := p[:len(p)-producerTrailerBytes]
	if crc32.Checksum(body, castagnoli) != be.Uint32(p[len(body):]) {
		return bad("its checksum is wrong")
	}
	if body[4] != producerFileVersion {
		return bad(fmt.Sprintf("its version is %d", body[4]))
	}
	at.ends[visible] = batch.Offset(be.Uint64(body[5:]))
	at.ends[staging] = batch.Offset(be.Uint64(body[13:]))
	at.lastDeliveryMs = clock.UnixMs(be.Uint64(body[21:]))
	count := be.Uint32(body[29:])
	body = body[producerHeaderBytes:]
	w := newProducerWindow()
	for range count {
		if len(body) < producerStateBytes {
			return bad("it ends within a producer")
		}
		id := batch.ProducerID(be.Uint64(body))
		s := &producerState{
			epoch:    batch.ProducerEpoch(be.Uint16(body[8:])),
			activeMs: clock.UnixMs(be.Uint64(body[10:])),
		}
		s.gate.ends[visible] = batch.Offset(be.Uint64(body[18:]))
		s.gate.ends[staging] = batch.Offset(be.Uint64(body[26:]))
		s.gate.nowEnd = batch.Offset(be.Uint64(body[34:]))
		entries := int(body[42])
		body = body[producerStateBytes:]
		if entries > producerWindowBatches || len(body) < entries*producerEntryBytes {
			return bad("a producer has too many batches")
		}
		for range entries {
			s.entries = append(s.entries, decodeEntry(body))
			body = body[producerEntryBytes:]
		}
		w.byID[id] = s
	}
	if len(body) != 0 {
		return bad("bytes follow the last producer")
	}
	return w, at, nil
}

func decodeEntry(p []byte) windowEntry {
	be := binary.BigEndian
	return windowEntry{
		first:    batch.Sequence(be.Uint32(p) & math.MaxInt32),
		last:     batch.Sequence(be.Uint32(p[4:]) & math.MaxInt32),
		kind:     logKind(p[8] & 1),
		base:     batch.Offset(be.Uint64(p[9:])),
		end:      batch.Offset(be.Uint64(p[17:])),
		appendMs: clock.UnixMs(be.Uint64(p[25:])),
		replayed: true,
	}
}

// readProducers reads the snapshot of a partition directory; errNoSnapshot if there is none.
func readProducers(fsys vfs.FS, dir string) (*producerWindow, snapshotPoint, error) {
	data, err := fsys.ReadFile(fsys.PathJoin(dir, producerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, snapshotPoint{}, fmt.Errorf("%w: there is none", errNoSnapshot)
	}
	if err != nil {
		return nil, snapshotPoint{}, fmt.Errorf("read producer snapshot in %s: %w", dir, err)
	}
	return decodeProducers(data)
}

// writeProducers replaces the snapshot of a partition directory.
func writeProducers(fsys vfs.FS, dir string, data []byte) error {
	if err := fsys.WriteFileAtomic(fsys.PathJoin(dir, producerFile), data); err != nil {
		return fmt.Errorf("write producer snapshot in %s: %w", dir, err)
	}
	return nil
}
