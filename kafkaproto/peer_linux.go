package kafkaproto

import "golang.org/x/sys/unix"

// hungUp asks the system whether the other end of a socket sends no more.
func hungUp(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}
