package harness

import "sync"

// logBytesMax bounds the output that is kept of one server: the end of it explains a failure.
const logBytesMax = 256 << 10

// logBuffer keeps the last logBytesMax bytes that a process wrote.
type logBuffer struct {
	mu struct {
		sync.Mutex
		tail []byte
	}
}

// Write never fails: a full buffer forgets its oldest half.
func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mu.tail = append(b.mu.tail, p...)
	if over := len(b.mu.tail) - logBytesMax; over > 0 {
		keep := min(len(b.mu.tail), logBytesMax/2)
		b.mu.tail = append([]byte(nil), b.mu.tail[len(b.mu.tail)-keep:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return string(b.mu.tail)
}
