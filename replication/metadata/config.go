package metadata

import (
	"fmt"
	"slices"

	"github.com/chronosdb/chronosdb/log/batch"
)

// TopicConfig is a topic's configs, parsed and with defaults filled in. Names and defaults are
// Kafka's (org.apache.kafka.common.config.TopicConfig and LogConfig), except for the chronos ones.
// Configs that cannot matter here have no field; their documentation says why.
type TopicConfig struct {
	CleanupDelete  bool  // retention.ms and retention.bytes delete old segments
	CleanupCompact bool  // of each key the last record is kept
	RetentionMs    int64 // keep at least this long after delivery; -1 keeps for ever
	RetentionBytes int64 // keep at least this much; negative has no limit

	SegmentBytes       int64 // a segment is closed before it grows beyond this; 0: the server's own
	SegmentMs          int64 // a segment is closed when its first record is this old
	SegmentJitterMs    int64 // up to this much is taken off SegmentMs, at random
	IndexIntervalBytes int64 // how much log lies between two entries of a segment's index

	MaxMessageBytes      int64  // largest batch that a producer may send
	CompressionType      string // "producer" keeps what was sent
	GzipLevel            int    // -1, or 1 to 9
	Lz4Level             int    // 1 to 17
	ZstdLevel            int    // -131072 to 22
	LogAppendTime        bool   // the server's time replaces the producer's
	TimestampBeforeMaxMs int64  // how far in the past a producer's timestamp may lie
	TimestampAfterMaxMs  int64  // how far in the future a producer's timestamp may lie
	MinInsyncReplicas    int32  // fewer in-sync replicas refuse what is sent with acks=all

	DeleteRetentionMs      int64   // how long compaction keeps a tombstone
	MinCompactionLagMs     int64   // a record is not compacted before it is this old
	MaxCompactionLagMs     int64   // a record does not stay uncompacted for longer than this
	MinCleanableDirtyRatio float64 // share of uncompacted bytes from which on compaction is worth it

	ScheduleEnable     bool   // whether control headers are looked at
	ScheduleMaxDelayMs int64  // how far ahead a due time may lie
	ScheduleMaxPending int64  // how many records may wait in each partition
	ScheduleHeaderTs   string // another name of chronos-schedule-ts; empty: none
}

// ConfigError is a refused config, in Kafka's words, because these are what users search for.
type ConfigError struct{ text string }

// Error is the sentence without anything before it, as Kafka answers it.
func (e *ConfigError) Error() string { return e.text }

// Unwrap makes it an ErrInvalidConfig.
func (e *ConfigError) Unwrap() error { return ErrInvalidConfig }

func refuseConfig(format string, args ...any) error {
	return &ConfigError{text: fmt.Sprintf(format, args...)}
}

// ParseConfigs fills defaults and parses what was set. The error is a *ConfigError: it says which
// name, which value, and what would be accepted.
func ParseConfigs(set map[string]string) (TopicConfig, error) {
	var c TopicConfig
	var unknown []string
	for name := range set {
		if _, ok := LookupConfig(name); !ok {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		// Of several always the same one, so that replays agree on the text.
		return c, refuseConfig("Unknown topic config name: %s", slices.Min(unknown))
	}
	for i := range ConfigDefs {
		def := &ConfigDefs[i]
		text, ok := set[def.Name]
		if !ok && def.Default == "" {
			continue // The server's own setting applies; the zero value says so.
		}
		if !ok {
			text = def.Default
		}
		v, err := def.parse(text)
		if err != nil {
			return c, err
		}
		if def.store != nil {
			def.store(&c, v)
		}
	}
	if c.MinCompactionLagMs > c.MaxCompactionLagMs {
		return c, refuseConfig("conflict topic config setting %s (%d) > %s (%d)",
			ConfigMinCompactionLag, c.MinCompactionLagMs, ConfigMaxCompactionLag, c.MaxCompactionLagMs)
	}
	return c, nil
}

// IgnoredConfigs returns those names of a set, in the table's order, that older clients still send
// and that have no meaning any more.
func IgnoredConfigs[V any](set map[string]V) (names []string) {
	for i := range ConfigDefs {
		if _, ok := set[ConfigDefs[i].Name]; ok && ConfigDefs[i].Ignored {
			names = append(names, ConfigDefs[i].Name)
		}
	}
	return names
}

// lz4FastLevel is Kafka's default level of lz4, which does not stand for level 9 of its HC mode but
// for its fast mode (org.apache.kafka.common.compress.Lz4BlockOutputStream).
const lz4FastLevel = 9

// Codec returns the codec that stored batches must have and its level, and false when each
// producer's own is kept.
func (c *TopicConfig) Codec() (codec batch.Codec, level batch.Level, fixed bool) {
	switch c.CompressionType {
	case "uncompressed":
		return batch.None, 0, true
	case "gzip":
		return batch.Gzip, batch.Level(max(c.GzipLevel, 0)), true
	case "snappy":
		return batch.Snappy, 0, true
	case "lz4":
		if c.Lz4Level == lz4FastLevel {
			return batch.Lz4, 0, true
		}
		return batch.Lz4, batch.Level(c.Lz4Level), true
	case "zstd":
		return batch.Zstd, batch.Level(c.ZstdLevel), true
	default:
		return batch.None, 0, false
	}
}

// canonical returns accepted configs as they are kept: each value in one spelling, which is short
// whatever was sent.
func canonical(set map[string]string) map[string]string {
	if len(set) == 0 {
		return nil
	}
	out := make(map[string]string, len(set))
	for name, text := range set {
		if def, ok := LookupConfig(name); ok {
			out[name] = def.Show(text)
		}
	}
	return out
}
