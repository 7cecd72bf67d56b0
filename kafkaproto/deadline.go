package kafkaproto

import (
	"time"
)

// How long a peer is waited for. Deadlines of connections are times of the real clock, because the
// runtime's poller knows no other.
const (
	// firstByteTimeout is for a new connection that says nothing.
	firstByteTimeout = 10 * time.Second
	// frameTimeout is for a frame that has begun, with the time that its bytes take at
	// frameBytesPerSecondMin added.
	frameTimeout           = 10 * time.Second
	frameBytesPerSecondMin = 256 << 10
	// idleTimeoutDefault is for a connection without any request in work, as in Kafka
	// (connections.max.idle.ms).
	idleTimeoutDefault = 10 * time.Minute
	// peerCheckPause is how often a peer that is not read is looked after.
	peerCheckPause = time.Second
	// writeTimeout is for an answer, with the time that its bytes take at
	// answerBytesPerSecondMin added.
	writeTimeout            = 30 * time.Second
	answerBytesPerSecondMin = 1 << 20
)

// longAgo is a deadline that ends a read at once.
var longAgo = time.Unix(1, 0)

// frameDeadline is how long a whole frame of n bytes may take.
func frameDeadline(n int) time.Duration {
	return frameTimeout + time.Duration(n)*time.Second/frameBytesPerSecondMin
}

// answerDeadline is how long the peer may take for an answer of n bytes.
func answerDeadline(n int) time.Duration {
	return writeTimeout + time.Duration(n)*time.Second/answerBytesPerSecondMin
}
