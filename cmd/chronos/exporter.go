package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// snapshot is what all packages have counted, read once for a scrape.
type snapshot struct {
	kafka    kafkaproto.Snapshot
	replicas replication.Metrics
	groups   groups.Metrics
	now      clock.UnixMs
}

// family is one metric: its name, what it means, and where its samples come from. read gives the
// samples by the value of the family's label, under "" when it has none.
type family struct {
	name  string
	help  string
	kind  prometheus.ValueType
	label string
	read  func(s snapshot) map[string]float64
}

// one is the read function of a family without a label.
func one(read func(s snapshot) float64) func(s snapshot) map[string]float64 {
	return func(s snapshot) map[string]float64 { return map[string]float64{"": read(s)} }
}

// families lists every metric but the histograms and those of the Go runtime and the process.
var families = []family{
	{
		"chronos_requests_total", "Kafka requests by API.", prometheus.CounterValue, "api",
		func(s snapshot) map[string]float64 { return toFloats(s.kafka.Requests) },
	},
	{
		"chronos_request_bytes_total", "Bytes of Kafka requests.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.kafka.BytesIn) }),
	},
	{
		"chronos_response_bytes_total", "Bytes of Kafka responses.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.kafka.BytesOut) }),
	},
	{
		"chronos_requests_refused_total", "Connections closed for a frame or request not served.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.kafka.RequestsRefused) }),
	},
	{
		"chronos_handler_panics_total", "Connections closed because handling a request panicked.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.kafka.Panics) }),
	},
	{
		"chronos_connections", "Open Kafka connections.", prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.kafka.Connections) }),
	},
	{
		"chronos_connections_total", "Kafka connections accepted.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.kafka.ConnectionsTotal) }),
	},
	{
		"chronos_connections_refused_total", "Kafka connections closed because too many were open.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.kafka.ConnectionsRefused) }),
	},
	{
		"chronos_inflight_bytes", "Memory of requests and of fetched data in work.",
		prometheus.GaugeValue, "kind",
		func(s snapshot) map[string]float64 {
			return map[string]float64{
				"request": float64(s.kafka.RequestMemoryBytes),
				"answer":  float64(s.kafka.AnswerMemoryBytes),
			}
		},
	},
	{
		"chronos_log_bytes", "Bytes of the logs on disk; staging logs hold what waits for its time.",
		prometheus.GaugeValue, "log",
		func(s snapshot) map[string]float64 {
			return map[string]float64{
				"partition": float64(s.replicas.LogBytes),
				"staging":   float64(s.replicas.StagingBytes),
			}
		},
	},
	{
		"chronos_commits_total", "Group commits; one covers every log that was written meanwhile.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Commits.Commits) }),
	},
	{
		"chronos_fsyncs_total", "Calls of fdatasync on log segments.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Commits.Fsyncs) }),
	},
	{
		"chronos_flushed_bytes_total", "Bytes of logs that were made durable.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Commits.FlushedBytes) }),
	},
	{
		"chronos_partitions", "Partitions on this server.", prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Partitions) }),
	},
	{
		"chronos_offline_partitions", "Partitions that are not served because of damaged data.",
		prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.OfflinePartitions) }),
	},
	{
		"chronos_pending_records", "Scheduled records that wait for their time.",
		prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Pending) }),
	},
	{
		"chronos_next_due_seconds", "Time until the next record is due, negative when it is late; " +
			"absent when nothing is pending.", prometheus.GaugeValue, "",
		func(s snapshot) map[string]float64 {
			if !s.replicas.HasNextDue {
				return nil
			}
			return map[string]float64{"": s.replicas.NextDue.Sub(s.now).Seconds()}
		},
	},
	{
		"chronos_delivered_records_total", "Scheduled records delivered.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Schedules.Delivered) }),
	},
	{
		"chronos_settled_records_total", "Deliveries noted as done in a staging log.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Schedules.Settled) }),
	},
	{
		"chronos_delivery_retries_total", "Deliveries put back because the disk was full.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Schedules.Retries) }),
	},
	{
		"chronos_near_bytes", "Memory that holds the near future of the schedules.",
		prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Schedules.NearBytes) }),
	},
	{
		"chronos_groups", "Consumer groups by state.", prometheus.GaugeValue, "state",
		func(s snapshot) map[string]float64 { return toFloats(s.groups.Groups) },
	},
	{
		"chronos_group_members", "Members of all consumer groups.", prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.groups.Members) }),
	},
	{
		"chronos_group_rebalances_total", "Completed rebalances.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.groups.Rebalances) }),
	},
	{
		"chronos_offset_commits_total", "Durable offset commits.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.groups.Commits) }),
	},
	{
		"chronos_offset_commit_failures_total", "Offset commits that the log refused or lost.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.groups.CommitFailures) }),
	},
}

