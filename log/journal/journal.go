package journal

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// keepBytes is how much of the memory for records is kept between commits.
const keepBytes = 4 << 20

// Journal is the commit journal of a data directory. Its methods may be called from any goroutine,
// Commit by one at a time.
type Journal struct {
	o        Options
	maker    sync.WaitGroup // of the goroutine that makes files
	counters counters
	marked   bool // the mark is there; until Recovered, which alone uses it

	commit struct { // one commit at a time; locked before mu
		sync.Mutex
		current     *file
		buf         []byte // aligned
		unconfirmed bool   // the newest record of this life has entries
	}

	mu struct { // short: never held during I/O, but by Recovered, when nobody else is about
		sync.Mutex
		changed *sync.Cond // told of every change that the maker or a commit may wait for

		files []*file // all there are
		ready []*file // begun, not used yet
		full  []*file // used up, oldest first, not released
		free  []*file // may be begun anew

		index     map[string][]ref // until Recovered
		confirmed Sequence         // the newest record without entries of an earlier life

		next       Sequence
		released   Sequence
		generation uint64 // the highest given to a file
		making     bool   // a file is being made or begun
		noRoom     bool   // there was none for another file; until a Release, or a commit that needs one
		recovered  bool
		closed     bool
		failed     error

		wanted chan struct{} // holds one value when files are getting short
	}
}

// CommitBytesMax is how many bytes of entries fit one commit.
func (j *Journal) CommitBytesMax() int {
	return int(min(RecordBytesMax, j.o.FileBytes-firstRecord-recordHeaderBytes))
}

// EntryBytes returns how much an entry adds to a commit, for the sum that CommitBytesMax bounds.
func EntryBytes(logName string, payloadBytes int) int {
	return entryHeaderBytes + len(logName) + payloadBytes
}

// Commit makes the entries durable, with one write and one fdatasync, and returns the sequence of
// their record. The payloads are the caller's again when it returns.
//
// Errors: ErrTooLarge, ErrFull, ErrNotRecovered, ErrClosed, and ErrFailed, which is final.
func (j *Journal) Commit(entries []Entry) (Sequence, error) {
	j.commit.Lock()
	defer j.commit.Unlock()
	body := 0
	for i := range entries {
		if err := entries[i].check(); err != nil {
			return 0, err
		}
		body += entries[i].encodedBytes()
	}
	if len(entries) == 0 {
		return 0, fmt.Errorf("commit of no entries")
	}
	if body > j.CommitBytesMax() {
		return 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, body, j.CommitBytesMax())
	}
	sequence, err := j.writeOwned(entries, body)
	if err != nil {
		return 0, err
	}
	j.commit.unconfirmed = true
	j.counters.commits.Add(1)
	j.counters.entries.Add(int64(len(entries)))
	return sequence, nil
}

// Confirm writes a record without entries behind the newest one that has some: that it was durable,
// and all that the caller has done for it, is no longer to be taken from the next commit only. It
// does nothing if that is so already. Errors are those of Commit.
func (j *Journal) Confirm() error {
	j.commit.Lock()
	defer j.commit.Unlock()
	if !j.commit.unconfirmed {
		return nil
	}
	if _, err := j.writeOwned(nil, 0); err != nil {
		return err
	}
	j.commit.unconfirmed = false
	j.counters.confirms.Add(1)
	return nil
}

// writeOwned makes a record durable. The caller owns commit.
func (j *Journal) writeOwned(entries []Entry, body int) (Sequence, error) {
	size := recordBytes(body)
	f, at, err := j.place(size)
	if err != nil {
		return 0, err
	}
	sequence := at.sequence
	at.bodyBytes, at.entries = body, len(entries)
	p := j.record(f, entries, at)
	if err := f.log.WriteDirect(p, f.pos); err != nil {
		return 0, j.fail(fmt.Errorf("write %s at byte %d: %w", f.path, f.pos, err))
	}
	if err := f.log.SyncData(); err != nil {
		// Not tried again: the kernel may have dropped the pages.
		return 0, j.fail(fmt.Errorf("fdatasync %s: %w", f.path, err))
	}
	f.pos += size
	j.counters.bodyBytes.Add(int64(body))
	j.counters.writtenBytes.Add(size)
	j.mu.Lock()
	defer j.mu.Unlock()
	f.last = sequence
	j.mu.next = sequence + 1
	return sequence, nil
}

// record builds a record in the buffer for it.
func (j *Journal) record(f *file, entries []Entry, h recordHeader) []byte {
	size := int(recordBytes(h.bodyBytes))
	if len(j.commit.buf) < size {
		j.commit.buf = vfs.AlignedBuffer(max(size, 64<<10))
	}
	buf := j.commit.buf
	if len(buf) > keepBytes {
		j.commit.buf = nil
	}
	p := buf[:recordHeaderBytes]
	for i := range entries {
		p = entries[i].appendTo(p)
	}
	putRecordHeader(p, h, f.header.salt)
	clear(buf[len(p):size])
	return buf[:size]
}

