//go:build unix && !linux

package harness

import "syscall"

// newGroup gives a server its own process group, so that nothing it started outlives it.
func newGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
