package main

import (
	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/timer"
)

// histogram is one metric that has buckets. read gives its figures by the value of its label, under
// "" when it has none.
type histogram struct {
	name  string
	help  string
	label string
	read  func(s snapshot) map[string]buckets
}

func (h histogram) labels() []string {
	if h.label == "" {
		return nil
	}
	return []string{h.label}
}

// buckets are a histogram's figures as Prometheus wants them: running sums by upper bound.
type buckets struct {
	count  uint64
	sum    float64
	bounds map[float64]uint64
}

// histograms lists every metric that has buckets, but those of the Go runtime.
var histograms = []histogram{
	{
		"chronos_lateness_seconds", "Time from a record's due time until consumers could read it.", "",
		func(s snapshot) map[string]buckets {
			return map[string]buckets{"": latenessBuckets(s.replicas.Schedules)}
		},
	},
	{
		"chronos_fsync_seconds", "Time that a commit or the flush of one log spent in fdatasync.", "",
		func(s snapshot) map[string]buckets {
			return map[string]buckets{"": latencyBuckets(s.replicas.Commits.FsyncLatency)}
		},
	},
	{
		"chronos_commit_bytes", "Bytes that one commit made durable.", "",
		func(s snapshot) map[string]buckets {
			return map[string]buckets{"": sizeBuckets(s.replicas.Commits.CommitBytes)}
		},
	},
	{
		"chronos_commit_logs", "Logs that waited for one commit.", "",
		func(s snapshot) map[string]buckets {
			return map[string]buckets{"": sizeBuckets(s.replicas.Commits.CommitLogs)}
		},
	},
	{
		"chronos_request_seconds", "Time from the last byte of a Kafka request to that of its answer.",
		"api",
		func(s snapshot) map[string]buckets {
			out := make(map[string]buckets, len(s.kafka.RequestLatency))
			for api, l := range s.kafka.RequestLatency {
				if l.Count > 0 { // not every API is asked for everywhere
					out[api] = latencyBuckets(l)
				}
			}
			return out
		},
	},
	{
		"chronos_produce_seconds", "Time of a Produce request by stage: queue (waiting for earlier" +
			" requests), append, commit (waiting to be durable), send.", "stage",
		func(s snapshot) map[string]buckets {
			out := map[string]buckets{}
			for i, l := range s.kafka.ProduceLatency {
				out[kafkaproto.ProduceStage(i).String()] = latencyBuckets(l)
			}
			return out
		},
	},
	{
		"chronos_fetch_seconds", "Time of a Fetch request by stage: queue (waiting for earlier" +
			" answers), wait (parked for data), read, send.", "stage",
		func(s snapshot) map[string]buckets {
			out := map[string]buckets{}
			for i, l := range s.kafka.FetchLatency {
				out[kafkaproto.FetchStage(i).String()] = latencyBuckets(l)
			}
			return out
		},
	},
}

// latenessBuckets turns counts per bucket in milliseconds into running sums in seconds.
func latenessBuckets(s timer.Stats) buckets {
	b := buckets{sum: s.LatenessSumMs / 1000, bounds: map[float64]uint64{}}
	for i, n := range s.LatenessCount {
		b.count += uint64(n)
		if i < len(timer.LatenessBucketsMs) {
			b.bounds[timer.LatenessBucketsMs[i]/1000] = b.count
		}
	}
	return b
}

// latencyBuckets does the same for durations; the bucket without a bound is the count itself.
func latencyBuckets(l log.LatencySnapshot) buckets {
	b := buckets{sum: l.Sum.Seconds(), bounds: map[float64]uint64{}}
	for _, one := range l.Buckets {
		b.count += uint64(one.Count)
		if one.Bound >= 0 {
			b.bounds[one.Bound.Seconds()] = b.count
		}
	}
	return b
}

// sizeBuckets does the same for counts and bytes.
func sizeBuckets(l log.SizesSnapshot) buckets {
	b := buckets{sum: float64(l.Sum), bounds: map[float64]uint64{}}
	for _, one := range l.Buckets {
		b.count += uint64(one.Count)
		if one.Bound >= 0 {
			b.bounds[float64(one.Bound)] = b.count
		}
	}
	return b
}
