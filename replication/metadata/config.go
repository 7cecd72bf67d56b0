package metadata

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/chronosdb/chronosdb/log/batch"
)

// TopicConfig is a topic's configs, parsed and with defaults filled in. Names and defaults are
// Kafka's (org.apache.kafka.common.config.TopicConfig and LogConfig), except for the chronos ones.
type TopicConfig struct {
	RetentionMs          int64  // keep at least this long after delivery; -1 keeps for ever
	RetentionBytes       int64  // keep at least this much; -1 has no limit
	SegmentBytes         int64  // a segment is closed before it grows beyond this
	SegmentMs            int64  // a segment is closed when its first record is this old
	MaxMessageBytes      int64  // largest batch that a producer may send
	CompressionType      string // "producer" keeps what was sent
	LogAppendTime        bool   // the server's time replaces the producer's
	TimestampBeforeMaxMs int64  // how far in the past a producer's timestamp may lie
	TimestampAfterMaxMs  int64  // how far in the future a producer's timestamp may lie
	ScheduleEnable       bool   // whether control headers are looked at
	ScheduleMaxDelayMs   int64  // how far ahead a due time may lie
}

// Names of the topic configs.
const (
	ConfigCleanupPolicy      = "cleanup.policy"
	ConfigCompressionType    = "compression.type"
	ConfigMaxMessageBytes    = "max.message.bytes"
	ConfigTimestampType      = "message.timestamp.type"
	ConfigTimestampBeforeMax = "message.timestamp.before.max.ms"
	ConfigTimestampAfterMax  = "message.timestamp.after.max.ms"
	ConfigRetentionBytes     = "retention.bytes"
	ConfigRetentionMs        = "retention.ms"
	ConfigSegmentBytes       = "segment.bytes"
	ConfigSegmentMs          = "segment.ms"
	ConfigScheduleEnable     = "chronos.schedule.enable"
	ConfigScheduleMaxDelay   = "chronos.schedule.max.delay.ms"
)

// ConfigType is the type that DescribeConfigs reports for a config.
type ConfigType int8

// The types that topic configs have.
const (
	ConfigBoolean ConfigType = iota + 1
	ConfigString
	ConfigInt
	ConfigLong
	ConfigList
)

// ConfigDef is one row of the table of topic configs: everything that is known of a name.
type ConfigDef struct {
	Name    string
	Type    ConfigType
	Default string
	Doc     string

	min, max int64    // ConfigInt, ConfigLong
	oneOf    []string // ConfigString, ConfigList
	store    func(c *TopicConfig, v value)
}

// value is a parsed value in the form that its type has.
type value struct {
	text string
	num  int64
	yes  bool
}

// tenYearsMs is the default horizon of a due time: 3,650 days.
const tenYearsMs = 3650 * 24 * 3600 * 1000

// ConfigDefs is the table of topic configs, ordered by name. Parsing, validation, CreateTopics and
// DescribeConfigs all derive from it.
var ConfigDefs = []ConfigDef{
	{
		Name: ConfigScheduleEnable, Type: ConfigBoolean, Default: "true",
		Doc: "Whether chronos-schedule-* headers are acted on. When false they are plain headers; " +
			"what is already pending is still delivered.",
		store: func(c *TopicConfig, v value) { c.ScheduleEnable = v.yes },
	},
	{
		Name: ConfigScheduleMaxDelay, Type: ConfigLong, Default: strconv.Itoa(tenYearsMs),
		Doc: "How far ahead a due time may lie, in milliseconds.",
		min: 0, max: math.MaxInt64 / 4,
		store: func(c *TopicConfig, v value) { c.ScheduleMaxDelayMs = v.num },
	},
	{
		Name: ConfigCleanupPolicy, Type: ConfigList, Default: "delete",
		Doc:   "What happens to old segments. Only delete is supported by this version.",
		oneOf: []string{"delete"},
		store: func(*TopicConfig, value) {},
	},
	{
		Name: ConfigCompressionType, Type: ConfigString, Default: "producer",
		Doc:   "The codec of stored batches; producer keeps each producer's own.",
		oneOf: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"},
		store: func(c *TopicConfig, v value) { c.CompressionType = v.text },
	},
	{
		Name: ConfigMaxMessageBytes, Type: ConfigInt, Default: "1048588",
		Doc: "The largest record batch that a producer may send, in bytes.",
		min: 0, max: math.MaxInt32,
		store: func(c *TopicConfig, v value) { c.MaxMessageBytes = v.num },
	},
	{
		Name: ConfigTimestampAfterMax, Type: ConfigLong, Default: "3600000",
		Doc: "How far a producer's timestamp may lie in the future, in milliseconds.",
		min: 0, max: math.MaxInt64,
		store: func(c *TopicConfig, v value) { c.TimestampAfterMaxMs = v.num },
	},
	{
		Name: ConfigTimestampBeforeMax, Type: ConfigLong,
		Default: strconv.FormatInt(math.MaxInt64, 10),
		Doc:     "How far a producer's timestamp may lie in the past, in milliseconds.",
		min:     0, max: math.MaxInt64,
		store: func(c *TopicConfig, v value) { c.TimestampBeforeMaxMs = v.num },
	},
	{
		Name: ConfigTimestampType, Type: ConfigString, Default: "CreateTime",
		Doc:   "Whether a record keeps its producer's timestamp or gets the time of its append.",
		oneOf: []string{"CreateTime", "LogAppendTime"},
		store: func(c *TopicConfig, v value) { c.LogAppendTime = v.text == "LogAppendTime" },
	},
	{
		Name: ConfigRetentionBytes, Type: ConfigLong, Default: "-1",
		Doc: "How many bytes of a partition are kept at least; -1 has no limit.",
		min: -1, max: math.MaxInt64,
		store: func(c *TopicConfig, v value) { c.RetentionBytes = v.num },
	},
	{
		Name: ConfigRetentionMs, Type: ConfigLong, Default: "604800000",
		Doc: "How long records are kept at least, in milliseconds; a scheduled record's time " +
			"begins with its delivery; -1 keeps for ever.",
		min: -1, max: math.MaxInt64,
		store: func(c *TopicConfig, v value) { c.RetentionMs = v.num },
	},
	{
		Name: ConfigSegmentBytes, Type: ConfigInt, Default: "",
		Doc: "The size at which a segment is closed, in bytes. The default is the server's " +
			"segment-size.",
		min: 1 << 14, max: math.MaxInt32,
		store: func(c *TopicConfig, v value) { c.SegmentBytes = v.num },
	},
	{
		Name: ConfigSegmentMs, Type: ConfigLong, Default: "604800000",
		Doc: "The age at which a segment is closed, in milliseconds.",
		min: 1, max: math.MaxInt64,
		store: func(c *TopicConfig, v value) { c.SegmentMs = v.num },
	},
}

