package kafkaproto

import (
	"time"

	"github.com/chronosdb/chronosdb/log"
)

// The API keys whose time is split into stages.
const fetchKey = 1

// ProduceStage is a part of the time that a Produce request takes.
type ProduceStage int

// The stages of a Produce request, one after the other.
const (
	// ProduceQueue: read, and waiting for what earlier requests of the connection change.
	ProduceQueue ProduceStage = iota
	// ProduceAppend: decoded, checked, and appended to the logs.
	ProduceAppend
	// ProduceCommit: appended, and waiting to be durable and for its turn to be answered.
	ProduceCommit
	// ProduceSend: answered, and waiting for the socket.
	ProduceSend
	produceStages
)

// String returns the stage's name.
func (s ProduceStage) String() string {
	return [...]string{"queue", "append", "commit", "send"}[s]
}

// FetchStage is a part of the time that a Fetch request takes.
type FetchStage int

// The stages of a Fetch request. It is parked and read for by turns.
const (
	// FetchQueue: read, and waiting for the answers before it.
	FetchQueue FetchStage = iota
	// FetchWait: parked until there is something to answer.
	FetchWait
	// FetchRead: reading records into the answer.
	FetchRead
	// FetchSend: answered, and waiting for the socket.
	FetchSend
	fetchStages
)

// String returns the stage's name.
func (s FetchStage) String() string {
	return [...]string{"queue", "wait", "read", "send"}[s]
}

// stages are the live histograms.
type stages struct {
	produce [produceStages]log.Latency
	fetch   [fetchStages]log.Latency
	all     []log.Latency // by API key: from a request's last byte to its answer's
}

// requestTimes are when the steps of one request were reached.
type requestTimes struct {
	read     time.Time // its last byte was there
	began    time.Time // its first stage began
	appended time.Time // its first stage was over
}

// begun counts what a Produce request took up to the end of its first stage.
func (s *stages) begun(key int16, t requestTimes) {
	if key == produceKey {
		s.produce[ProduceQueue].Observe(t.began.Sub(t.read))
		s.produce[ProduceAppend].Observe(t.appended.Sub(t.began))
	}
}

// turn is when the answer to a request was made, by the connection's writer.
type turn struct {
	began  time.Time
	made   time.Time
	parked time.Duration // between the two
}

// answered counts what a request took until its answer was made.
func (s *stages) answered(key int16, t requestTimes, at turn) {
	switch key {
	case produceKey:
		s.produce[ProduceCommit].Observe(at.made.Sub(t.appended))
	case fetchKey:
		s.fetch[FetchQueue].Observe(at.began.Sub(t.read))
		s.fetch[FetchWait].Observe(at.parked)
		s.fetch[FetchRead].Observe(at.made.Sub(at.began) - at.parked)
	}
}

// made is an answer that waits for the socket.
type made struct {
	key  int16
	read time.Time // when its request was
	at   time.Time // when it was made
}

// sent counts answers that have been written.
func (s *stages) sent(answers []made, now time.Time) {
	for _, a := range answers {
		switch a.key {
		case produceKey:
			s.produce[ProduceSend].Observe(now.Sub(a.at))
		case fetchKey:
			s.fetch[FetchSend].Observe(now.Sub(a.at))
		}
		s.all[a.key].Observe(now.Sub(a.read))
	}
}
