package api_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

type change = kmsg.IncrementalAlterConfigsRequestResourceConfig

const (
	opSet      = kmsg.IncrementalAlterConfigOpSet
	opDelete   = kmsg.IncrementalAlterConfigOpDelete
	opAppend   = kmsg.IncrementalAlterConfigOpAppend
	opSubtract = kmsg.IncrementalAlterConfigOpSubtract
)

// alter sends one resource with its changes.
func (b *bench) alter(
	kind kmsg.ConfigResourceType, name string, validateOnly bool, changes ...change,
) kmsg.IncrementalAlterConfigsResponseResource {
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r.SetVersion(1)
	r.ValidateOnly = validateOnly
	r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{
		{ResourceType: kind, ResourceName: name, Configs: changes},
	}
	return b.do(r).(*kmsg.IncrementalAlterConfigsResponse).Resources[0]
}

func TestIncrementalAlterConfigs(t *testing.T) {
	const topic, broker = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker
	before := map[string]string{"retention.ms": "77", "cleanup.policy": "compact"}
	for _, c := range []struct {
		about   string
		kind    kmsg.ConfigResourceType
		name    string
		changes []change
		code    *kerr.Error
		text    string            // of a refusal
		want    map[string]string // what the topic sets then, if it changes
	}{
		{"set", topic, "t", []change{{Name: "segment.ms", Value: new(" 5 ")}}, nil, "", map[string]string{
			"retention.ms": "77", "cleanup.policy": "compact", "segment.ms": "5",
		}},
		{"set again", topic, "t", []change{{Name: "retention.ms", Value: new("78")}}, nil, "", map[string]string{
			"retention.ms": "78", "cleanup.policy": "compact",
		}},
		{"delete", topic, "t", []change{
			{Name: "retention.ms", Op: opDelete}, {Name: "segment.ms", Op: opDelete},
		}, nil, "", map[string]string{"cleanup.policy": "compact"}},
		{"append", topic, "t", []change{
			{Name: "cleanup.policy", Op: opAppend, Value: new("delete,compact")},
		}, nil, "", map[string]string{"retention.ms": "77", "cleanup.policy": "compact,delete"}},
		{"subtract", topic, "t", []change{
			{Name: "cleanup.policy", Op: opSubtract, Value: new("compact,delete")},
		}, nil, "", map[string]string{"retention.ms": "77", "cleanup.policy": ""}},
		{"nothing", topic, "t", nil, nil, "", nil},
		{
			"append to a number", topic, "t",
			[]change{{Name: "retention.ms", Op: opAppend, Value: new("5")}},
			kerr.InvalidConfig, "Can't APPEND to key retention.ms because its type is not LIST.", nil,
		},
		{
			"subtract from what is unknown", topic, "t",
			[]change{{Name: "no.such", Op: opSubtract, Value: new("5")}},
			kerr.InvalidConfig, "Can't SUBTRACT to key no.such because its type is not LIST.", nil,
		},
		{
			"unknown", topic, "t",
			[]change{{Name: "no.such", Value: new("5")}},
			kerr.InvalidConfig, "Unknown topic config name: no.such", nil,
		},
		{"one of two is wrong", topic, "t", []change{
			{Name: "segment.ms", Value: new("5")}, {Name: "retention.ms", Value: new("x")},
		}, kerr.InvalidConfig, "Invalid value x for configuration retention.ms: Not a number of type LONG", nil},
		{"lags", topic, "t", []change{
			{Name: "min.compaction.lag.ms", Value: new("9")}, {Name: "max.compaction.lag.ms", Value: new("8")},
		}, kerr.InvalidConfig, "conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (8)", nil},
		{
			"twice", topic, "t",
			[]change{{Name: "segment.ms", Value: new("5")}, {Name: "segment.ms", Value: new("6")}},
			kerr.InvalidRequest, "Error due to duplicate config keys", nil,
		},
		{
			"null", topic, "t",
			[]change{{Name: "segment.ms"}, {Name: "retention.ms", Op: opAppend}},
			kerr.InvalidRequest, "Null value not supported for : segment.ms, retention.ms", nil,
		},
		{
			"operation", topic, "t",
			[]change{{Name: "segment.ms", Op: 4, Value: new("5")}},
			kerr.InvalidRequest, "Unknown operations type 4", nil,
		},
		{
			"no topic", topic, "u",
			[]change{{Name: "segment.ms", Value: new("5")}},
			kerr.UnknownTopicOrPartition, "", nil,
		},
		{
			"no name", topic, "", nil, kerr.InvalidRequest, "Default topic resources are not allowed.", nil,
		},
		{"bad name", topic, "a/b", nil, kerr.InvalidTopicException, "", nil},
		{
			"broker", broker, "7",
			[]change{{Name: "log.dirs", Value: new("/x")}},
			kerr.InvalidRequest, "Cannot update these configs dynamically: log.dirs", nil,
		},
		{
			"all brokers", broker, "",
			[]change{{Name: "log.dirs", Value: new("/x")}},
			kerr.InvalidRequest, "Cannot update these configs dynamically: log.dirs", nil,
		},
		{
			"another broker", broker, "8", nil,
			kerr.InvalidRequest, "Unexpected broker id, expected 7, but received 8", nil,
		},
		{"nothing of the broker", broker, "7", nil, nil, "", nil},
		{"logger", kmsg.ConfigResourceTypeBrokerLogger, "7", nil, kerr.InvalidRequest, "", nil},
		{"group", 32, "g", nil, kerr.InvalidRequest, "", nil},
	} {
		for _, validateOnly := range []bool{true, false} {
			b := newBench(t)
			if _, err := b.replicas.CreateTopic(replication.TopicSpec{
				Name: "t", Partitions: 1, Configs: maps.Clone(before),
			}, false); err != nil {
				t.Fatal(err)
			}
			out := b.alter(c.kind, c.name, validateOnly, c.changes...)
			code := int16(0)
			if c.code != nil {
				code = c.code.Code
			}
			if out.ErrorCode != code || out.ResourceName != c.name || out.ResourceType != c.kind {
				t.Errorf("%s: %+v, want code %d", c.about, out, code)
			}
			if (out.ErrorMessage == nil) != (code == 0) ||
				out.ErrorMessage != nil && !strings.HasPrefix(*out.ErrorMessage, c.text) {
				t.Errorf("%s: message %v, want %q", c.about, out.ErrorMessage, c.text)
			}
			want := before
			if c.want != nil && !validateOnly {
				want = c.want
			}
			now := shown(b.replicas.Image().Topic("t").Configs)
			if !maps.Equal(now, want) {
				t.Errorf("%s, validate only %v: the topic sets %v, want %v", c.about, validateOnly, now, want)
			}
		}
	}
}