func toFloats(counts map[string]int64) map[string]float64 {
	out := make(map[string]float64, len(counts))
	for label, n := range counts {
		out[label] = float64(n)
	}
	return out
}

// exporter is a prometheus.Collector over the packages' Metrics. It keeps nothing of its own, so
// that no package needs to know of Prometheus.
type exporter struct {
	take     func() snapshot
	descs    []*prometheus.Desc // of families, in their order
	lateness *prometheus.Desc
	fsync    *prometheus.Desc
}

func newExporter(
	kafka *kafkaproto.Server, replicas *replication.Manager, g *groups.Coordinator, c clock.Clock,
) *exporter {
	return exporterOver(func() snapshot {
		return snapshot{
			kafka: kafka.Metrics(), replicas: replicas.Metrics(), groups: g.Metrics(),
			now: clock.ToMs(c.Now()),
		}
	})
}

func exporterOver(take func() snapshot) *exporter {
	e := &exporter{take: take}
	for _, f := range families {
		var labels []string
		if f.label != "" {
			labels = []string{f.label}
		}
		e.descs = append(e.descs, prometheus.NewDesc(f.name, f.help, labels, nil))
	}
	e.lateness = prometheus.NewDesc("chronos_lateness_seconds",
		"Time from a record's due time until consumers could read it.", nil, nil)
	e.fsync = prometheus.NewDesc("chronos_fsync_seconds",
		"Time that the flush of one log spent in fdatasync.", nil, nil)
	return e
}

// Describe names every metric once, so that a name used twice is noticed at the start.
func (e *exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range e.descs {
		ch <- desc
	}
	ch <- e.lateness
	ch <- e.fsync
}

// Collect reads all packages once and passes on what they counted.
func (e *exporter) Collect(ch chan<- prometheus.Metric) {
	s := e.take()
	for i, f := range families {
		for label, value := range f.read(s) {
			var labels []string
			if f.label != "" {
				labels = []string{label}
			}
			ch <- prometheus.MustNewConstMetric(e.descs[i], f.kind, value, labels...)
		}
	}
	ch <- latenessHistogram(e.lateness, s.replicas.Schedules)
	ch <- fsyncHistogram(e.fsync, s.replicas.Commits.FsyncLatency)
}

// latenessHistogram turns counts per bucket in milliseconds into the running sums in seconds that
// Prometheus wants.
func latenessHistogram(desc *prometheus.Desc, s timer.Stats) prometheus.Metric {
	buckets := make(map[float64]uint64, len(timer.LatenessBucketsMs))
	total := uint64(0)
	for i, n := range s.LatenessCount {
		total += uint64(n)
		if i < len(timer.LatenessBucketsMs) {
			buckets[timer.LatenessBucketsMs[i]/1000] = total
		}
	}
	return prometheus.MustNewConstHistogram(desc, total, s.LatenessSumMs/1000, buckets)
}

// fsyncHistogram does the same for durations; the bucket without a bound is the count itself.
func fsyncHistogram(desc *prometheus.Desc, l log.LatencySnapshot) prometheus.Metric {
	buckets := make(map[float64]uint64, len(l.Buckets))
	total := uint64(0)
	for _, b := range l.Buckets {
		total += uint64(b.Count)
		if b.Bound >= 0 {
			buckets[b.Bound.Seconds()] = total
		}
	}
	return prometheus.MustNewConstHistogram(desc, total, l.Sum.Seconds(), buckets)
}
