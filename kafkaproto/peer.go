package kafkaproto

import (
	"net"
	"syscall"
)

// watchPeer gives the connection up if its peer goes while nothing is read from it and it has
// answers to come: what it left unread hides its end from everything but a question to the system,
// and the answers hold memory that others wait for. What the peer's system could not send for want
// of room here hides the end for longer, about a minute, until that system gives up and resets the
// connection. The caller ends the watch with stop.
func (c *conn) watchPeer() (stop func()) {
	stopped := make(chan struct{})
	// It ends with stop, which the reader calls when its wait is over, or with the connection.
	go func() {
		t := c.s.o.Clock.NewTimer(peerCheckPause)
		defer t.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-c.ctx.Done():
				return
			case <-t.C():
			}
			if c.pending.Load() > 0 && peerGone(c.nc) {
				c.abort()
				return
			}
			t.Reset(peerCheckPause)
		}
	}()
	return func() { close(stopped) }
}

// peerGone reports whether the peer has closed its side, even if there is something left to read.
// A connection that is none of the system's says no: its end is seen when it is read.
func peerGone(nc net.Conn) bool {
	s, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	gone := false
	// It fails on a connection that is closed on our side: nobody waits on its behalf any more.
	_ = raw.Control(func(fd uintptr) { gone = hungUp(fd) })
	return gone
}
