package harness

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the kernel's unit of CPU time in /proc, on every Linux that Go runs on.
const ticksPerSecond = 100

// CPU returns the user and system CPU time of a process, in units of 10 ms.
func CPU(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read CPU time: %w", err)
	}
	// The name, in parentheses, may hold spaces; the state follows it as field 3.
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	const userAt, systemAt = 11, 12
	if len(fields) <= systemAt {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields behind the name", pid, len(fields))
	}
	var ticks int64
	for _, at := range []int{userAt, systemAt} {
		n, err := strconv.ParseInt(fields[at], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// Written returns the bytes that a process caused to be sent to the disk.
func Written(pid int) (int64, error) {
	return procNumber(pid, "io", "write_bytes:")
}

// Read returns the bytes that a process has read through system calls, from the page cache or the
// disk, sockets included.
func Read(pid int) (int64, error) {
	return procNumber(pid, "io", "rchar:")
}

// Resident returns the resident memory of a process in bytes.
func Resident(pid int) (int64, error) {
	kib, err := procNumber(pid, "status", "VmRSS:")
	return kib << 10, err
}

// Peak returns the largest resident memory that a process has had, in bytes.
func Peak(pid int) (int64, error) {
	kib, err := procNumber(pid, "status", "VmHWM:")
	return kib << 10, err
}

// procNumber reads one named number of a file under /proc.
func procNumber(pid int, file, name string) (int64, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && fields[0] == name {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s of %s: %w", name, path, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}
