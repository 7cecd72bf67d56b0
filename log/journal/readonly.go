package journal

import (
	"fmt"
	"io/fs"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
)

// readOnly is a file that Inspect looks at: opening it for writing could create it.
type readOnly struct{ pebblevfs.File }

func (r readOnly) Size() (int64, error) {
	info, err := r.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (r readOnly) refuse(what string) error {
	return fmt.Errorf("%s of a file that is only looked at: %w", what, fs.ErrPermission)
}

func (r readOnly) WriteAt([]byte, int64) (int, error)   { return 0, r.refuse("write") }
func (r readOnly) WriteDirect([]byte, int64) error      { return r.refuse("write") }
func (r readOnly) WriteDirectAll([][]byte, int64) error { return r.refuse("write") }
func (r readOnly) Allocate(int64, int64) error          { return r.refuse("allocation") }
func (r readOnly) Truncate(int64) error                 { return r.refuse("truncation") }
