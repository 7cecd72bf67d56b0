package metadata

import "slices"

// Names of the topic configs.
const (
	ConfigScheduleEnable       = "chronos.schedule.enable"
	ConfigScheduleHeaderTs     = "chronos.schedule.header.ts"
	ConfigScheduleMaxDelay     = "chronos.schedule.max.delay.ms"
	ConfigScheduleMaxPending   = "chronos.schedule.max.pending"
	ConfigCleanupPolicy        = "cleanup.policy"
	ConfigGzipLevel            = "compression.gzip.level"
	ConfigLz4Level             = "compression.lz4.level"
	ConfigCompressionType      = "compression.type"
	ConfigZstdLevel            = "compression.zstd.level"
	ConfigDeleteRetention      = "delete.retention.ms"
	ConfigFileDeleteDelay      = "file.delete.delay.ms"
	ConfigFlushMessages        = "flush.messages"
	ConfigFlushMs              = "flush.ms"
	ConfigIndexInterval        = "index.interval.bytes"
	ConfigInternalSegmentBytes = "internal.segment.bytes"
	ConfigLocalRetentionBytes  = "local.retention.bytes"
	ConfigLocalRetentionMs     = "local.retention.ms"
	ConfigMaxCompactionLag     = "max.compaction.lag.ms"
	ConfigMaxMessageBytes      = "max.message.bytes"
	ConfigDownconversionEnable = "message.downconversion.enable"
	ConfigMessageFormatVersion = "message.format.version"
	ConfigTimestampAfterMax    = "message.timestamp.after.max.ms"
	ConfigTimestampBeforeMax   = "message.timestamp.before.max.ms"
	ConfigTimestampType        = "message.timestamp.type"
	ConfigMinCleanableRatio    = "min.cleanable.dirty.ratio"
	ConfigMinCompactionLag     = "min.compaction.lag.ms"
	ConfigMinInsyncReplicas    = "min.insync.replicas"
	ConfigPreallocate          = "preallocate"
	ConfigRemoteCopyDisable    = "remote.log.copy.disable"
	ConfigRemoteDelete         = "remote.log.delete.on.disable"
	ConfigRemoteStorageEnable  = "remote.storage.enable"
	ConfigRetentionBytes       = "retention.bytes"
	ConfigRetentionMs          = "retention.ms"
	ConfigSegmentBytes         = "segment.bytes"
	ConfigSegmentIndexBytes    = "segment.index.bytes"
	ConfigSegmentJitter        = "segment.jitter.ms"
	ConfigSegmentMs            = "segment.ms"
	ConfigUncleanElection      = "unclean.leader.election.enable"
)

const (
	// segmentBytesMin is the floor of segment.bytes since Kafka 4.0 (KIP-1030).
	segmentBytesMin = 1 << 20
	// internalSegmentBytesMin is ours; Kafka's internal.segment.bytes has none.
	internalSegmentBytesMin = 1 << 14
	// scheduleMaxDelayMax keeps a due time, which is a sum, far from overflowing.
	scheduleMaxDelayMax = 1<<61 - 1
	// maxLong is Kafka's way of writing "never".
	maxLong = "9223372036854775807"
	noTiers = " There is no tiered storage, so only the default is accepted."
)

// ConfigDefs is the table of topic configs, ordered by name. Parsing, validation, CreateTopics and
// DescribeConfigs all derive from it. Defaults and validators are those of Kafka 4.3
// (org.apache.kafka.storage.internals.log.LogConfig) unless a row says otherwise.
var ConfigDefs = slices.Concat(chronosConfigs, cleanupConfigs, fileConfigs, messageConfigs,
	moreCleanupConfigs, remoteConfigs, segmentConfigs)

