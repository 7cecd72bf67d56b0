package journal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
)

// markName is the file that says that the journal was closed with nothing to replay in it. Its
// only use is that the next Open need not read the files.
const markName = "clean"

// mark is the content of that file.
type mark struct {
	next       Sequence
	generation uint64 // the highest so far
}

const (
	markFormat    = "chronos journal 1, next sequence %d, generation %d\n"
	markSumFormat = "crc32c %08x\n"
)

// encode returns the content of the file. Its checksum matters: a wrong number that can be read
// would let sequences be given a second time.
func (m mark) encode() []byte {
	p := fmt.Appendf(nil, markFormat, m.next, m.generation)
	return fmt.Appendf(p, markSumFormat, crc32.Checksum(p, castagnoli))
}

// loadMark returns the mark, if there is one that can be read. Without it, the files are read,
// which finds the same.
func (o *Options) loadMark() (mark, bool, error) {
	p, err := o.FS.ReadFile(o.FS.PathJoin(o.Dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return mark{}, false, nil
	}
	if err != nil {
		return mark{}, false, err
	}
	var m mark
	_, err = fmt.Sscanf(string(p), markFormat, &m.next, &m.generation)
	ok := err == nil && m.next > 0 && bytes.Equal(p, m.encode())
	return m, ok, nil
}

func (o *Options) storeMark(m mark) error {
	return o.FS.WriteFileAtomic(o.FS.PathJoin(o.Dir, markName), m.encode())
}

// removeMark takes the mark away for good, before anything is written that it would hide.
func (o *Options) removeMark() error {
	err := o.FS.Remove(o.FS.PathJoin(o.Dir, markName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return o.FS.SyncDir(o.Dir)
}
