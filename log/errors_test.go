package log

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestIsTransient: a want of space or handles passes, unless it has failed an fsync.
func TestIsTransient(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EMFILE: true, unix.EDQUOT: true, vfs.ErrNoSpace: true, ErrNoSpace: true, nil: false,
		ErrFailed: false, ErrCorrupt: false, ErrUnreadable: false, vfs.ErrIO: false,
		errors.Join(ErrFailed, vfs.ErrNoSpace):                       false,
		fmt.Errorf("append: %w: %w", ErrFailed, ErrNoSpace):          false,
		fmt.Errorf("open segment: %w", fmt.Errorf("%w", ErrNoSpace)): true,
	} {
		if got := IsTransient(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
