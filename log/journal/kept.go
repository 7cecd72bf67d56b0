package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	keptMagic   uint32 = 0x434a4b31 // "CJK1"
	keptVersion uint32 = 1
	// keptHeaderBytes stand before the entries, of which the last 4 are the checksum.
	keptHeaderBytes = 32
	// keptFrameBytes stand before each entry.
	keptFrameBytes = 16
	// keptTemporary ends the name while the file is written; recovery of a log removes such files.
	keptTemporary = ".tmp"
)

// Keep copies every entry of a log into a file, durably, so that the files of the journal can be
// used again though the log could not be replayed. ReplayKept reads it. The file is there whole, or
// not at all; one that was there is replaced. Of a log without entries nothing is kept, and no file
// is made or touched. It is called before Recovered.
func (j *Journal) Keep(log, path string) error {
	if !j.hasEntries(log) {
		return nil
	}
	w := &keptWriter{fs: j.o.FS, path: path + keptTemporary, pos: keptHeaderBytes}
	w.confirmed = j.Confirmed()
	err := w.open()
	if err == nil {
		err = j.Replay(log, 0, w.add)
	}
	if err = w.finish(err); err != nil {
		return fmt.Errorf("keep the entries of log %q: %w", log, err)
	}
	if err := j.o.FS.Rename(w.path, path); err != nil {
		return fmt.Errorf("keep the entries of log %q: %w", log, err)
	}
	return j.o.FS.SyncDir(j.o.FS.PathDir(path))
}

// hasEntries says whether Replay has anything of a log.
func (j *Journal) hasEntries(log string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.mu.index[log]) > 0
}

// keptWriter is one Keep.
type keptWriter struct {
	fs      vfs.FS
	path    string
	file    vfs.LogFile
	pos     int64
	entries uint32
	frame   []byte

	confirmed Sequence
}

func (w *keptWriter) open() (err error) {
	if w.file, err = w.fs.OpenLog(w.path); err != nil {
		return err
	}
	return w.file.Truncate(0)
}

func (w *keptWriter) add(s Sequence, e Entry) error {
	be := binary.BigEndian
	p := append(w.frame[:0], make([]byte, keptFrameBytes)...)
	p = e.appendTo(p)
	w.frame = p
	be.PutUint32(p[4:], uint32(len(p)-keptFrameBytes))
	be.PutUint64(p[8:], uint64(s))
	be.PutUint32(p[0:], crc32.Checksum(p[4:], castagnoli))
	if _, err := w.file.WriteAt(p, w.pos); err != nil {
		return err
	}
	w.pos += int64(len(p))
	w.entries++
	return nil
}

// finish writes the header and makes the file durable, or removes it.
func (w *keptWriter) finish(err error) error {
	if w.file == nil {
		return err
	}
	if err == nil {
		_, err = w.file.WriteAt(keptHeader(w.pos, w.entries, w.confirmed), 0)
	}
	if err == nil {
		err = w.file.Sync()
	}
	if err = errors.Join(err, w.file.Close()); err != nil {
		err = errors.Join(err, w.fs.Remove(w.path))
	}
	return err
}

// keptHeader says how long the file is, how much is in it, and how far the journal was confirmed.
func keptHeader(size int64, entries uint32, confirmed Sequence) []byte {
	be := binary.BigEndian
	p := make([]byte, keptHeaderBytes)
	be.PutUint32(p[0:], keptMagic)
	be.PutUint32(p[4:], keptVersion)
	be.PutUint64(p[8:], uint64(size))
	be.PutUint32(p[16:], entries)
	be.PutUint64(p[20:], uint64(confirmed))
	be.PutUint32(p[28:], crc32.Checksum(p[:28], castagnoli))
	return p
}

// Kept says what is in a file that Keep has written.
type Kept struct {
	Found     bool     // Found says that there is a file.
	Entries   int      // Entries is how many there are.
	Last      Sequence // Last is the sequence of the last one.
	Confirmed Sequence // Confirmed is that of the journal then.
}

// ReplayKept passes on what Keep has written, from a sequence on, in order. The payload of an entry
// is valid until fn returns. Damage is a *CorruptError.
func ReplayKept(
	fsys vfs.FS, path string, from Sequence, fn func(s Sequence, e Entry) error,
) (k Kept, err error) {
	raw, err := fsys.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, err
	}
	f := &file{path: path, log: readOnly{raw}}
	defer func() { err = errors.Join(err, raw.Close()) }()
	if k, err = f.loadKept(); err != nil {
		return k, err
	}
	pos, frame := int64(keptHeaderBytes), []byte(nil)
	for range k.Entries {
		if frame, err = f.readKept(frame, pos); err != nil {
			return k, err
		}
		k.Last = Sequence(binary.BigEndian.Uint64(frame[8:]))
		e, rest, err := decodeEntry(frame[keptFrameBytes:])
		if err != nil || len(rest) > 0 {
			return k, f.corrupt(pos, "malformed entry, %d bytes too many: %w", len(rest), err)
		}
		pos += int64(len(frame))
		if k.Last < from {
			continue
		}
		if err := fn(k.Last, e); err != nil {
			return k, fmt.Errorf("replay kept entry of commit record %d: %w", k.Last, err)
		}
	}
	return k, nil
}

// loadKept reads the header of a file that Keep has written.
func (f *file) loadKept() (k Kept, err error) {
	if f.size, err = f.log.Size(); err != nil {
		return k, err
	}
	header := make([]byte, keptHeaderBytes)
	whole, err := readWhole(f, header, 0)
	if err != nil {
		return k, err
	}
	be := binary.BigEndian
	if v := be.Uint32(header[4:]); whole && be.Uint32(header) == keptMagic && v > keptVersion {
		return k, fmt.Errorf("%s: format version %d, this server knows %d; start the newer server",
			f.path, v, keptVersion)
	}
	entries, confirmed := be.Uint32(header[16:]), Sequence(be.Uint64(header[20:]))
	if !whole || string(header) != string(keptHeader(f.size, entries, confirmed)) {
		return k, f.corrupt(0, "the header is damaged, or the file was cut")
	}
	return Kept{Found: true, Entries: int(entries), Confirmed: confirmed}, nil
}

// readKept reads an entry and what stands before it, into buf if it fits.
func (f *file) readKept(buf []byte, pos int64) ([]byte, error) {
	head := make([]byte, keptFrameBytes)
	if err := readAgain(f, head, pos); err != nil {
		return nil, err
	}
	be := binary.BigEndian
	n := int64(be.Uint32(head[4:]))
	if n > RecordBytesMax || pos+keptFrameBytes+n > f.size {
		return nil, f.corrupt(pos, "an entry of %d bytes", n)
	}
	n += keptFrameBytes
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if err := readAgain(f, buf, pos); err != nil {
		return nil, err
	}
	if be.Uint32(buf) != crc32.Checksum(buf[4:], castagnoli) {
		return nil, f.corrupt(pos, "the checksum of an entry is wrong")
	}
	return buf, nil
}
