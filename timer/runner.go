package timer

import "time"

// sleepMax bounds one sleep while something is pending: timers count elapsed time, which stands
// still while a machine is suspended, and due times are wall clock, which may be set ahead.
const sleepMax = time.Second

// Start starts the runner, which makes a turn whenever there is something to do, until Close. It
// does nothing when Options.Manual is set. It must be called once.
func (s *Schedule) Start() {
	if s.o.Manual {
		return
	}
	s.stopped = make(chan struct{})
	// Stopped by Close, which closes stop and waits for stopped.
	go s.runLoop()
}

func (s *Schedule) runLoop() {
	defer close(s.stopped)
	for {
		if _, err := s.RunOnce(); err != nil {
			s.o.OnFailure(err)
			return
		}
		if !s.sleep() {
			return
		}
	}
}

// sleep waits until the next turn may have something to do: a high watermark moved, the last turn
// left work, or time came. With nothing pending there is no timer at all. It returns false when the
// schedule closes.
func (s *Schedule) sleep() bool {
	var timer <-chan time.Time
	if at := s.wakeAt(); at != never {
		wait := at.Time().Sub(s.o.Clock.Now())
		if wait > sleepMax || at.Sub(0) == 1<<63-1 {
			wait = sleepMax
		}
		t := s.o.Clock.NewTimer(max(wait, 0))
		defer t.Stop()
		timer = t.C()
	}
	select {
	case <-s.wake:
		return !s.isStopping()
	case <-timer:
		return !s.isStopping()
	case <-s.stop:
		return false
	}
}

func (s *Schedule) isStopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// wakeAt returns when the last turn asked to be followed by another.
func (s *Schedule) wakeAt() UnixMs {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.turn.wakeAt
}