var chronosConfigs = []ConfigDef{
	{
		Name: ConfigScheduleEnable, Type: ConfigBoolean, Default: "true",
		Doc: "Whether chronos-schedule-* headers are acted on. When false they are plain headers; " +
			"what is already pending is still delivered.",
		store: func(c *TopicConfig, v value) { c.ScheduleEnable = v.yes },
	},
	{
		Name: ConfigScheduleHeaderTs, Type: ConfigString,
		Doc: "The name of another header that means the same as chronos-schedule-ts, for applications " +
			"that send one already. It is removed at the delivery as well. Empty is none.",
		check: headerName,
		store: func(c *TopicConfig, v value) { c.ScheduleHeaderTs = v.text },
	},
	{
		Name: ConfigScheduleMaxDelay, Type: ConfigLong, Default: "315360000000",
		Doc:   "How far ahead a due time may lie, in milliseconds. The default is ten years.",
		check: between(0, scheduleMaxDelayMax),
		store: func(c *TopicConfig, v value) { c.ScheduleMaxDelayMs = v.num },
	},
	{
		Name: ConfigScheduleMaxPending, Type: ConfigLong, Default: maxLong,
		Doc: "How many records may wait for their time in each partition of the topic. A batch that " +
			"would make it more is refused with POLICY_VIOLATION; one that replaces what waits is not.",
		check: atLeast(0),
		store: func(c *TopicConfig, v value) { c.ScheduleMaxPending = v.num },
	},
}

var cleanupConfigs = []ConfigDef{
	{
		Name: ConfigCleanupPolicy, Type: ConfigList, Default: "delete",
		Doc: "What becomes of old segments: delete removes those that retention.ms or " +
			"retention.bytes no longer keep, compact keeps the last record of each key, and both " +
			"may be given. An empty list keeps everything.",
		Synonyms: []BrokerSynonym{{Name: "log.cleanup.policy", Default: "delete"}},
		check:    in("compact", "delete"),
		store: func(c *TopicConfig, v value) {
			c.CleanupDelete = slices.Contains(v.items, "delete")
			c.CleanupCompact = slices.Contains(v.items, "compact")
		},
	},
	{
		Name: ConfigGzipLevel, Type: ConfigInt, Default: "-1",
		Doc: "The level at which the server compresses if compression.type is gzip: 1 is the " +
			"fastest, 9 the smallest, -1 the codec's own choice.",
		Synonyms: []BrokerSynonym{{Name: ConfigGzipLevel, Default: "-1"}},
		check:    gzipLevel,
		store:    func(c *TopicConfig, v value) { c.GzipLevel = int(v.num) },
	},
	{
		Name: ConfigLz4Level, Type: ConfigInt, Default: "9",
		Doc: "The level at which the server compresses if compression.type is lz4, from 1 to 17. " +
			"The default stands for the fast mode.",
		Synonyms: []BrokerSynonym{{Name: ConfigLz4Level, Default: "9"}},
		check:    between(1, 17),
		store:    func(c *TopicConfig, v value) { c.Lz4Level = int(v.num) },
	},
	{
		Name: ConfigCompressionType, Type: ConfigString, Default: "producer",
		Doc:      "The codec of stored batches; producer keeps each producer's own.",
		Synonyms: []BrokerSynonym{{Name: ConfigCompressionType, Default: "producer"}},
		check:    in("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"),
		store:    func(c *TopicConfig, v value) { c.CompressionType = v.text },
	},
	{
		Name: ConfigZstdLevel, Type: ConfigInt, Default: "3",
		Doc: "The level at which the server compresses if compression.type is zstd, as the zstd " +
			"command counts: up to 22. The encoder knows four speeds and takes the nearest.",
		Synonyms: []BrokerSynonym{{Name: ConfigZstdLevel, Default: "3"}},
		check:    between(-131072, 22),
		store:    func(c *TopicConfig, v value) { c.ZstdLevel = int(v.num) },
	},
	{
		Name: ConfigDeleteRetention, Type: ConfigLong, Default: "86400000",
		Doc: "How long compaction keeps a tombstone, in milliseconds: a consumer that reads from " +
			"the start within this time misses no deletion.",
		Synonyms: []BrokerSynonym{{Name: "log.cleaner.delete.retention.ms", Default: "86400000"}},
		check:    atLeast(0),
		store:    func(c *TopicConfig, v value) { c.DeleteRetentionMs = v.num },
	},
}

