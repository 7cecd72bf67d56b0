package metadata

import (
	"errors"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// kafkaDefaults are the names and defaults of ecosystem tools' expectations (Kafka 4.3, LogConfig).
var kafkaDefaults = map[string]string{
	"cleanup.policy": "delete", "retention.ms": "604800000", "retention.bytes": "-1",
	"segment.ms": "604800000", "segment.jitter.ms": "0", "segment.index.bytes": "10485760",
	"index.interval.bytes": "4096", "max.message.bytes": "1048588", "min.insync.replicas": "1",
	"compression.type": "producer", "compression.gzip.level": "-1", "compression.lz4.level": "9",
	"compression.zstd.level": "3", "message.timestamp.type": "CreateTime",
	"message.timestamp.before.max.ms": maxLong, "message.timestamp.after.max.ms": "3600000",
	"delete.retention.ms": "86400000", "min.compaction.lag.ms": "0", "max.compaction.lag.ms": maxLong,
	"min.cleanable.dirty.ratio": "0.5", "file.delete.delay.ms": "60000", "flush.messages": maxLong,
	"flush.ms": maxLong, "unclean.leader.election.enable": "false", "preallocate": "false",
	"remote.storage.enable": "false", "local.retention.ms": "-2", "local.retention.bytes": "-2",
	"remote.log.copy.disable": "false", "remote.log.delete.on.disable": "false",
}

func TestConfigDefaultsAreKafkas(t *testing.T) {
	for name, want := range kafkaDefaults {
		def, ok := LookupConfig(name)
		if !ok {
			t.Errorf("%s is missing", name)
			continue
		}
		if def.Default != want || def.Show(want) != want {
			t.Errorf("%s has default %q, want %q", name, def.Default, want)
		}
		if !def.ReadOnly && len(def.Synonyms) == 0 {
			t.Errorf("%s has no broker synonym", name)
		}
	}
	c, err := ParseConfigs(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := TopicConfig{
		CleanupDelete: true, RetentionMs: 604800000, RetentionBytes: -1, SegmentMs: 604800000,
		IndexIntervalBytes: 4096, MaxMessageBytes: 1048588,
		CompressionType: "producer", GzipLevel: -1, Lz4Level: 9, ZstdLevel: 3,
		TimestampBeforeMaxMs: math.MaxInt64, TimestampAfterMaxMs: 3600000, MinInsyncReplicas: 1,
		DeleteRetentionMs: 86400000, MaxCompactionLagMs: math.MaxInt64, MinCleanableDirtyRatio: 0.5,
		ScheduleEnable: true, ScheduleMaxDelayMs: 3650 * 24 * 3600 * 1000,
		ScheduleMaxPending: math.MaxInt64,
	}
	if c != want {
		t.Fatalf("defaults are\n%+v, want\n%+v", c, want)
	}
}

func TestConfigTableIsWhole(t *testing.T) {
	if !slices.IsSortedFunc(ConfigDefs, func(a, b ConfigDef) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatal("the table is not ordered by name")
	}
	for i := range ConfigDefs {
		def := &ConfigDefs[i]
		if i > 0 && ConfigDefs[i-1].Name == def.Name {
			t.Errorf("%s stands twice", def.Name)
		}
		if len(def.Doc) < 40 || !strings.HasSuffix(def.Doc, ".") {
			t.Errorf("%s is documented by %q", def.Name, def.Doc)
		}
		// What has no effect says so.
		if def.store == nil && !strings.Contains(def.Doc, "without effect") && !def.ReadOnly {
			t.Errorf("%s does nothing and does not say so", def.Name)
		}
		if def.Default != "" && def.Show(def.Default) != def.Default {
			t.Errorf("%s prints its default as %s", def.Name, def.Show(def.Default))
		}
	}
}

// kafkaReason matches what stands behind the name and the value in a ConfigException.
var kafkaReason = regexp.MustCompile(`^(Value|String|Version|Not a number|Expected)`)

// TestConfigValues sets every config to values that Kafka accepts or refuses, with its words.
func TestConfigValues(t *testing.T) {
	const ok = ""
	tests := []struct{ name, value, want string }{
		{"no.such", "1", "Unknown topic config name: no.such"},
		{"", "1", "Unknown topic config name: "},
		{"chronos.schedule.header.ts", "deliver-at", ok},
		{"chronos.schedule.header.ts", "", ok},
		{"chronos.schedule.header.ts", "chronos-x", "Value must not begin with chronos-, which has a meaning of its own"},
		{"chronos.schedule.header.ts", strings.Repeat("x", 256), "Value must have at most 255 bytes"},
		{"chronos.schedule.max.pending", "0", ok},
		{"chronos.schedule.max.pending", "-1", "Value must be at least 0"},
		{"cleanup.policy", "compact", ok},
		{"cleanup.policy", " compact , delete ", ok},
		{"cleanup.policy", "", ok}, // Kafka 4.2: neither
		{"cleanup.policy", "erase", "String must be one of: compact, delete"},
		{"cleanup.policy", "compact,compact", "Configuration 'cleanup.policy' values must not be duplicated."},
		{"cleanup.policy", "compact,", "Configuration 'cleanup.policy' values must not be empty."},
		{"compression.gzip.level", "0", "Value must be between 1 and 9 or equal to -1"},
		{"compression.gzip.level", "10", "Value must be between 1 and 9 or equal to -1"},
		{"compression.gzip.level", "9", ok},
		{"compression.lz4.level", "0", "Value must be at least 1"},
		{"compression.lz4.level", "18", "Value must be no more than 17"},
		{"compression.lz4.level", "17", ok},
		{"compression.zstd.level", "-131073", "Value must be at least -131072"},
		{"compression.zstd.level", "23", "Value must be no more than 22"},
		{"compression.zstd.level", "-7", ok},
		{"compression.type", "none", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.type", "GZIP", "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"compression.type", " gzip ", ok},
		{"delete.retention.ms", "-1", "Value must be at least 0"},
		{"delete.retention.ms", "0", ok},
		{"file.delete.delay.ms", "-1", "Value must be at least 0"},
		{"file.delete.delay.ms", "0", ok},
		{"flush.messages", "0", "Value must be at least 1"},
		{"flush.messages", "1", ok},
		{"flush.ms", "-1", "Value must be at least 0"},
		{"flush.ms", "0", ok},
		{"index.interval.bytes", "-1", "Value must be at least 0"},
		{"index.interval.bytes", "0", ok},
		{"internal.segment.bytes", "16383", "Value must be at least 16384"},
		{"internal.segment.bytes", "16384", ok},
		{"local.retention.bytes", "-2", ok},
		{"local.retention.bytes", "5", "Value must be -2, as there is no tiered storage"},
		{"local.retention.ms", "-1", "Value must be -2, as there is no tiered storage"},
		{"local.retention.ms", "-2", ok},
		{"max.compaction.lag.ms", "0", "Value must be at least 1"},
		{"max.compaction.lag.ms", "1", ok},
		{"max.message.bytes", "-1", "Value must be at least 0"},
		{"max.message.bytes", "2147483648", "Not a number of type INT"},
		{"max.message.bytes", "2147483647", ok},
		{"message.downconversion.enable", "false", ok},
		{"message.downconversion.enable", "0", "Expected value to be either true or false"},
		{"message.format.version", "2.8", ok},
		{"message.format.version", "0.10.2-IV1", ok},
		{"message.format.version", "new", "Version new is not a valid version"},
		{"message.timestamp.after.max.ms", "-1", "Value must be at least 0"},
		{"message.timestamp.after.max.ms", maxLong, ok},
		{"message.timestamp.before.max.ms", "-1", "Value must be at least 0"},
		{"message.timestamp.before.max.ms", "0", ok},
		{"message.timestamp.type", "createtime", "String must be one of: CreateTime, LogAppendTime"},
		{"message.timestamp.type", "LogAppendTime", ok},
		{"min.cleanable.dirty.ratio", "-0.1", "Value must be at least 0"},
		{"min.cleanable.dirty.ratio", "1.01", "Value must be no more than 1"},
		{"min.cleanable.dirty.ratio", "half", "Not a number of type DOUBLE"},
		{"min.cleanable.dirty.ratio", "NaN", "Not a number of type DOUBLE"},
		{"min.cleanable.dirty.ratio", "1", ok},
		{"min.cleanable.dirty.ratio", "Infinity", "Value must be no more than 1"},
		{"min.compaction.lag.ms", "-1", "Value must be at least 0"},
		{"min.compaction.lag.ms", "5", ok},
		{"min.insync.replicas", "0", "Value must be at least 1"},
		{"min.insync.replicas", "3", ok},
		{"preallocate", "yes", "Expected value to be either true or false"},
		{"preallocate", "TRUE", ok},
		{"remote.log.copy.disable", "true", "Value must be false, as there is no tiered storage"},
		{"remote.log.copy.disable", "false", ok},
		{"remote.log.delete.on.disable", "true", "Value must be false, as there is no tiered storage"},
		{"remote.log.delete.on.disable", "false", ok},
		{
			"remote.storage.enable", "true", "Tiered Storage functionality is disabled in the broker. " +
				"Topic cannot be configured with remote log storage.",
		},
		{"remote.storage.enable", "false", ok},
		{"retention.bytes", "-9223372036854775808", ok},
		{"retention.bytes", "9223372036854775808", "Not a number of type LONG"},
		{"retention.ms", "-2", "Value must be at least -1"},
		{"retention.ms", "1h", "Not a number of type LONG"},
		{"retention.ms", "", "Not a number of type LONG"},
		{"retention.ms", "-1", ok},
		{"segment.bytes", "1048575", "Value must be at least 1048576"},
		{"segment.bytes", "1048576", ok},
		{"segment.index.bytes", "3", "Value must be at least 4"},
		{"segment.index.bytes", "4", ok},
		{"segment.jitter.ms", "-1", "Value must be at least 0"},
		{"segment.jitter.ms", "5", ok},
		{"segment.ms", "0", "Value must be at least 1"},
		{"segment.ms", " 1 ", ok},
		{"unclean.leader.election.enable", "maybe", "Expected value to be either true or false"},
		{"unclean.leader.election.enable", "true", ok},
		{"chronos.schedule.enable", "1", "Expected value to be either true or false"},
		{"chronos.schedule.enable", "false", ok},
		{"chronos.schedule.max.delay.ms", "-1", "Value must be at least 0"},
		{"chronos.schedule.max.delay.ms", maxLong, "Value must be no more than 2305843009213693951"},
		{"chronos.schedule.max.delay.ms", "0", ok},
	}
	seen := map[string][2]bool{}
	for _, c := range tests {
		_, err := ParseConfigs(map[string]string{c.name: c.value})
		if c.want == ok {
			if err != nil {
				t.Errorf("%s=%q: %v", c.name, c.value, err)
			}
			seen[c.name] = [2]bool{true, seen[c.name][1]}
			continue
		}
		seen[c.name] = [2]bool{seen[c.name][0], true}
		want := c.want
		if kafkaReason.MatchString(want) {
			want = "Invalid value " + strings.TrimSpace(c.value) + " for configuration " + c.name + ": " + want
		}
		if err == nil || err.Error() != want || !errors.Is(err, ErrInvalidConfig) {
			t.Errorf("%s=%q:\n got %v\nwant %s", c.name, c.value, err, want)
		}
	}
	for i := range ConfigDefs {
		name := ConfigDefs[i].Name
		if got := seen[name]; !got[0] || !got[1] {
			t.Errorf("%s: accepted and refused values tested: %v", name, got)
		}
	}
}

func TestConfigLagsAgree(t *testing.T) {
	_, err := ParseConfigs(map[string]string{
		"min.compaction.lag.ms": "5", "max.compaction.lag.ms": "4",
	})
	want := "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)"
	if err == nil || err.Error() != want || !errors.Is(err, ErrInvalidConfig) {
		t.Fatalf("got %v", err)
	}
	// The conflict may come from a later change of the other one.
	m := applyAll(t, newImage(), create("t", 1, map[string]string{"min.compaction.lag.ms": "5"}))
	set := map[string]*string{"max.compaction.lag.ms": new("4")}
	_, _, err = Apply(m, Command{SetConfigs: &SetConfigs{ID: m.Topic("t").ID, Set: set}})
	if err == nil || err.Error() != want {
		t.Fatalf("got %v", err)
	}
}

// TestConfigsReachTheirFields sets every config that has an effect to another value than its
// default, and wants exactly one field changed by it, and every field by some config.
func TestConfigsReachTheirFields(t *testing.T) {
	defaults, _ := ParseConfigs(nil)
	changed := map[string]string{}
	for i := range ConfigDefs {
		def := &ConfigDefs[i]
		if def.store == nil {
			continue
		}
		got, err := ParseConfigs(map[string]string{def.Name: otherValue(def)})
		if err != nil {
			t.Fatal(err)
		}
		a, b := reflect.ValueOf(defaults), reflect.ValueOf(got)
		n := 0
		for f := range a.NumField() {
			if !a.Field(f).Equal(b.Field(f)) {
				changed[a.Type().Field(f).Name] = def.Name
				n++
			}
		}
		if want := map[string]int{ConfigCleanupPolicy: 2}[def.Name]; n != max(want, 1) {
			t.Errorf("%s changes %d fields", def.Name, n)
		}
	}
	if want := reflect.TypeFor[TopicConfig]().NumField(); len(changed) != want {
		t.Errorf("%d of %d fields are set by a config: %v", len(changed), want, changed)
	}
}

func otherValue(def *ConfigDef) string {
	switch def.Type {
	case ConfigBoolean:
		return strconv.FormatBool(def.Default != "true")
	case ConfigInt, ConfigLong:
		if strings.HasSuffix(def.Name, "segment.bytes") {
			return "1234567"
		}
		return "7"
	case ConfigDouble:
		return "0.25"
	default:
		return map[string]string{
			ConfigCleanupPolicy: "compact", ConfigCompressionType: "zstd", ConfigTimestampType: "LogAppendTime",
			ConfigScheduleHeaderTs: "deliver-at",
		}[def.Name]
	}
}

func TestConfigCleanupPolicy(t *testing.T) {
	for policy, want := range map[string][2]bool{
		"": {}, "delete": {true, false}, "compact": {false, true}, "compact,delete": {true, true},
		"delete, compact": {true, true},
	} {
		c, err := ParseConfigs(map[string]string{ConfigCleanupPolicy: policy})
		if err != nil || [2]bool{c.CleanupDelete, c.CleanupCompact} != want {
			t.Errorf("%q: %+v, %v", policy, c, err)
		}
	}
}

func TestInternalSegmentBytesGoesFirst(t *testing.T) {
	c, err := ParseConfigs(map[string]string{
		ConfigSegmentBytes: "2000000", ConfigInternalSegmentBytes: "16384",
	})
	if err != nil || c.SegmentBytes != 16384 {
		t.Fatalf("%+v, %v", c, err)
	}
}

func TestConfigShow(t *testing.T) {
	for _, c := range [][3]string{
		{ConfigRetentionMs, " +5 ", "5"},
		{ConfigPreallocate, "TRUE", "true"},
		{ConfigCleanupPolicy, "compact , delete", "compact,delete"},
		{ConfigMinCleanableRatio, "1", "1.0"},
		{ConfigMinCleanableRatio, ".5", "0.5"},
		{ConfigMinCleanableRatio, "1e-3", "0.001"},
		{ConfigMinCleanableRatio, "0.00001", "1.0E-5"},
		{ConfigMinCleanableRatio, "0.000125", "1.25E-4"},
		{ConfigMinCleanableRatio, "0", "0.0"},
	} {
		def, _ := LookupConfig(c[0])
		if got := def.Show(c[1]); got != c[2] {
			t.Errorf("%s=%q is shown as %q, want %q", c[0], c[1], got, c[2])
		}
	}
}

func FuzzParseConfigs(f *testing.F) {
	f.Add("retention.ms", "5")
	f.Add("cleanup.policy", "compact,delete")
	f.Add("min.cleanable.dirty.ratio", "1e-3")
	f.Fuzz(func(t *testing.T, name, text string) {
		set := map[string]string{name: text}
		c, err := ParseConfigs(set)
		if err != nil {
			if !errors.Is(err, ErrInvalidConfig) || err.Error() == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		// What is shown is accepted again and means the same.
		def, _ := LookupConfig(name)
		set[name] = def.Show(text)
		again, err := ParseConfigs(set)
		if err != nil || again != c || def.Show(set[name]) != set[name] {
			t.Fatalf("%q is shown as %q: %+v, %v", text, set[name], again, err)
		}
	})
}