// LookupConfig finds a row of the table.
func LookupConfig(name string) (ConfigDef, bool) {
	for _, def := range ConfigDefs {
		if def.Name == name {
			return def, true
		}
	}
	return ConfigDef{}, false
}

// ParseConfigs fills defaults and parses what was set. The error says which name, which value, and
// what would be accepted; it wraps ErrInvalidConfig.
func ParseConfigs(set map[string]string) (TopicConfig, error) {
	var c TopicConfig
	for name := range set {
		if _, ok := LookupConfig(name); !ok {
			return c, fmt.Errorf("%w: unknown topic config name: %s", ErrInvalidConfig, name)
		}
	}
	for _, def := range ConfigDefs {
		text, ok := set[def.Name]
		if !ok {
			text = def.Default
		}
		if text == "" && !ok {
			continue // The server's own setting applies; the zero value says so.
		}
		v, err := def.parse(text)
		if err != nil {
			return c, err
		}
		def.store(&c, v)
	}
	return c, nil
}

func (def ConfigDef) parse(text string) (value, error) {
	switch def.Type {
	case ConfigBoolean:
		switch strings.ToLower(strings.TrimSpace(text)) {
		case "true":
			return value{text: text, yes: true}, nil
		case "false":
			return value{text: text}, nil
		}
		return value{}, def.refuse(text, "expected value to be either true or false")
	case ConfigInt, ConfigLong:
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if err != nil {
			return value{}, def.refuse(text, "not a number")
		}
		if n < def.min {
			return value{}, def.refuse(text, fmt.Sprintf("value must be at least %d", def.min))
		}
		if n > def.max {
			return value{}, def.refuse(text, fmt.Sprintf("value must be no more than %d", def.max))
		}
		return value{text: text, num: n}, nil
	case ConfigString:
		if !slices.Contains(def.oneOf, text) {
			return value{}, def.refuse(text, "string must be one of: "+strings.Join(def.oneOf, ", "))
		}
		return value{text: text}, nil
	case ConfigList:
		for item := range strings.SplitSeq(text, ",") {
			if !slices.Contains(def.oneOf, strings.TrimSpace(item)) {
				return value{}, def.refuse(text, "each item must be one of: "+strings.Join(def.oneOf, ", "))
			}
		}
		return value{text: text}, nil
	default:
		return value{}, def.refuse(text, "the config has no type")
	}
}

// refuse words the error as Kafka's ConfigException does, so that what users know is what they see.
func (def ConfigDef) refuse(text, why string) error {
	return fmt.Errorf("%w: invalid value %s for configuration %s: %s",
		ErrInvalidConfig, text, def.Name, why)
}

// Codec returns the codec that stored batches must have, and false when each producer's own is
// kept.
func (c TopicConfig) Codec() (batch.Codec, bool) {
	switch c.CompressionType {
	case "uncompressed":
		return batch.None, true
	case "gzip":
		return batch.Gzip, true
	case "snappy":
		return batch.Snappy, true
	case "lz4":
		return batch.Lz4, true
	case "zstd":
		return batch.Zstd, true
	default:
		return batch.None, false
	}
}
