package harness

import "syscall"

// newGroup gives a server its own process group, so that nothing it started outlives it, and lets
// the kernel kill it should the test binary die without running its cleanups.
func newGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
