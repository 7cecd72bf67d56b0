package log

import (
	"errors"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestFromStartBeginsAgain: a look-up begins again for a start that has moved, and for no other
// reason.
func TestFromStartBeginsAgain(t *testing.T) {
	l := mustOpen(t, testOptions(vfs.NewCrash(1)))
	defer mustClose(t, l)
	ends := mustAppend(t, l, 20)
	mustFlush(t, l)
	looks := 0
	err := l.FromStart(func() error { looks++; return ErrOffsetOutOfRange })
	if looks != 1 || !errors.Is(err, ErrOffsetOutOfRange) {
		t.Errorf("%d looks at a start that stays, %v", looks, err)
	}
	looks = 0
	err = l.FromStart(func() error {
		looks++
		if looks > 5 {
			return nil
		}
		if err := l.AdvanceStart(ends[looks]); err != nil {
			t.Fatal(err)
		}
		return ErrOffsetOutOfRange
	})
	if looks != 6 || err != nil {
		t.Errorf("%d looks while the start moved 5 times, %v", looks, err)
	}
}
