package journal

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// file is one file of the journal. Its fields belong to Journal.mu, but for what is constant and
// for what Commit alone touches while the file is the current one.
type file struct {
	path string
	slot uint32
	log  vfs.LogFile
	size int64 // when it was opened

	header header
	uneven bool     // whether the copies of the header differ: a new use was begun and not finished
	pos    int64    // where the next record goes; current file only, owned by Commit
	last   Sequence // of its newest record; 0 without one
}

// suffix ends the name of every file of a journal.
const suffix = ".journal"

// fileName returns the name of a file.
func fileName(slot uint32) string { return fmt.Sprintf("%04d%s", slot, suffix) }

// parseFileName returns the number in a name.
func parseFileName(name string) (slot uint32, ok bool) {
	var n uint32
	if _, err := fmt.Sscanf(name, "%04d"+suffix, &n); err != nil || fileName(n) != name {
		return 0, false
	}
	return n, true
}

// zeros is what new files are filled with.
var zeros = vfs.AlignedBuffer(1 << 20)

// fill writes the whole file with zeros and syncs it: a disk that is too full says so here.
func (f *file) fill(size int64) error {
	for pos := int64(0); pos < size; pos += int64(len(zeros)) {
		n := min(size-pos, int64(len(zeros)))
		if err := f.log.WriteDirect(zeros[:n], pos); err != nil {
			return fmt.Errorf("fill %s: %w", f.path, err)
		}
	}
	if err := f.log.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", f.path, err)
	}
	return nil
}

// begin makes a new use of the file durable. Its old records are none any more.
//
// One copy of the header is synced before the other one is touched, so that a crash leaves at
// least one whole. In a use that both copies know no crash brings the old one back.
func (f *file) begin(h header) error {
	block := vfs.AlignedBuffer(blockBytes)
	h.encode(block)
	for i := range int64(headerCopies) {
		if err := f.log.WriteDirect(block, i*blockBytes); err != nil {
			return fmt.Errorf("write the header of %s: %w", f.path, err)
		}
		if err := f.log.SyncData(); err != nil {
			return fmt.Errorf("sync the header of %s: %w", f.path, err)
		}
	}
	return nil
}

// use notes that the file has been begun.
func (f *file) use(h header) {
	f.header, f.pos, f.last = h, firstRecord, 0
}

// usable reports whether the file, once released, can be begun anew.
func (f *file) usable(o *Options) bool {
	return f.header.fileBytes == o.FileBytes && f.size == o.FileBytes
}

// loadHeader reads the header of a file: the newest whole copy. ok is false if there is none.
func (f *file) loadHeader() (ok bool, err error) {
	if f.size, err = f.log.Size(); err != nil {
		return false, fmt.Errorf("size of %s: %w", f.path, err)
	}
	block := make([]byte, headerBytes)
	f.uneven = false
	for i := range int64(headerCopies) {
		n, err := f.log.ReadAt(block, i*blockBytes)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read %s: %w", f.path, err)
		}
		h, whole, err := decodeHeader(block[:n])
		if errors.Is(err, errHeader) {
			return false, f.corrupt(i*blockBytes, "%w", err)
		}
		if err != nil {
			return false, fmt.Errorf("%s: %w", f.path, err)
		}
		whole = whole && h.slot == f.slot
		f.uneven = f.uneven || !whole || (ok && h != f.header)
		if whole && (!ok || h.generation > f.header.generation) {
			f.header, ok = h, true
		}
	}
	return ok, nil
}

// corrupt returns the error for damage at a byte of the file.
func (f *file) corrupt(pos int64, format string, args ...any) error {
	return &CorruptError{File: f.path, Position: pos, Err: fmt.Errorf(format, args...)}
}