var fileConfigs = []ConfigDef{
	{
		Name: ConfigFileDeleteDelay, Type: ConfigLong, Default: "60000",
		Doc: "How long Kafka leaves the file of a deleted segment on disk, in milliseconds. Accepted " +
			"without effect: who reads a segment here holds its file, so that it can go at once.",
		Synonyms: []BrokerSynonym{{Name: "log.segment.delete.delay.ms", Default: "60000"}},
		check:    atLeast(0),
	},
	{
		Name: ConfigFlushMessages, Type: ConfigLong, Default: maxLong,
		Doc: "After how many messages Kafka forces an fsync. Accepted without effect: unless the " +
			"server runs with --fsync-mode periodic, every batch is on disk before it is acknowledged.",
		Synonyms: []BrokerSynonym{{Name: "log.flush.interval.messages", Default: maxLong}},
		check:    atLeast(1),
	},
	{
		Name: ConfigFlushMs, Type: ConfigLong, Default: maxLong,
		Doc: "After how many milliseconds Kafka forces an fsync. Accepted without effect: unless the " +
			"server runs with --fsync-mode periodic, every batch is on disk before it is acknowledged.",
		Synonyms: []BrokerSynonym{
			{Name: "log.flush.interval.ms"}, {Name: "log.flush.scheduler.interval.ms", Default: maxLong},
		},
		check: atLeast(0),
	},
	{
		Name: ConfigIndexInterval, Type: ConfigInt, Default: "4096",
		Doc: "How many bytes of log lie between two entries of a segment's index. More than the " +
			"default counts as the default.",
		Synonyms: []BrokerSynonym{{Name: "log.index.interval.bytes", Default: "4096"}},
		check:    atLeast(0),
		store:    func(c *TopicConfig, v value) { c.IndexIntervalBytes = v.num },
	},
	{
		Name: ConfigInternalSegmentBytes, Type: ConfigInt, Hidden: true,
		Doc: "Kafka's own back door for tests: a segment.bytes that may be smaller than the least " +
			"that segment.bytes accepts. It goes first.",
		check: atLeast(internalSegmentBytesMin),
		store: func(c *TopicConfig, v value) { c.SegmentBytes = v.num },
	},
	{
		Name: ConfigLocalRetentionBytes, Type: ConfigLong, Default: "-2", ReadOnly: true,
		Doc:      "How many bytes of a tiered partition are kept locally." + noTiers,
		Synonyms: []BrokerSynonym{{Name: "log.local.retention.bytes", Default: "-2"}},
	},
	{
		Name: ConfigLocalRetentionMs, Type: ConfigLong, Default: "-2", ReadOnly: true,
		Doc:      "How long records of a tiered partition are kept locally." + noTiers,
		Synonyms: []BrokerSynonym{{Name: "log.local.retention.ms", Default: "-2"}},
	},
	{
		Name: ConfigMaxCompactionLag, Type: ConfigLong, Default: maxLong,
		Doc: "The longest that a record may stay out of reach of compaction, in milliseconds. Only " +
			"for topics that are compacted.",
		Synonyms: []BrokerSynonym{{Name: "log.cleaner.max.compaction.lag.ms", Default: maxLong}},
		check:    atLeast(1),
		store:    func(c *TopicConfig, v value) { c.MaxCompactionLagMs = v.num },
	},
}