// shown is what DescribeConfigs shows of configs that are set.
func shown(set map[string]string) map[string]string {
	out := map[string]string{}
	for name, text := range set {
		if def, ok := metadata.LookupConfig(name); ok {
			out[name] = def.Show(text)
		}
	}
	return out
}

// TestAppendBeginsWithTheDefault: a list that the topic does not set is the default's.
func TestAppendBeginsWithTheDefault(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	out := b.alter(kmsg.ConfigResourceTypeTopic, "t", false,
		change{Name: "cleanup.policy", Op: opAppend, Value: new("compact")})
	if got := b.replicas.Image().Topic("t").Configs["cleanup.policy"]; out.ErrorCode != 0 || got != "delete,compact" {
		t.Fatalf("%+v, %q", out, got)
	}
}

// TestAlterConfigsReplaces: the older API returns to its default what it does not name.
func TestAlterConfigsReplaces(t *testing.T) {
	b := newBench(t)
	if _, err := b.replicas.CreateTopic(replication.TopicSpec{
		Name: "t", Partitions: 1, Configs: map[string]string{"retention.ms": "77", "segment.ms": "5"},
	}, false); err != nil {
		t.Fatal(err)
	}
	send := func(validateOnly bool, name string, value *string) kmsg.AlterConfigsResponseResource {
		r := kmsg.NewPtrAlterConfigsRequest()
		r.SetVersion(2)
		r.ValidateOnly = validateOnly
		r.Resources = []kmsg.AlterConfigsRequestResource{{
			ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
			Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: name, Value: value}},
		}}
		return b.do(r).(*kmsg.AlterConfigsResponse).Resources[0]
	}
	refused := send(false, "segment.ms", nil)
	if refused.ErrorCode != kerr.InvalidRequest.Code ||
		*refused.ErrorMessage != "Null value not supported for : segment.ms" {
		t.Errorf("null: %+v", refused)
	}
	if out := send(false, "segment.ms", new("0")); out.ErrorCode != kerr.InvalidConfig.Code {
		t.Errorf("out of range: %+v", out)
	}
	if out := send(true, "segment.ms", new("6")); out.ErrorCode != 0 {
		t.Errorf("validate only: %+v", out)
	}
	if got := b.replicas.Image().Topic("t").Configs; len(got) != 2 {
		t.Fatalf("the topic sets %v", got)
	}
	if out := send(false, "segment.ms", new("6")); out.ErrorCode != 0 {
		t.Errorf("%+v", out)
	}
	got := b.replicas.Image().Topic("t").Configs
	if !maps.Equal(got, map[string]string{"segment.ms": "6"}) {
		t.Fatalf("the topic sets %v", got)
	}
}

