package kafkaproto

import (
	"sync/atomic"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/log"
)

// Snapshot is what the front end counts. Counters start at zero with each process.
type Snapshot struct {
	// Requests counts requests by the name of their API.
	Requests map[string]int64
	// BytesIn and BytesOut count frames with their lengths.
	BytesIn, BytesOut int64
	// Connections is how many are open; ConnectionsTotal how many were accepted,
	// ConnectionsRefused how many were closed because too many were open.
	Connections, ConnectionsTotal, ConnectionsRefused int64
	// RequestsRefused counts connections closed for a frame or request that is not served.
	RequestsRefused int64
	// Panics counts connections closed because handling a request failed.
	Panics int64
	// RequestLatency is the time from a request's last byte to its answer's, by the name of its API.
	RequestLatency map[string]log.LatencySnapshot
	// ProduceLatency and FetchLatency are the times of their stages.
	ProduceLatency [produceStages]log.LatencySnapshot
	FetchLatency   [fetchStages]log.LatencySnapshot
	// RequestMemoryBytes and AnswerMemoryBytes are what is charged for requests and for fetched
	// data in flight now.
	RequestMemoryBytes, AnswerMemoryBytes int64
	// FetchSessions are the fetch sessions there are.
	FetchSessions api.FetchSessionStats
}

// metrics are the live counters.
type metrics struct {
	names              map[int16]string
	requests           []atomic.Int64 // by API key
	bytesIn, bytesOut  atomic.Int64
	connectionsTotal   atomic.Int64
	refusedConnections atomic.Int64
	refusedRequests    atomic.Int64
	panics             atomic.Int64
	stages             stages
}

func newMetrics(s *api.Service) *metrics {
	m := &metrics{names: map[int16]string{}}
	last := int16(0)
	for _, a := range s.List() {
		m.names[a.Key] = a.Name
		last = max(last, a.Key)
	}
	m.requests = make([]atomic.Int64, last+1)
	m.stages.all = make([]log.Latency, last+1)
	return m
}

// request counts one that has begun. Only served ones have: the others are counted as refused.
func (m *metrics) request(key int16) { m.requests[key].Add(1) }

// Metrics returns a snapshot of the counters.
func (s *Server) Metrics() Snapshot {
	m := s.metrics
	snapshot := Snapshot{
		Requests:           make(map[string]int64, len(m.names)),
		RequestLatency:     make(map[string]log.LatencySnapshot, len(m.names)),
		BytesIn:            m.bytesIn.Load(),
		BytesOut:           m.bytesOut.Load(),
		ConnectionsTotal:   m.connectionsTotal.Load(),
		ConnectionsRefused: m.refusedConnections.Load(),
		RequestsRefused:    m.refusedRequests.Load(),
		Panics:             m.panics.Load(),
		RequestMemoryBytes: s.budget.inFlight.Load(),
		AnswerMemoryBytes:  s.answers.inFlight.Load(),
		FetchSessions:      s.api.FetchSessions(),
	}
	for key, name := range m.names {
		snapshot.Requests[name] = m.requests[key].Load()
		snapshot.RequestLatency[name] = m.stages.all[key].Snapshot()
	}
	for i := range snapshot.ProduceLatency {
		snapshot.ProduceLatency[i] = m.stages.produce[i].Snapshot()
	}
	for i := range snapshot.FetchLatency {
		snapshot.FetchLatency[i] = m.stages.fetch[i].Snapshot()
	}
	s.mu.Lock()
	snapshot.Connections = int64(len(s.mu.conns))
	s.mu.Unlock()
	return snapshot
}