var messageConfigs = []ConfigDef{
	{
		Name: ConfigMaxMessageBytes, Type: ConfigInt, Default: "1048588",
		Doc:      "The largest record batch that a producer may send, in bytes, as it is compressed.",
		Synonyms: []BrokerSynonym{{Name: "message.max.bytes", Default: "1048588"}},
		check:    atLeast(0),
		store:    func(c *TopicConfig, v value) { c.MaxMessageBytes = v.num },
	},
	{
		Name: ConfigDownconversionEnable, Type: ConfigBoolean, Hidden: true, Ignored: true,
		Doc: "Removed in Kafka 4.0. Accepted without effect: batches are only ever of the current " +
			"format.",
	},
	{
		Name: ConfigMessageFormatVersion, Type: ConfigString, Hidden: true, Ignored: true,
		Doc: "Removed in Kafka 4.0. Accepted without effect: batches are only ever of the current " +
			"format.",
		check: formatVersion,
	},
	{
		// Kafka's default was without a limit until 4.0 (KIP-1030).
		Name: ConfigTimestampAfterMax, Type: ConfigLong, Default: "3600000",
		Doc: "How far a producer's timestamp may lie in the future, in milliseconds. Not for topics " +
			"with LogAppendTime.",
		Synonyms: []BrokerSynonym{{Name: "log.message.timestamp.after.max.ms", Default: "3600000"}},
		check:    atLeast(0),
		store:    func(c *TopicConfig, v value) { c.TimestampAfterMaxMs = v.num },
	},
	{
		Name: ConfigTimestampBeforeMax, Type: ConfigLong, Default: maxLong,
		Doc: "How far a producer's timestamp may lie in the past, in milliseconds. Not for topics " +
			"with LogAppendTime.",
		Synonyms: []BrokerSynonym{{Name: "log.message.timestamp.before.max.ms", Default: maxLong}},
		check:    atLeast(0),
		store:    func(c *TopicConfig, v value) { c.TimestampBeforeMaxMs = v.num },
	},
	{
		Name: ConfigTimestampType, Type: ConfigString, Default: "CreateTime",
		Doc: "Whether a record keeps its producer's timestamp or gets the time of its append. A " +
			"scheduled record always gets the time of its delivery.",
		Synonyms: []BrokerSynonym{{Name: "log.message.timestamp.type", Default: "CreateTime"}},
		check:    in("CreateTime", "LogAppendTime"),
		store:    func(c *TopicConfig, v value) { c.LogAppendTime = v.text == "LogAppendTime" },
	},
}

var moreCleanupConfigs = []ConfigDef{
	{
		Name: ConfigMinCleanableRatio, Type: ConfigDouble, Default: "0.5",
		Doc: "The share of a log that must be uncompacted before it is compacted again, from 0 to " +
			"1. Only for topics that are compacted.",
		Synonyms: []BrokerSynonym{{Name: "log.cleaner.min.cleanable.ratio", Default: "0.5"}},
		check:    share,
		store:    func(c *TopicConfig, v value) { c.MinCleanableDirtyRatio = v.real },
	},
	{
		Name: ConfigMinCompactionLag, Type: ConfigLong, Default: "0",
		Doc: "The least time that a record stays out of reach of compaction, in milliseconds. Only " +
			"for topics that are compacted.",
		Synonyms: []BrokerSynonym{{Name: "log.cleaner.min.compaction.lag.ms", Default: "0"}},
		check:    atLeast(0),
		store:    func(c *TopicConfig, v value) { c.MinCompactionLagMs = v.num },
	},
	{
		// Kafka 3.7 and later ask for no more replicas than a partition has (Partition.effectiveMinIsr),
		// and so take two for one here. Who asks for two copies is told that there is one.
		Name: ConfigMinInsyncReplicas, Type: ConfigInt, Default: "1",
		Doc: "How many in-sync replicas a write with acks=all needs. This server is one node, so " +
			"every value above 1 refuses such writes.",
		Synonyms: []BrokerSynonym{{Name: ConfigMinInsyncReplicas, Default: "1"}},
		check:    atLeast(1),
		store:    func(c *TopicConfig, v value) { c.MinInsyncReplicas = int32(v.num) },
	},
	{
		Name: ConfigPreallocate, Type: ConfigBoolean, Default: "false",
		Doc: "Whether Kafka reserves the space of a whole segment when it begins one. Accepted " +
			"without effect: space is reserved in steps, ahead of what is written.",
		Synonyms: []BrokerSynonym{{Name: "log.preallocate", Default: "false"}},
	},
}

