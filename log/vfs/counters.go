package vfs

import (
	"strings"
	"sync"
)

// Stats counts what went through a file system.
type Stats struct {
	BytesRead    int64
	BytesWritten int64
	Syncs        int64 // of files, by Sync and SyncData, that succeeded
	DirSyncs     int64 // of directories, that succeeded
	DroppedBytes int64 // of unsynced writes, that the power cut took which made this file system
	Injected     int64 // errors that a Faulty returned of its own
}

// counters is the counting half of Crash and Faulty.
type counters struct {
	mu struct {
		sync.Mutex
		stats Stats
		reads map[string]int64 // by path; bounded by the number of paths that a test opens
	}
}

func (c *counters) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.stats
}

func (c *counters) bytesReadUnder(prefix string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sum int64
	for name, n := range c.mu.reads {
		if strings.HasPrefix(name, prefix) {
			sum += n
		}
	}
	return sum
}

func (c *counters) read(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.reads == nil {
		c.mu.reads = make(map[string]int64)
	}
	c.mu.reads[name] += int64(n)
	c.mu.stats.BytesRead += int64(n)
}

func (c *counters) wrote(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.stats.BytesWritten += int64(n)
}

func (c *counters) synced(dir bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if dir {
		c.mu.stats.DirSyncs++
	} else {
		c.mu.stats.Syncs++
	}
}

func (c *counters) dropped(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.stats.DroppedBytes += n
}

func (c *counters) injected() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.stats.Injected++
}
