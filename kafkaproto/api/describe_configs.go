package api

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/replication/metadata"
)

// configTypes translates the types of the metadata's table.
var configTypes = map[metadata.ConfigType]kmsg.ConfigType{
	metadata.ConfigBoolean: kmsg.ConfigTypeBoolean,
	metadata.ConfigString:  kmsg.ConfigTypeString,
	metadata.ConfigInt:     kmsg.ConfigTypeInt,
	metadata.ConfigLong:    kmsg.ConfigTypeLong,
	metadata.ConfigList:    kmsg.ConfigTypeList,
	metadata.ConfigDouble:  kmsg.ConfigTypeDouble,
}

// DescribeConfigs (key 32): the configs of topics and of this broker.
//
// Behavior:
//   - A topic has all configs of the metadata's table, explicitly set or not.
//   - The broker shows, read-only, the settings that tools look for. The broker "" stands for
//     dynamic defaults of the whole cluster, of which there are none.
//   - No names, whether null or empty, ask for all configs, as in Kafka; unknown ones for nothing.
//   - Other resources get INVALID_REQUEST, and so does one that was asked before in the same
//     request: a small request must not have an answer a thousand times its size.
//
// Version notes:
//   - v1: source and synonyms; v3: type and documentation; v4: flexible
func (s *Service) describeConfigs(c *call, r *kmsg.DescribeConfigsRequest) (Reply, error) {
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrDescribeConfigsResponse()
		out.Version = c.Version
		asked := map[askedResource]bool{}
		for i := range r.Resources {
			from := &r.Resources[i]
			to := kmsg.NewDescribeConfigsResponseResource()
			to.ResourceType, to.ResourceName = from.ResourceType, from.ResourceName
			all, err := s.configsOf(from)
			key := askedResource{from.ResourceType, from.ResourceName}
			if asked[key] {
				all, err = nil, fmt.Errorf("%w: %s is asked twice", errInvalidRequest, from.ResourceName)
			}
			asked[key] = true
			to.ErrorCode, to.ErrorMessage = codeOf(err), textOf(err)
			for j := range all {
				if len(from.ConfigNames) == 0 || slices.Contains(from.ConfigNames, all[j].name) {
					to.Configs = append(to.Configs, all[j].encode(r))
				}
			}
			out.Resources = append(out.Resources, to)
		}
		return out, nil
	}), nil
}

// askedResource names what a request for configs is about.
type askedResource struct {
	kind kmsg.ConfigResourceType
	name string
}

// shownConfig is one config on its way out.
type shownConfig struct {
	name, value, doc string
	kind             metadata.ConfigType
	source           kmsg.ConfigSource
	readOnly         bool
	synonyms         []shownSynonym // in the order in which they apply
}

func (s *Service) configsOf(r *kmsg.DescribeConfigsRequestResource) ([]shownConfig, error) {
	switch r.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := metadata.ValidTopicName(r.ResourceName); err != nil {
			return nil, err
		}
		topic, err := findTopic(s.o.Replicas.Image(), false, r.ResourceName, [16]byte{})
		if err != nil {
			return nil, err
		}
		return s.topicConfigs(topic), nil
	case kmsg.ConfigResourceTypeBroker:
		if r.ResourceName == "" {
			return nil, nil
		}
		if own := strconv.Itoa(int(s.o.Replicas.NodeID())); r.ResourceName != own {
			return nil, fmt.Errorf("%w: unexpected broker id, expected %s or empty string, "+
				"but received %s", errInvalidRequest, own, r.ResourceName)
		}
		return s.brokerConfigs(), nil
	default:
		return nil, fmt.Errorf("%w: configs of %v resources are not supported by this version",
			errInvalidRequest, r.ResourceType)
	}
}

func (s *Service) topicConfigs(t *metadata.Topic) []shownConfig {
	out := make([]shownConfig, 0, len(metadata.ConfigDefs))
	for i := range metadata.ConfigDefs {
		def := &metadata.ConfigDefs[i]
		set, isSet := t.Configs[def.Name]
		if def.Hidden && !isSet {
			continue
		}
		c := shownConfig{
			name: def.Name, doc: def.Doc, kind: def.Type, readOnly: def.ReadOnly,
			synonyms: s.brokerSynonyms(def), value: def.Default,
			source: kmsg.ConfigSourceDefaultConfig,
		}
		if isSet {
			c.synonyms = slices.Insert(c.synonyms, 0, shownSynonym{
				def.Name, def.Show(set), kmsg.ConfigSourceDynamicTopicConfig,
			})
		}
		if len(c.synonyms) > 0 {
			// The default of a synonym may be in another unit; then it is the table's.
			c.source = c.synonyms[0].source
			if c.source != kmsg.ConfigSourceDefaultConfig || def.Default == "" {
				c.value = c.synonyms[0].value
			}
		}
		out = append(out, c)
	}
	return out
}

// shownSynonym is one of the values that a config may have, by where it comes from.
type shownSynonym struct {
	name, value string
	source      kmsg.ConfigSource
}

// brokerSynonyms are the values that a topic config has without its topic, in the order in which
// they apply: what the server was told, then its defaults.
func (s *Service) brokerSynonyms(def *metadata.ConfigDef) (out []shownSynonym) {
	var defaults []shownSynonym
	for _, synonym := range def.Synonyms {
		fallback := synonym.Default
		for _, c := range s.o.BrokerConfigs {
			if c.Name != synonym.Name {
				continue
			}
			if c.Set {
				out = append(out, shownSynonym{c.Name, c.Value, kmsg.ConfigSourceStaticBrokerConfig})
			} else {
				fallback = c.Value
			}
		}
		if fallback != "" {
			defaults = append(defaults,
				shownSynonym{synonym.Name, fallback, kmsg.ConfigSourceDefaultConfig})
		}
	}
	return append(out, defaults...)
}

// encode makes an entry of a response with what the request asked for.
func (c *shownConfig) encode(
	r *kmsg.DescribeConfigsRequest,
) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly = c.name, orNull(c.kind, &c.value), c.readOnly
	out.Source = c.source
	out.IsDefault = c.source == kmsg.ConfigSourceDefaultConfig
	out.ConfigType = configTypes[c.kind]
	if r.IncludeDocumentation && c.doc != "" {
		out.Documentation = &c.doc
	}
	if r.IncludeSynonyms {
		for i := range c.synonyms {
			from := &c.synonyms[i]
			to := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			to.Name, to.Value, to.Source = from.name, orNull(c.kind, &from.value), from.source
			out.ConfigSynonyms = append(out.ConfigSynonyms, to)
		}
	}
	return out
}

// orNull is how a config without a value is answered; only a list may be empty.
func orNull(kind metadata.ConfigType, value *string) *string {
	if *value == "" && kind != metadata.ConfigList {
		return nil
	}
	return value
}
