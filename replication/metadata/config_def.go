package metadata

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
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
	ConfigDouble
)

// typeNames are Kafka's names of the numeric types (ConfigDef.Type), for its errors.
var typeNames = map[ConfigType]string{
	ConfigInt: "INT", ConfigLong: "LONG", ConfigDouble: "DOUBLE",
}

// BrokerSynonym is a broker config that a topic config falls back to.
type BrokerSynonym struct {
	Name    string
	Default string     // in the synonym's own unit; "" if it has none
	Type    ConfigType // 0: that of the topic config
}

// ConfigDef is one row of the table of topic configs: everything that is known of a name.
type ConfigDef struct {
	Name    string
	Type    ConfigType
	Default string // "" for what has none, or the server's own setting
	Doc     string
	// Synonyms are the broker configs behind it, the strongest first
	// (org.apache.kafka.server.config.ServerTopicConfigSynonyms).
	Synonyms []BrokerSynonym
	// ReadOnly configs accept their default only.
	ReadOnly bool
	// Hidden configs are described only where they are set.
	Hidden bool
	// Ignored configs are accepted for the sake of older clients and mean nothing.
	Ignored bool

	check func(v value) string // why a value is refused, in Kafka's words; "" accepts it
	store func(c *TopicConfig, v value)
}

// value is a parsed value in the form that its type has.
type value struct {
	text  string
	num   int64
	real  float64
	yes   bool
	items []string
}

// LookupConfig finds a row of the table.
func LookupConfig(name string) (*ConfigDef, bool) {
	i, ok := slices.BinarySearchFunc(ConfigDefs, name, func(d ConfigDef, name string) int {
		return strings.Compare(d.Name, name)
	})
	if !ok {
		return nil, false
	}
	return &ConfigDefs[i], true
}

// Show returns an accepted value as DescribeConfigs prints it: trimmed and in one spelling.
func (def *ConfigDef) Show(text string) string {
	v, err := def.parse(text)
	if err != nil {
		return text
	}
	return v.text
}

// parse reads a value as Kafka's ConfigDef.parseType does, and checks it.
func (def *ConfigDef) parse(text string) (value, error) {
	v, err := def.read(strings.TrimSpace(text))
	if err != nil {
		return value{}, err
	}
	if def.ReadOnly && v.text != def.Default {
		return value{}, def.refuseChange(v)
	}
	if def.check == nil {
		return v, nil
	}
	if def.Type == ConfigList {
		return v, def.checkList(v)
	}
	if why := def.check(v); why != "" {
		return value{}, def.refuse(v.text, why)
	}
	return v, nil
}

func (def *ConfigDef) read(text string) (value, error) {
	v := value{text: text}
	switch def.Type {
	case ConfigBoolean:
		v.text = strings.ToLower(text)
		v.yes = v.text == "true"
		if !v.yes && v.text != "false" {
			return v, def.refuse(text, "Expected value to be either true or false")
		}
	case ConfigInt, ConfigLong:
		bits := map[ConfigType]int{ConfigInt: 32, ConfigLong: 64}[def.Type]
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return v, def.refuse(text, "Not a number of type "+typeNames[def.Type])
		}
		v.num, v.text = n, strconv.FormatInt(n, 10)
	case ConfigDouble:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(f) {
			return v, def.refuse(text, "Not a number of type "+typeNames[def.Type])
		}
		v.real, v.text = f, FormatDouble(f)
	case ConfigString:
	case ConfigList:
		if text != "" {
			v.items = strings.Split(text, ",")
		}
		for i := range v.items {
			v.items[i] = strings.TrimSpace(v.items[i])
		}
		v.text = strings.Join(v.items, ",")
	default:
		return v, def.refuse(text, "the config has no type")
	}
	return v, nil
}

// FormatDouble writes a number as java.lang.Double.toString does, which users of Kafka's tools are
// used to: 1.0, not 1, and 1.0E-5 below a thousandth.
func FormatDouble(f float64) string {
	if size := math.Abs(f); size == 0 || size >= 1e-3 && size < 1e7 {
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	if math.IsInf(f, 0) {
		return strings.TrimPrefix(strconv.FormatFloat(f, 'g', -1, 64)+"inity", "+")
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	if !strings.Contains(digits, ".") {
		digits += ".0"
	}
	n, _ := strconv.Atoi(exponent) // It is a number: FormatFloat wrote it.
	return digits + "E" + strconv.Itoa(n)
}

// checkList applies the check to each item of a list (ConfigDef.ValidList of Kafka 4.1).
func (def *ConfigDef) checkList(v value) error {
	for i, item := range v.items {
		if slices.Contains(v.items[:i], item) {
			return refuseConfig("Configuration '%s' values must not be duplicated.", def.Name)
		}
	}
	for _, item := range v.items {
		if item == "" {
			return refuseConfig("Configuration '%s' values must not be empty.", def.Name)
		}
		if why := def.check(value{text: item}); why != "" {
			return def.refuse(item, why)
		}
	}
	return nil
}

// refuse words the error as Kafka's ConfigException does.
func (def *ConfigDef) refuse(text, why string) error {
	return refuseConfig("Invalid value %s for configuration %s: %s", text, def.Name, why)
}

func (def *ConfigDef) refuseChange(v value) error {
	if def.Name == ConfigRemoteStorageEnable {
		return refuseConfig("Tiered Storage functionality is disabled in the broker. " +
			"Topic cannot be configured with remote log storage.")
	}
	return def.refuse(v.text, "Value must be "+def.Default+", as there is no tiered storage")
}

// atLeast and between are Kafka's ConfigDef.Range.
func atLeast(lo int64) func(value) string { return between(lo, math.MaxInt64) }

func between(lo, hi int64) func(value) string {
	return func(v value) string {
		switch {
		case v.num < lo:
			return fmt.Sprintf("Value must be at least %d", lo)
		case v.num > hi:
			return fmt.Sprintf("Value must be no more than %d", hi)
		}
		return ""
	}
}

// share is a range of doubles, from 0 to 1.
func share(v value) string {
	switch {
	case v.real < 0:
		return "Value must be at least 0"
	case v.real > 1:
		return "Value must be no more than 1"
	}
	return ""
}

// in is Kafka's ConfigDef.ValidString.
func in(words ...string) func(value) string {
	return func(v value) string {
		if slices.Contains(words, v.text) {
			return ""
		}
		return "String must be one of: " + strings.Join(words, ", ")
	}
}

// headerName is the validator of a record header's name; ours are taken.
func headerName(v value) string {
	switch {
	case len(v.text) > headerNameBytesMax:
		return fmt.Sprintf("Value must have at most %d bytes", headerNameBytesMax)
	case strings.HasPrefix(v.text, "chronos-"):
		return "Value must not begin with chronos-, which has a meaning of its own"
	}
	return ""
}

// headerNameBytesMax bounds a header's name in a config.
const headerNameBytesMax = 255

// gzipLevel is the validator of org.apache.kafka.common.record.CompressionType.GZIP.
func gzipLevel(v value) string {
	if v.num == -1 || v.num >= 1 && v.num <= 9 {
		return ""
	}
	return "Value must be between 1 and 9 or equal to -1"
}

// formatVersions are what Kafka's MetadataVersion looked like, from 0.8.0 to 3.0-IV1.
var formatVersions = regexp.MustCompile(`^\d{1,4}(\.\d{1,4}){1,3}(-IV\d{1,4})?$`)

func formatVersion(v value) string {
	if formatVersions.MatchString(v.text) {
		return ""
	}
	return "Version " + v.text + " is not a valid version"
}