var remoteConfigs = []ConfigDef{
	{
		Name: ConfigRemoteCopyDisable, Type: ConfigBoolean, Default: "false", ReadOnly: true,
		Doc: "Whether nothing more of a tiered topic is copied away." + noTiers,
	},
	{
		Name: ConfigRemoteDelete, Type: ConfigBoolean, Default: "false", ReadOnly: true,
		Doc: "Whether tiered data goes when tiering is switched off." + noTiers,
	},
	{
		Name: ConfigRemoteStorageEnable, Type: ConfigBoolean, Default: "false", ReadOnly: true,
		Doc: "Whether old segments move to another storage." + noTiers,
	},
}

var segmentConfigs = []ConfigDef{
	{
		// Kafka has no validator here: every negative number means no limit.
		Name: ConfigRetentionBytes, Type: ConfigLong, Default: "-1",
		Doc: "How many bytes of a partition are kept at least; -1 has no limit. Records that wait " +
			"for their due time are not counted and never deleted by it.",
		Synonyms: []BrokerSynonym{{Name: "log.retention.bytes", Default: "-1"}},
		store:    func(c *TopicConfig, v value) { c.RetentionBytes = max(v.num, -1) },
	},
	{
		Name: ConfigRetentionMs, Type: ConfigLong, Default: "604800000",
		Doc: "How long records are kept at least, in milliseconds; a scheduled record's time " +
			"begins with its delivery; -1 keeps for ever.",
		Synonyms: []BrokerSynonym{
			{Name: "log.retention.ms"},
			{Name: "log.retention.minutes", Type: ConfigInt},
			{Name: "log.retention.hours", Default: "168", Type: ConfigInt},
		},
		check: atLeast(-1),
		store: func(c *TopicConfig, v value) { c.RetentionMs = v.num },
	},
	{
		Name: ConfigSegmentBytes, Type: ConfigInt,
		Doc: "The size at which a segment is closed, in bytes. The default is the server's " +
			"--segment-size.",
		Synonyms: []BrokerSynonym{{Name: "log.segment.bytes"}},
		check:    atLeast(segmentBytesMin),
		store: func(c *TopicConfig, v value) {
			if c.SegmentBytes == 0 { // internal.segment.bytes goes first, here as in the table.
				c.SegmentBytes = v.num
			}
		},
	},
	{
		Name: ConfigSegmentIndexBytes, Type: ConfigInt, Default: "10485760",
		Doc: "How large Kafka's preallocated index of a segment is. Accepted without effect: an " +
			"index here grows with its segment and is never full.",
		Synonyms: []BrokerSynonym{{Name: "log.index.size.max.bytes", Default: "10485760"}},
		check:    atLeast(4),
	},
	{
		Name: ConfigSegmentJitter, Type: ConfigLong, Default: "0",
		Doc: "Up to this many milliseconds, chosen at random for each segment, are taken off " +
			"segment.ms, so that not all segments are closed at once.",
		Synonyms: []BrokerSynonym{
			{Name: "log.roll.jitter.ms"}, {Name: "log.roll.jitter.hours", Default: "0", Type: ConfigInt},
		},
		check: atLeast(0),
		store: func(c *TopicConfig, v value) { c.SegmentJitterMs = v.num },
	},
	{
		Name: ConfigSegmentMs, Type: ConfigLong, Default: "604800000",
		Doc: "The age at which a segment is closed, by the next append, in milliseconds.",
		Synonyms: []BrokerSynonym{
			{Name: "log.roll.ms"}, {Name: "log.roll.hours", Default: "168", Type: ConfigInt},
		},
		check: atLeast(1),
		store: func(c *TopicConfig, v value) { c.SegmentMs = v.num },
	},
	{
		Name: ConfigUncleanElection, Type: ConfigBoolean, Default: "false",
		Doc: "Whether a replica that is not in sync may lead, at the price of lost records. Accepted " +
			"without effect: with one node there is nobody else to elect.",
		Synonyms: []BrokerSynonym{{Name: ConfigUncleanElection, Default: "false"}},
	},
}
