package log

import (
	"errors"
	"fmt"
	"time"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// rest notices when commits through a journal have paused. Its timer is armed once in a while, and
// not at every commit.
type rest struct {
	timer clock.Timer // nil without a journal
	over  <-chan time.Time
	armed bool
	moved bool // there was a commit since it was armed
}

func (c *Committer) newRest() *rest {
	if c.o.Journal == nil {
		return &rest{}
	}
	r := &rest{timer: c.o.Clock.NewTimer(confirmAfter), armed: true}
	r.over = r.timer.C()
	return r
}

func (r *rest) stop() {
	if r.timer != nil {
		r.timer.Stop()
	}
}

// disturb notes that a commit comes.
func (r *rest) disturb() {
	r.moved = true
	if r.timer != nil && !r.armed {
		r.arm()
	}
}

func (r *rest) arm() {
	r.timer.Reset(confirmAfter)
	r.armed, r.moved = true, false
}

// confirmAtRest is called when the timer has fired. The newest record is confirmed if no commit
// came meanwhile: nobody waits for the disk then.
func (c *Committer) confirmAtRest(r *rest) {
	r.armed = false
	if r.moved {
		r.arm()
		return
	}
	// An error has been told to OnFailure. A journal that is full has asked for a file back: there is
	// room the next time, or the time after it, though nobody commits anything any more.
	if written, err := c.confirm(); err == nil && !written {
		r.arm()
	}
}

// Confirm lets the journal say that what was committed last was durable, as the next commit would:
// else the rot of its last record could not be told from a write that a crash has cut short, and
// with it went what was acknowledged. It is called when there is nothing to commit for a while, and
// does nothing if it was called since the last commit, nor when the journal is full.
func (c *Committer) Confirm() error {
	_, err := c.confirm()
	return err
}

// confirm is Confirm. It is false if the journal had no room and it should be tried again.
func (c *Committer) confirm() (bool, error) {
	if c.o.Journal == nil {
		return true, nil
	}
	c.commit.Lock()
	defer c.commit.Unlock()
	if err := c.failure(); err != nil {
		return false, err
	}
	err := c.o.Journal.Confirm()
	if errors.Is(err, journal.ErrFull) {
		return false, nil
	}
	if errors.Is(err, journal.ErrClosed) {
		return true, nil
	}
	if err != nil {
		c.fail(fmt.Errorf("confirm the newest commit: %w: %w", ErrFailed, err))
		for _, l := range c.logs() {
			_ = l.fail(err) // no commit will come of what they would take
		}
		return false, c.failure()
	}
	return true, nil
}