// place returns the file that has room for so many bytes, and what the record's header says of it
// and of the sequence. It waits for a file that is being made.
func (j *Journal) place(size int64) (*file, recordHeader, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.writableLocked(); err != nil {
		return nil, recordHeader{}, err
	}
	if f := j.commit.current; f != nil && f.pos+size <= f.header.fileBytes {
		return f, j.recordLocked(f), nil
	}
	if f := j.commit.current; f != nil {
		j.commit.current = nil
		j.mu.full = append(j.mu.full, f)
		j.freeLocked()
		j.mu.changed.Broadcast() // It may have become free at once, and the maker waits.
	}
	if len(j.mu.ready) == 0 {
		j.counters.waits.Add(1)
		if err := j.waitLocked(); err != nil {
			return nil, recordHeader{}, err
		}
	}
	f := j.mu.ready[0]
	j.mu.ready = j.mu.ready[1:]
	j.commit.current = f
	if 2*len(j.mu.full) >= j.o.FilesMax || len(j.mu.ready) == 0 && !j.canPrepareLocked() {
		j.wantLocked()
	}
	j.mu.changed.Broadcast()
	return f, j.recordLocked(f), nil
}

// recordLocked is the beginning of the header of the next record, which goes to f.
func (j *Journal) recordLocked(f *file) recordHeader {
	unreleased := min(uint64(j.mu.next-1-j.mu.released), math.MaxUint32)
	return recordHeader{
		generation: f.header.generation, sequence: j.mu.next, position: f.pos,
		unreleased: uint32(unreleased),
	}
}

// waitLocked waits until a file is ready. What had run out may be there again: each commit that
// needs a file has it tried once more.
func (j *Journal) waitLocked() error {
	for tried := false; len(j.mu.ready) == 0; {
		if err := j.writableLocked(); err != nil {
			return err
		}
		if !j.mu.making && j.mu.noRoom && !tried {
			tried, j.mu.noRoom = true, false
			j.mu.changed.Broadcast()
		}
		if !j.mu.making && !j.canPrepareLocked() {
			j.wantLocked()
			return fmt.Errorf("%w: %d files", ErrFull, len(j.mu.files))
		}
		if !j.o.Manual {
			j.mu.changed.Wait()
		} else if _, err := j.prepareLocked(); err != nil {
			return err
		}
	}
	return nil
}

// wantLocked tells the owner that files are getting short.
func (j *Journal) wantLocked() {
	select {
	case j.mu.wanted <- struct{}{}:
	default:
	}
}

// writableLocked returns why there are no commits, if there are none.
func (j *Journal) writableLocked() error {
	switch {
	case j.mu.closed:
		return fmt.Errorf("%s: %w", j.o.Dir, ErrClosed)
	case j.mu.failed != nil:
		return j.mu.failed
	case !j.mu.recovered:
		return fmt.Errorf("%s: %w", j.o.Dir, ErrNotRecovered)
	}
	return nil
}

// fail makes an error final.
func (j *Journal) fail(err error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failLocked(err)
}

func (j *Journal) failLocked(err error) error {
	if j.mu.failed == nil {
		j.mu.failed = fmt.Errorf("%w: %w", ErrFailed, err)
	}
	j.mu.changed.Broadcast()
	return j.mu.failed
}

// Next returns the sequence that the next commit gets.
func (j *Journal) Next() Sequence {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.next
}

// Wanted receives when files are getting short: the owner should drain the logs up to
// OldestFileEnd and Release it.
func (j *Journal) Wanted() <-chan struct{} { return j.mu.wanted }

// OldestFileEnd returns the last sequence of the oldest file that is full and not released; 0 if
// there is none.
func (j *Journal) OldestFileEnd() Sequence {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.mu.full) == 0 {
		return 0
	}
	return j.mu.full[0].last
}

// Release says that every entry with a sequence up to this one is durable in its segment. Files
// that have no other are used again.
func (j *Journal) Release(upTo Sequence) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mu.released = max(j.mu.released, min(upTo, j.mu.next-1))
	j.mu.noRoom = false
	j.freeLocked()
	j.mu.changed.Broadcast()
}

// freeLocked moves the full files that are released to the free ones.
func (j *Journal) freeLocked() {
	for len(j.mu.full) > 0 {
		f := j.mu.full[0]
		early := mutant.On(mutant.JournalRecycledEarly) && len(j.mu.ready) == 0
		if f.last > j.mu.released && !early {
			return
		}
		j.mu.free = append(j.mu.free, f)
		j.mu.full = j.mu.full[1:]
	}
}

// Close stops the journal. If everything has been released, the next Open will read no file.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.mu.closed {
		j.mu.Unlock()
		return fmt.Errorf("%s: %w", j.o.Dir, ErrClosed)
	}
	j.mu.closed = true
	j.mu.changed.Broadcast()
	j.mu.Unlock()
	j.maker.Wait()
	j.commit.Lock() // a commit that is under way ends first
	defer j.commit.Unlock()
	j.mu.Lock()
	clean := j.mu.recovered && j.mu.failed == nil && j.mu.released+1 == j.mu.next
	m := mark{next: j.mu.next, generation: j.mu.generation}
	files := slices.Clone(j.mu.files)
	j.mu.Unlock()
	// Without a failure, since the record of one that failed may be there to be replayed.
	var err error
	if clean {
		err = j.o.storeMark(m)
	}
	return errors.Join(err, closeAll(files))
}

// counters are the journal's figures.
type counters struct {
	commits, entries, confirms, bodyBytes, writtenBytes, waits, made, recycled atomic.Int64
}
