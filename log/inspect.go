package log

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// Grade says what a finding of an inspection means.
type Grade uint8

const (
	// GradeRemark: nothing is lost. A crash leaves such bytes, or a server is just writing them.
	GradeRemark Grade = iota
	// GradeDerived: a file that is made from others is damaged. The server makes it anew.
	GradeDerived
	// GradeDamage: bytes that were once synced are not what they were.
	GradeDamage
)

// String returns the grade as the tools print it.
func (g Grade) String() string {
	switch g {
	case GradeRemark:
		return "remark"
	case GradeDerived:
		return "derived"
	case GradeDamage:
		return "damage"
	default:
		return fmt.Sprintf("Grade(%d)", uint8(g))
	}
}

// Finding is what an inspection has to say about one place in one file.
type Finding struct {
	Grade    Grade
	File     string // File is the path.
	Position int64  // Position is the byte at which it begins.
	Err      error  // Err says what is there.
}

// String is one line.
func (f Finding) String() string {
	return fmt.Sprintf("%s: %s at byte %d: %v", f.Grade, f.File, f.Position, f.Err)
}

// BatchAt is a batch and where it lies. It is valid until the call that shows it returns.
type BatchAt struct {
	File     string
	Position int64
	Batch    batch.Batch
}

// errReadOnly is what a file of an inspection answers to every change.
var errReadOnly = errors.New("the file is open for an inspection, which changes nothing")

// inspectedFile is a log file that can only be read.
type inspectedFile struct {
	io.ReaderAt
	io.Closer
	size int64 // as it was when the file was opened
}

var _ vfs.LogFile = (*inspectedFile)(nil)

func (f *inspectedFile) WriteAt([]byte, int64) (int, error)   { return 0, errReadOnly }
func (f *inspectedFile) WriteDirect([]byte, int64) error      { return errReadOnly }
func (f *inspectedFile) WriteDirectAll([][]byte, int64) error { return errReadOnly }
func (f *inspectedFile) Allocate(int64, int64) error          { return errReadOnly }
func (f *inspectedFile) Truncate(int64) error                 { return errReadOnly }
func (f *inspectedFile) Sync() error                          { return errReadOnly }
func (f *inspectedFile) SyncData() error                      { return errReadOnly }
func (f *inspectedFile) Size() (int64, error)                 { return f.size, nil }

// openInspected opens a file for reading only; one that does not exist is not made.
func openInspected(fs vfs.FS, path string) (*inspectedFile, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("inspect %s: %w", path, err), f.Close())
	}
	return &inspectedFile{ReaderAt: f, Closer: f, size: info.Size()}, nil
}

// openInspectedSegment returns the segment in a file, to be read only. The caller releases it.
func openInspectedSegment(fs vfs.FS, path string) (*segment, *inspectedFile, error) {
	base, ok := parseSegmentName(fs.PathBase(path))
	if swap, isSwap := parseSwapName(fs.PathBase(path)); isSwap {
		base, ok = swap.base, true
	}
	if !ok {
		return nil, nil, fmt.Errorf("%s is no segment: its name is not %d digits and %s", path,
			baseDigits, logSuffix)
	}
	f, err := openInspected(fs, path)
	if err != nil {
		return nil, nil, err
	}
	s := newSegment(fs, fs.PathDir(path), base)
	s.path = path
	s.open.file = f
	s.size.Store(f.size)
	if state, known, err := loadCompaction(fs, fs.PathDir(path)); err == nil && known {
		s.gapsBelow = state.gapsBelow
	} else {
		s.gapsBelow = math.MaxInt64
	}
	return s, f, nil
}
