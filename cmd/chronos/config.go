package main

import (
	"math"
	"time"

	"github.com/spf13/pflag"

	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/log/compaction"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// Config is everything that can be chosen about a server. Each field is one flag, one CHRONOS_
// environment variable and one key of the configuration file, all of the same name; registerFlags
// is the one place that ties them together.
type Config struct {
	NodeID           int64
	DataDir          string
	KafkaAddr        string // host:port to listen on for Kafka clients
	HTTPAddr         string // host:port to listen on for /health, /metrics and the HTTP API
	HTTPRemoteWrites bool   // whether the HTTP API takes orders from other machines
	AdvertisedAddr   string // host:port told to clients; empty: follows from KafkaAddr
	AutoCreateTopics bool
	NumPartitions    int64 // of a topic that is created without saying how many
	SegmentBytes     int64 // size at which a log file is closed and the next one begun
	JournalBytes     int64 // size of the commit journal
	FsyncMode        string
	FsyncInterval    time.Duration // between fsyncs in the mode periodic
	TickMs           int64         // resolution of the timing wheel
	WheelSize        int64         // slots of the timing wheel
	MaxClockJump     time.Duration // of the time of day ahead of the time that passes; 0: any
	RetentionCheck   time.Duration // pause between looks for expired segments
	CompactionCheck  time.Duration // pause between looks for what is to be compacted
	CompactionMemory int64         // for the keys of a compaction
	CompactionRate   int64         // bytes a second; 0 is no limit
	DedupTTL         time.Duration // has no effect yet; serve says so when it is chosen
	MaxRequestBytes  int64         // of Produce; every other request is bounded by 1 MiB
	LogLevel         string
	LogFormat        string
	ConfigFile       string
}

// The bounds of the flags. Each is where a value stops making sense, not a measured optimum.
const (
	partitionsMax    = metadata.MaxPartitionsPerTopic
	segmentBytesMin  = 1 << 20
	journalBytesMin  = 64 << 20
	journalBytesMax  = 8 << 30
	segmentBytesMax  = math.MaxInt32 // positions in a segment's index are 32 bits wide
	fsyncIntervalMin = time.Millisecond
	fsyncIntervalMax = time.Minute
	tickMsMax        = 1000
	wheelSlotsMin    = 512
	wheelSlotsMax    = 1 << 20
	clockJumpMax     = 365 * 24 * time.Hour
	retentionMin     = 10 * time.Millisecond
	retentionMax     = 24 * time.Hour
	compactionMin    = 10 * time.Millisecond
	compactionMax    = time.Hour
	compactionMapMin = 1 << 20
	compactionMapMax = 1 << 40
	compactionRate   = 1 << 40
	dedupTTLMax      = 10 * 365 * 24 * time.Hour
	requestBytesMin  = 1 << 20
	requestBytesMax  = 100 << 20 // Kafka's own default bound of any request
)

// defaultConfig is what runs when nothing is chosen: a server that only this machine can reach,
// because there is no authentication yet.
func defaultConfig() Config {
	return Config{
		NodeID:           1,
		DataDir:          "./data",
		KafkaAddr:        "127.0.0.1:9092",
		HTTPAddr:         "127.0.0.1:8080",
		AutoCreateTopics: true,
		NumPartitions:    1,
		SegmentBytes:     512 << 20,
		JournalBytes:     256 << 20,
		FsyncMode:        "batch",
		FsyncInterval:    100 * time.Millisecond,
		TickMs:           1,
		WheelSize:        65536,
		MaxClockJump:     time.Minute,
		RetentionCheck:   5 * time.Minute,
		CompactionCheck:  15 * time.Second,
		CompactionMemory: compaction.MapBytesDefault,
		DedupTTL:         7 * 24 * time.Hour,
		MaxRequestBytes:  kafkaproto.MaxRequestBytesDefault,
		LogLevel:         "info",
		LogFormat:        "auto",
	}
}

// registerFlags adds a flag for each field of c, whose current value is the default. The order is
// that of --help: what most people change comes first.
func registerFlags(f *pflag.FlagSet, c *Config) {
	f.SortFlags = false
	f.Var(text(&c.DataDir, "directory"), "data-dir",
		"directory that holds the logs; made when missing")
	f.Var(address(&c.KafkaAddr), "kafka-addr", "where to listen for Kafka clients")
	f.Var(address(&c.HTTPAddr), "http-addr", "where to listen for /health, /metrics and /v1")
	f.Var(boolean(&c.HTTPRemoteWrites), "http-allow-remote-writes",
		"let other machines cancel, move and pause over HTTP, not only this one")
	f.Lookup("http-allow-remote-writes").NoOptDefVal = "true"
	f.Var(advertised(&c.AdvertisedAddr), "advertised-addr",
		"address that clients are told to connect to (default: follows from --kafka-addr)")
	f.Var(integer(&c.NodeID, 1, math.MaxInt32), "node-id", "broker id of this server")
	f.Var(boolean(&c.AutoCreateTopics), "auto-create-topics",
		"create a topic when a client first names it")
	f.Lookup("auto-create-topics").NoOptDefVal = "true"
	f.Var(integer(&c.NumPartitions, 1, partitionsMax), "num-partitions",
		"partitions of a topic created without a number")
	f.Var(oneOf(&c.FsyncMode, "batch", "every_event", "periodic"), "fsync-mode",
		"batch: one fsync covers many acks; every_event: one for each request;\n"+
			"periodic: ack after the write, so a power cut can lose the last interval")
	f.Var(duration(&c.FsyncInterval, fsyncIntervalMin, fsyncIntervalMax), "fsync-interval",
		"time between fsyncs in --fsync-mode periodic")
	f.Var(size(&c.SegmentBytes, segmentBytesMin, segmentBytesMax), "segment-size",
		"size at which a log segment is closed; a topic's segment.bytes goes first")
	f.Var(size(&c.JournalBytes, journalBytesMin, journalBytesMax), "journal-size",
		"disk space for the commit journal, which makes many partitions durable at once;\n"+
			"none in --fsync-mode periodic")
	f.Var(duration(&c.RetentionCheck, retentionMin, retentionMax), "retention-check-interval",
		"time between looks for segments to delete")
	f.Var(duration(&c.CompactionCheck, compactionMin, compactionMax), "compaction-check-interval",
		"time between looks for topics to compact")
	f.Var(size(&c.CompactionMemory, compactionMapMin, compactionMapMax), "compaction-memory",
		"memory for the keys of a compaction; more keys take more passes")
	f.Var(size(&c.CompactionRate, 0, compactionRate), "compaction-bytes-per-second",
		"bound on what compactions read and write; 0 is none")
	f.Var(size(&c.MaxRequestBytes, requestBytesMin, requestBytesMax), "max-request-bytes",
		"largest produce request; other requests are bounded by 1MiB")
	f.Var(integer(&c.TickMs, 1, tickMsMax), "tick-ms", "resolution of deliveries in milliseconds")
	f.Var(integer(&c.WheelSize, wheelSlotsMin, wheelSlotsMax), "wheel-size",
		"slots of the timing wheel; records due later than tick-ms * wheel-size wait on disk")
	f.Var(duration(&c.MaxClockJump, 0, clockJumpMax), "max-clock-jump",
		"a longer jump ahead of the time of day pauses deliveries until it agrees with the time\n"+
			"that has passed, a machine's suspension counted; 0 trusts it always")
	f.Var(duration(&c.DedupTTL, time.Second, dedupTTLMax), "dedup-ttl",
		"how long message ids are to be remembered; without effect in this version")
	f.Var(oneOf(&c.LogLevel, "debug", "info", "warn", "error"), "log-level",
		"least severe log line to print")
	f.Var(oneOf(&c.LogFormat, "auto", "console", "json"), "log-format",
		"auto: console on a terminal, JSON elsewhere")
	f.Var(optional(text(&c.ConfigFile, "file")), "config",
		"YAML file whose keys are the names of these flags")
}
