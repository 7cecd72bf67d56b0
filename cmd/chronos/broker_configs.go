package main

import (
	"math"
	"strconv"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// brokerConfigs tells Kafka tools, which read them with DescribeConfigs, how this server was
// started: under Kafka's names where there are such, under chronos names for the rest.
func brokerConfigs(c Config) []api.BrokerConfig {
	d := defaultConfig()
	return []api.BrokerConfig{
		{
			Name: "listeners", Type: metadata.ConfigString, Value: "PLAINTEXT://" + c.KafkaAddr,
			Set: c.KafkaAddr != d.KafkaAddr, Doc: "Where clients connect (--kafka-addr).",
		},
		{
			Name: "log.dirs", Type: metadata.ConfigString, Value: c.DataDir, Set: c.DataDir != d.DataDir,
			Doc: "The data directory (--data-dir).",
		},
		{
			Name: "log.segment.bytes", Type: metadata.ConfigInt,
			Value: strconv.FormatInt(c.SegmentBytes, 10), Set: c.SegmentBytes != d.SegmentBytes,
			Doc: "The size at which a log segment is closed (--segment-size).",
		},
		{
			Name: "log.retention.check.interval.ms", Type: metadata.ConfigLong,
			Value: strconv.FormatInt(c.RetentionCheck.Milliseconds(), 10),
			Set:   c.RetentionCheck != d.RetentionCheck,
			Doc:   "The time between looks for segments to delete (--retention-check-interval).",
		},
		{
			Name: "log.cleaner.backoff.ms", Type: metadata.ConfigLong,
			Value: strconv.FormatInt(c.CompactionCheck.Milliseconds(), 10),
			Set:   c.CompactionCheck != d.CompactionCheck,
			Doc:   "The time between looks for topics to compact (--compaction-check-interval).",
		},
		{
			Name: "log.cleaner.dedupe.buffer.size", Type: metadata.ConfigLong,
			Value: strconv.FormatInt(c.CompactionMemory, 10),
			Set:   c.CompactionMemory != d.CompactionMemory,
			Doc:   "Memory for the keys of a compaction (--compaction-memory).",
		},
		{
			Name: "log.cleaner.io.max.bytes.per.second", Type: metadata.ConfigDouble,
			Value: bytesPerSecond(c.CompactionRate), Set: c.CompactionRate != d.CompactionRate,
			Doc: "Bound on what compactions read and write (--compaction-bytes-per-second).",
		},
		{
			Name: "socket.request.max.bytes", Type: metadata.ConfigInt,
			Value: strconv.FormatInt(c.MaxRequestBytes, 10),
			Set:   c.MaxRequestBytes != d.MaxRequestBytes,
			Doc:   "The largest produce request (--max-request-bytes).",
		},
		{
			Name: "num.partitions", Type: metadata.ConfigInt,
			Value: strconv.FormatInt(c.NumPartitions, 10), Set: c.NumPartitions != d.NumPartitions,
			Doc: "Partitions of a topic created without a number (--num-partitions).",
		},
		{
			Name: "chronos.fsync.mode", Type: metadata.ConfigString, Value: c.FsyncMode,
			Set: c.FsyncMode != d.FsyncMode,
			Doc: "When a write is made durable (--fsync-mode).",
		},
		{
			Name: "chronos.fsync.interval.ms", Type: metadata.ConfigLong,
			Value: strconv.FormatInt(c.FsyncInterval.Milliseconds(), 10),
			Set:   c.FsyncInterval != d.FsyncInterval,
			Doc:   "The time between fsyncs in the mode periodic (--fsync-interval).",
		},
		{
			Name: "chronos.tick.ms", Type: metadata.ConfigInt, Value: strconv.FormatInt(c.TickMs, 10),
			Set: c.TickMs != d.TickMs,
			Doc: "The resolution of deliveries (--tick-ms).",
		},
		{
			Name: "chronos.wheel.size", Type: metadata.ConfigInt,
			Value: strconv.FormatInt(c.WheelSize, 10), Set: c.WheelSize != d.WheelSize,
			Doc: "Slots of the timing wheel (--wheel-size).",
		},
		{
			Name: "chronos.max.clock.jump.ms", Type: metadata.ConfigLong,
			Value: strconv.FormatInt(c.MaxClockJump.Milliseconds(), 10),
			Set:   c.MaxClockJump != d.MaxClockJump,
			Doc:   "The jump ahead of the clock that pauses deliveries (--max-clock-jump).",
		},
		{
			Name: "chronos.journal.bytes", Type: metadata.ConfigLong,
			Value: strconv.FormatInt(c.JournalBytes, 10), Set: c.JournalBytes != d.JournalBytes,
			Doc: "Disk space for the commit journal (--journal-size).",
		},
	}
}

// bytesPerSecond writes a bound as Kafka does: a decimal number, the largest one for no bound.
func bytesPerSecond(n int64) string {
	if n == 0 {
		return metadata.FormatDouble(math.MaxFloat64) // java.lang.Double.MAX_VALUE
	}
	return metadata.FormatDouble(float64(n))
}
