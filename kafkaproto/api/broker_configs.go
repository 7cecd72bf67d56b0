package api

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// BrokerConfig is one setting of this server as DescribeConfigs shows it.
type BrokerConfig struct {
	Name, Value string // without a value it is shown as null
	Type        metadata.ConfigType
	// Set says that somebody chose the value; otherwise it is the default.
	Set bool
	Doc string
}

// protocolRelease is the Kafka release whose versions are served. Tools show it, and some guess by
// it what may be asked.
const protocolRelease = "4.4"

// transactionTimeoutMax is Kafka's transaction.max.timeout.ms.
const transactionTimeoutMax = 15 * time.Minute

// brokerConfigs are the defaults behind the topic configs, what this package knows, and what the
// owner says, by name. The later ones go first.
func (s *Service) brokerConfigs() []shownConfig {
	byName := map[string]BrokerConfig{}
	for _, list := range [][]BrokerConfig{synonymConfigs(), s.ownConfigs(), s.o.BrokerConfigs} {
		for _, c := range list {
			byName[c.Name] = c
		}
	}
	out := make([]shownConfig, 0, len(byName))
	for _, c := range byName {
		source := kmsg.ConfigSourceDefaultConfig
		if c.Set {
			source = kmsg.ConfigSourceStaticBrokerConfig
		}
		shown := shownConfig{
			name: c.Name, value: c.Value, doc: c.Doc, kind: c.Type, source: source, readOnly: true,
		}
		if c.Value != "" {
			shown.synonyms = []shownSynonym{{c.Name, c.Value, source}}
		}
		out = append(out, shown)
	}
	slices.SortFunc(out, func(a, b shownConfig) int { return strings.Compare(a.name, b.name) })
	return out
}

// synonymConfigs are the broker configs that topic configs fall back to.
func synonymConfigs() (out []BrokerConfig) {
	for i := range metadata.ConfigDefs {
		def := &metadata.ConfigDefs[i]
		for _, synonym := range def.Synonyms {
			out = append(out, BrokerConfig{
				Name: synonym.Name, Value: synonym.Default, Type: cmp.Or(synonym.Type, def.Type),
				Doc: "The default of the topic config " + def.Name + ". " + def.Doc,
			})
		}
	}
	return out
}

// ownConfigs are what this package knows of the server.
func (s *Service) ownConfigs() []BrokerConfig {
	node := strconv.Itoa(int(s.o.Replicas.NodeID()))
	number := func(name string, value int64, doc string) BrokerConfig {
		return BrokerConfig{
			Name: name, Value: strconv.FormatInt(value, 10), Type: metadata.ConfigInt, Doc: doc,
		}
	}
	return []BrokerConfig{
		{
			Name: "advertised.listeners", Type: metadata.ConfigString, Set: true,
			Value: fmt.Sprintf("PLAINTEXT://%s:%d", s.o.AdvertisedHost, s.o.AdvertisedPort),
			Doc:   "Where clients are told to connect to (--advertised-addr).",
		},
		{
			Name: "auto.create.topics.enable", Type: metadata.ConfigBoolean,
			Value: strconv.FormatBool(s.o.AutoCreate), Set: !s.o.AutoCreate,
			Doc: "Whether a topic is created when a client first names it (--auto-create-topics).",
		},
		{
			Name: "broker.id", Type: metadata.ConfigInt, Value: node, Set: true,
			Doc: "The id of this server (--node-id).",
		},
		{
			Name: "broker.rack", Type: metadata.ConfigString,
			Doc: "The rack of this server; there are none.",
		},
		number("default.replication.factor", 1, "There is one node, so topics have one replica."),
		{
			Name: "delete.topic.enable", Type: metadata.ConfigBoolean, Value: "true",
			Doc: "Topics can be deleted.",
		},
		number("fetch.max.bytes", FetchBytesMax, "The most that one fetch is answered with."),
		number("group.initial.rebalance.delay.ms", groups.InitialRebalanceDelayDefault.Milliseconds(),
			"How long the first rebalance of an empty group waits for more members."),
		number("group.max.session.timeout.ms", groups.SessionTimeoutMaxDefault.Milliseconds(),
			"The longest session timeout that a group's member may ask for."),
		number("group.min.session.timeout.ms", groups.SessionTimeoutMinDefault.Milliseconds(),
			"The shortest session timeout that a group's member may ask for."),
		{
			Name: "inter.broker.protocol.version", Type: metadata.ConfigString, Value: protocolRelease,
			Doc: "The Kafka release whose API versions are served.",
		},
		{
			Name: "node.id", Type: metadata.ConfigInt, Value: node, Set: true,
			Doc: "The id of this server (--node-id).",
		},
		number("offset.metadata.max.bytes", groups.OffsetMetadataMaxBytesDefault,
			"The most text that may be stored beside a committed offset."),
		number("offsets.retention.minutes", int64(groups.OffsetRetentionDefault.Minutes()),
			"How long offsets outlive their group's last member."),
		number("offsets.topic.num.partitions", groups.PartitionsDefault,
			"The partitions of __consumer_offsets."),
		number("transaction.max.timeout.ms", transactionTimeoutMax.Milliseconds(),
			"The longest timeout of a transaction. There are no transactions yet."),
	}
}
