package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronosdb/chronosdb/replication"
)

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
		"chronos_commit_way_bytes_total", "Bytes made durable by way: inline in the commit journal, or" +
			" direct to the segment.", prometheus.CounterValue, "way",
		func(s snapshot) map[string]float64 {
			c := s.replicas.Commits
			return map[string]float64{
				"inline": float64(c.InlineBytes), "direct": float64(c.DirectBytes),
			}
		},
	},
	{
		"chronos_drains_total", "Drains of logs: their bytes in the commit journal written to segments.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Commits.Drains) }),
	},
	{
		"chronos_drained_bytes_total", "Bytes that drains wrote to segments.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Commits.DrainedBytes) }),
	},
	{
		"chronos_buffer_bytes", "Memory of the logs' write buffers: dirty bytes are durable in the" +
			" commit journal and not in their segments yet, recent ones are kept for readers.",
		prometheus.GaugeValue, "state",
		func(s snapshot) map[string]float64 {
			return map[string]float64{
				"dirty":    float64(s.replicas.Buffers.UndrainedBytes),
				"recent":   float64(s.replicas.Buffers.RecentBytes),
				"reserved": float64(s.replicas.Buffers.ReservedBytes),
			}
		},
	},
	{
		"chronos_buffer_waiting_appends", "Appends that wait for room in the write buffers.",
		prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Buffers.Waiting) }),
	},
	{
		"chronos_journal_records_total", "Records written to the commit journal.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Journal.Commits) }),
	},
	{
		"chronos_journal_written_bytes_total", "Bytes written to the commit journal, with what fills" +
			" blocks.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Journal.WrittenBytes) }),
	},
	{
		"chronos_journal_waits_total", "Commits that found no file of the commit journal ready.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Journal.Waits) }),
	},
	{
		"chronos_journal_recycled_files_total", "New uses of files of the commit journal.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Journal.Recycled) }),
	},
	{
		"chronos_journal_files", "Files of the commit journal; full ones wait for drains.",
		prometheus.GaugeValue, "state",
		func(s snapshot) map[string]float64 {
			j := s.replicas.Journal
			return map[string]float64{
				"full": float64(j.FullFiles), "usable": float64(j.Files - j.FullFiles),
			}
		},
	},
	{
		"chronos_journal_bytes", "Size of the files of the commit journal.", prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Journal.FileBytes) }),
	},
	{
		"chronos_journal_unreleased_records", "Records of the commit journal that a start would replay.",
		prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Journal.Unreleased) }),
	},
	{
		"chronos_compactions_total", "Compactions of logs.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Compaction.Passes) }),
	},
	{
		"chronos_compaction_read_bytes_total", "Bytes that compactions have read.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Compaction.ReadBytes) }),
	},
	{
		"chronos_compaction_written_bytes_total", "Bytes that compactions have written.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Compaction.WrittenBytes) }),
	},
	{
		"chronos_compaction_removed_records_total", "Records that compactions have removed.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Compaction.RemovedRecords) }),
	},
	{
		"chronos_compaction_seconds_total", "Time that compactions took, with waits for their speed" +
			" limit.", prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return s.replicas.Compaction.Took.Seconds() }),
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
		"chronos_partition_offline", "1 for each partition that is offline, of the first " +
			"100 by name.", prometheus.GaugeValue, "partition",
		func(s snapshot) map[string]float64 {
			out := make(map[string]float64, len(s.replicas.Offline))
			for _, name := range s.replicas.Offline {
				out[name] = 1
			}
			return out
		},
	},
	{
		"chronos_log_segments", "Segments of the logs.", prometheus.GaugeValue, "log",
		func(s snapshot) map[string]float64 {
			return map[string]float64{
				"partition": float64(s.replicas.LogSegments),
				"staging":   float64(s.replicas.StagingSegments),
			}
		},
	},
	{
		"chronos_index_rebuilds_total", "Segments whose index was missing or damaged and made anew.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.IndexRebuilds) }),
	},
	{
		"chronos_cut_bytes_total", "Torn tails, never acknowledged, that the start has cut.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.CutBytes) }),
	},
	{
		"chronos_topic_in_bytes_total", "Batches accepted by topic. Of more than 100 topics the first" +
			" have a series of their own, the rest is (other).", prometheus.CounterValue, "topic",
		byTopic(func(t replication.TopicMetrics) int64 { return t.BytesIn }),
	},
	{
		"chronos_topic_in_records_total", "Records accepted by topic.", prometheus.CounterValue, "topic",
		byTopic(func(t replication.TopicMetrics) int64 { return t.RecordsIn }),
	},
	{
		"chronos_topic_out_bytes_total", "Batches in answers to consumers by topic.",
		prometheus.CounterValue, "topic",
		byTopic(func(t replication.TopicMetrics) int64 { return t.BytesOut }),
	},
	{
		"chronos_topic_out_records_total", "Records in answers to consumers by topic.",
		prometheus.CounterValue, "topic",
		byTopic(func(t replication.TopicMetrics) int64 { return t.RecordsOut }),
	},
	{
		"chronos_topic_log_bytes", "Bytes of the partition logs by topic.", prometheus.GaugeValue,
		"topic", byTopic(func(t replication.TopicMetrics) int64 { return t.LogBytes }),
	},
	{
		"chronos_topic_log_segments", "Segments of the partition logs by topic.",
		prometheus.GaugeValue, "topic",
		byTopic(func(t replication.TopicMetrics) int64 { return int64(t.Segments) }),
	},
	{
		"chronos_topic_deleted_bytes_total", "Bytes deleted by retention and DeleteRecords by topic.",
		prometheus.CounterValue, "topic",
		byTopic(func(t replication.TopicMetrics) int64 { return t.DeletedBytes }),
	},
	{
		"chronos_topic_deleted_segments_total",
		"Segments deleted by retention and DeleteRecords by topic.", prometheus.CounterValue, "topic",
		byTopic(func(t replication.TopicMetrics) int64 { return t.DeletedSegments }),
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
		"chronos_pending_due_records", "Scheduled records by how soon they are due, each in one bucket;" +
			" behind the soonest 50,000 all are in rest.", prometheus.GaugeValue, "within",
		pendingDue,
	},
	{
		"chronos_scheduled_ended_total", "Scheduled records that went without a delivery.",
		prometheus.CounterValue, "by",
		func(s snapshot) map[string]float64 {
			c := s.replicas.Schedules
			return map[string]float64{
				"cancelled": float64(c.Cancelled), "replaced": float64(c.Replaced),
				"expired": float64(c.Expired),
			}
		},
	},
	{
		"chronos_scheduled_moved_total", "Scheduled records that an operator gave another time.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Schedules.Moved) }),
	},
	{
		"chronos_idle_cancels_total", "Cancels and moves of records that did not wait any more.",
		prometheus.CounterValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.Schedules.IdleCancel) }),
	},
	{
		"chronos_scheduled_refused_total", "Batches of scheduled records that were refused.",
		prometheus.CounterValue, "reason",
		func(s snapshot) map[string]float64 {
			return map[string]float64{
				"invalid": float64(s.replicas.RefusedInvalid), "limit": float64(s.replicas.RefusedLimit),
			}
		},
	},
	{
		"chronos_paused_partitions", "Partitions whose deliveries an operator has paused.",
		prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return float64(s.replicas.PausedPartitions) }),
	},
	{
		"chronos_clock_jump_seconds", "By how much the clock has jumped ahead; while it is not 0 all" +
			" deliveries wait.", prometheus.GaugeValue, "",
		one(func(s snapshot) float64 { return s.replicas.ClockJump.Seconds() }),
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

// pendingDue is the read function of the histogram of what is pending.
func pendingDue(s snapshot) map[string]float64 {
	out := make(map[string]float64, len(s.replicas.PendingDue))
	for i, b := range s.replicas.PendingDue {
		label := "rest"
		if i < len(s.replicas.PendingDue)-1 {
			label = shortDuration(b.Within)
		}
		out[label] = float64(b.Pending)
	}
	return out
}

// byTopic is the read function of a family with a sample for each topic.
func byTopic(read func(t replication.TopicMetrics) int64) func(s snapshot) map[string]float64 {
	return func(s snapshot) map[string]float64 {
		out := make(map[string]float64, len(s.replicas.Topics))
		for _, t := range s.replicas.Topics {
			out[t.Topic] = float64(read(t))
		}
		return out
	}
}

func toFloats(counts map[string]int64) map[string]float64 {
	out := make(map[string]float64, len(counts))
	for label, n := range counts {
		out[label] = float64(n)
	}
	return out
}