// TestAlterTwiceInOneRequest: a resource that is named twice is not changed at all.
func TestAlterTwiceInOneRequest(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	b.topic("u", 1)
	r := populated(t, 44, 1, [16]byte{}).(*kmsg.IncrementalAlterConfigsRequest)
	other := r.Resources[0]
	other.ResourceName = "u"
	r.Resources = append(r.Resources, other, r.Resources[0])
	for i, out := range b.do(r).(*kmsg.IncrementalAlterConfigsResponse).Resources {
		if want := kerr.InvalidRequest.Code; (out.ErrorCode == want) != (i != 1) {
			t.Errorf("resource %d: %+v", i, out)
		}
	}
	if len(b.replicas.Image().Topic("t").Configs) != 0 || len(b.replicas.Image().Topic("u").Configs) != 1 {
		t.Error("the wrong one was changed")
	}
}

// TestAlterIsWaitedFor: what comes next on the connection is judged by the changed configs.
func TestAlterIsWaitedFor(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	for _, key := range []int16{33, 44} {
		if answer, err := b.start(populated(t, key, 1, [16]byte{})); err != nil || !answer.ChangesTopics() {
			t.Errorf("key %d does not say that it changes topics", key)
		}
	}
}

// TestDescribeConfigsIsWhole: sources, synonyms and types of topics and broker.
func TestDescribeConfigsIsWhole(t *testing.T) {
	b := newBench(t)
	var err error
	b.service, err = api.NewService(api.Options{
		Replicas: b.replicas, Groups: b.groups, AdvertisedHost: "h", AdvertisedPort: 1,
		BrokerConfigs: []api.BrokerConfig{
			{Name: "log.segment.bytes", Value: "1234567", Type: metadata.ConfigInt, Set: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.replicas.CreateTopic(replication.TopicSpec{
		Name: "t", Partitions: 1, Configs: map[string]string{
			"retention.ms": " 77", "segment.bytes": "2000000", "message.format.version": "2.8",
		},
	}, false); err != nil {
		t.Fatal(err)
	}
	r := populated(t, 32, 4, [16]byte{}).(*kmsg.DescribeConfigsRequest)
	out := b.do(r).(*kmsg.DescribeConfigsResponse)
	topic := configs(out.Resources[0])
	const dynamic, static, fallback = kmsg.ConfigSourceDynamicTopicConfig,
		kmsg.ConfigSourceStaticBrokerConfig, kmsg.ConfigSourceDefaultConfig
	type synonym struct {
		name, value string
		source      kmsg.ConfigSource
	}
	for _, c := range []struct {
		name, value string
		kind        kmsg.ConfigType
		readOnly    bool
		synonyms    []synonym
	}{
		{"retention.ms", "77", kmsg.ConfigTypeLong, false, []synonym{
			{"retention.ms", "77", dynamic}, {"log.retention.hours", "168", fallback},
		}},
		{"segment.bytes", "2000000", kmsg.ConfigTypeInt, false, []synonym{
			{"segment.bytes", "2000000", dynamic}, {"log.segment.bytes", "1234567", static},
		}},
		{"segment.ms", "604800000", kmsg.ConfigTypeLong, false, []synonym{{"log.roll.hours", "168", fallback}}},
		{"min.cleanable.dirty.ratio", "0.5", kmsg.ConfigTypeDouble, false, []synonym{
			{"log.cleaner.min.cleanable.ratio", "0.5", fallback},
		}},
		{"cleanup.policy", "delete", kmsg.ConfigTypeList, false, []synonym{{"log.cleanup.policy", "delete", fallback}}},
		{"remote.storage.enable", "false", kmsg.ConfigTypeBoolean, true, nil},
		{"message.format.version", "2.8", kmsg.ConfigTypeString, false, []synonym{
			{"message.format.version", "2.8", dynamic},
		}},
	} {
		got := topic[c.name]
		if got.Value == nil || *got.Value != c.value || got.ConfigType != c.kind || got.ReadOnly != c.readOnly ||
			got.IsSensitive || got.Documentation == nil || len(got.ConfigSynonyms) != len(c.synonyms) {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		source := fallback
		for i, s := range got.ConfigSynonyms {
			if want := c.synonyms[i]; s.Name != want.name || *s.Value != want.value || s.Source != want.source {
				t.Errorf("%s: synonym %s=%s of %v, want %+v", c.name, s.Name, *s.Value, s.Source, want)
			}
			source = c.synonyms[0].source
		}
		if got.Source != source {
			t.Errorf("%s: source %v", c.name, got.Source)
		}
	}
	if _, ok := topic["message.downconversion.enable"]; ok {
		t.Error("a config that means nothing is shown though it is not set")
	}
}

// TestDescribeBroker: every config that tools look for (ecosystem: kafbat, AKHQ, kminion) is there
// with Kafka's default, read-only, once.
func TestDescribeBroker(t *testing.T) {
	b := newBench(t)
	r := populated(t, 32, 4, [16]byte{}).(*kmsg.DescribeConfigsRequest)
	b.topic("t", 1)
	all := b.do(r).(*kmsg.DescribeConfigsResponse).Resources[1]
	broker := configs(all)
	if len(broker) != len(all.Configs) {
		t.Error("a config is listed twice")
	}
	for name, want := range map[string]string{
		"node.id": "7", "broker.id": "7", "advertised.listeners": "PLAINTEXT://broker.test:9092",
		"default.replication.factor": "1", "auto.create.topics.enable": "true",
		"delete.topic.enable": "true", "inter.broker.protocol.version": "4.4", "log.retention.ms": "",
		"log.retention.minutes": "", "log.retention.hours": "168", "log.retention.bytes": "-1",
		"message.max.bytes": "1048588", "offsets.retention.minutes": "10080", "broker.rack": "",
		"group.initial.rebalance.delay.ms": "3000", "group.min.session.timeout.ms": "6000",
		"group.max.session.timeout.ms": "1800000", "transaction.max.timeout.ms": "900000",
		"compression.type": "producer", "min.insync.replicas": "1", "unclean.leader.election.enable": "false",
		"log.cleanup.policy": "delete", "log.segment.bytes": "",
	} {
		got, ok := broker[name]
		if hours := strings.HasSuffix(name, "hours") || strings.HasSuffix(name, ".minutes"); hours &&
			got.ConfigType != kmsg.ConfigTypeInt {
			t.Errorf("%s has the type %v, in Kafka it is an INT", name, got.ConfigType)
		}
		if !ok || !got.ReadOnly || got.IsSensitive || got.Documentation == nil ||
			(got.Value == nil) != (want == "") || got.Value != nil && *got.Value != want {
			t.Errorf("%s: %+v, want %q", name, got, want)
		}
	}
}
