package api_test

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

func TestCreateTopics(t *testing.T) {
	type topic = kmsg.CreateTopicsRequestTopic
	assigned := []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Partition: 0, Replicas: []int32{apitest.Node}}}
	for _, c := range []struct {
		name    string
		version int16
		change  func(r *topic)
		want    int16
	}{
		{"plain", 2, func(*topic) {}, 0},
		{"defaults", 4, func(r *topic) { r.NumPartitions, r.ReplicationFactor = -1, -1 }, 0},
		{"defaults too early", 3, func(r *topic) { r.NumPartitions = -1 }, kerr.InvalidPartitions.Code},
		{"no partitions", 7, func(r *topic) { r.NumPartitions = 0 }, kerr.InvalidPartitions.Code},
		{"replicas", 7, func(r *topic) { r.ReplicationFactor = 3 }, kerr.InvalidReplicationFactor.Code},
		{"name", 7, func(r *topic) { r.Topic = "a/b" }, kerr.InvalidTopicException.Code},
		{"internal name", 7, func(r *topic) { r.Topic = "__transaction_state" }, kerr.InvalidTopicException.Code},
		{"exists", 7, func(r *topic) { r.Topic = "t" }, kerr.TopicAlreadyExists.Code},
		{"config", 7, func(r *topic) {
			r.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "no.such", Value: kmsg.StringPtr("1")}}
		}, kerr.InvalidConfig.Code},
		{"null config", 7, func(r *topic) {
			r.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
		}, kerr.InvalidConfig.Code},
		{"assignment", 7, func(r *topic) {
			r.NumPartitions, r.ReplicationFactor, r.ReplicaAssignment = -1, -1, assigned
		}, 0},
		{"assignment and count", 7, func(r *topic) { r.ReplicaAssignment = assigned }, kerr.InvalidRequest.Code},
		{"assigned twice", 7, func(r *topic) {
			r.NumPartitions, r.ReplicationFactor = -1, -1
			r.ReplicaAssignment = append(slices.Clone(assigned), assigned...)
		}, kerr.InvalidReplicaAssignment.Code},
	} {
		for _, validateOnly := range []bool{true, false} {
			b := newBench(t)
			b.topic("t", 1)
			r := populated(t, 19, c.version, [16]byte{}).(*kmsg.CreateTopicsRequest)
			r.ValidateOnly = validateOnly
			c.change(&r.Topics[0])
			out := b.do(r).(*kmsg.CreateTopicsResponse).Topics[0]
			if out.ErrorCode != c.want {
				t.Errorf("%s: code %d, want %d", c.name, out.ErrorCode, c.want)
			}
			if (out.ErrorMessage != nil) != (c.want != 0) {
				t.Errorf("%s: message %v with code %d", c.name, out.ErrorMessage, out.ErrorCode)
			}
			made := b.replicas.Image().Topic("new")
			if (made != nil) != (c.want == 0 && !validateOnly) {
				t.Errorf("%s: created %v, validate only %v", c.name, made != nil, validateOnly)
			}
			if c.version >= 7 && made != nil && out.TopicID != made.ID {
				t.Errorf("%s: id %x", c.name, out.TopicID)
			}
		}
	}
}

// TestCreateTopicsNullConfigs: the refusal names all of them, in Kafka's words.
func TestCreateTopicsNullConfigs(t *testing.T) {
	b := newBench(t)
	r := populated(t, 19, 7, [16]byte{}).(*kmsg.CreateTopicsRequest)
	r.Topics[0].Configs = []kmsg.CreateTopicsRequestTopicConfig{
		{Name: "retention.ms"}, {Name: "segment.ms", Value: new("5")}, {Name: "flush.ms"},
	}
	out := b.do(r).(*kmsg.CreateTopicsResponse).Topics[0]
	const want = "Null value not supported for topic configs: retention.ms,flush.ms"
	if out.ErrorCode != kerr.InvalidConfig.Code || *out.ErrorMessage != want {
		t.Errorf("code %d, %s", out.ErrorCode, *out.ErrorMessage)
	}
}

func TestCreateTopicsTwice(t *testing.T) {
	b := newBench(t)
	r := populated(t, 19, 7, [16]byte{}).(*kmsg.CreateTopicsRequest)
	r.Topics = append(r.Topics, r.Topics[0])
	for _, topic := range b.do(r).(*kmsg.CreateTopicsResponse).Topics {
		if topic.ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("code %d", topic.ErrorCode)
		}
	}
	if b.replicas.Image().Topic("new") != nil {
		t.Error("it was created all the same")
	}
}

func TestCreateTopicsNotTooMany(t *testing.T) {
	b := newBench(t)
	r := populated(t, 19, 7, [16]byte{}).(*kmsg.CreateTopicsRequest)
	more := r.Topics[0]
	more.Topic, more.NumPartitions = "more", 10_000
	r.Topics = append(r.Topics, more)
	for _, topic := range b.do(r).(*kmsg.CreateTopicsResponse).Topics {
		if topic.ErrorCode != kerr.PolicyViolation.Code {
			t.Errorf("%s: code %d", topic.Topic, topic.ErrorCode)
		}
	}
	if len(b.replicas.Image().Topics()) != 0 {
		t.Error("some were created")
	}
}

func TestCreateTopicsShowsConfigs(t *testing.T) {
	b := newBench(t)
	r := populated(t, 19, 5, [16]byte{}).(*kmsg.CreateTopicsRequest)
	r.Topics[0].Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: kmsg.StringPtr("5")}}
	out := b.do(r).(*kmsg.CreateTopicsResponse).Topics[0]
	if out.NumPartitions != 1 || out.ReplicationFactor != 1 || len(out.Configs) != shownConfigs() {
		t.Errorf("%+v", out)
	}
	for _, c := range out.Configs {
		if c.Name == "retention.ms" && (*c.Value != "5" || c.Source != 1) {
			t.Errorf("retention.ms: %s from %d", *c.Value, c.Source)
		}
		if c.Name == "segment.ms" && c.Source != 5 {
			t.Errorf("segment.ms comes from %d", c.Source)
		}
	}
}

func TestDeleteTopics(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	b.topic("u", 1)
	if _, err := b.replicas.CreateTopic(replication.TopicSpec{
		Name: "__consumer_offsets", Partitions: 1, Internal: true,
	}, false); err != nil {
		t.Fatal(err)
	}
	type topic = kmsg.DeleteTopicsRequestTopic
	name := kmsg.StringPtr
	for _, c := range []struct {
		name    string
		version int16
		topics  []topic
		want    int16
	}{
		{"unknown", 1, []topic{{Topic: name("no")}}, kerr.UnknownTopicOrPartition.Code},
		{"unknown id", 6, []topic{{TopicID: [16]byte{1}}}, kerr.UnknownTopicID.Code},
		{"nothing", 6, []topic{{}}, kerr.InvalidRequest.Code},
		{"both", 6, []topic{{Topic: name("t"), TopicID: id}}, kerr.InvalidRequest.Code},
		{"twice", 6, []topic{{Topic: name("t")}, {TopicID: id}}, kerr.InvalidRequest.Code},
		{"internal", 6, []topic{{Topic: name("__consumer_offsets")}}, kerr.InvalidTopicException.Code},
		{"by id", 6, []topic{{TopicID: id}}, 0},
		{"by name", 5, []topic{{Topic: name("u")}}, 0},
		{"again", 5, []topic{{Topic: name("u")}}, kerr.UnknownTopicOrPartition.Code},
	} {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.Version = c.version
		r.Topics = c.topics
		if c.version < 6 {
			r.TopicNames = []string{*c.topics[0].Topic}
		}
		for _, topic := range b.do(r).(*kmsg.DeleteTopicsResponse).Topics {
			if topic.ErrorCode != c.want {
				t.Errorf("%s: code %d, want %d", c.name, topic.ErrorCode, c.want)
			}
			if c.version >= 5 && (topic.ErrorMessage != nil) != (c.want != 0) {
				t.Errorf("%s: message %v", c.name, topic.ErrorMessage)
			}
			if c.name == "by id" && (topic.Topic == nil || *topic.Topic != "t") {
				t.Errorf("%s: the name is missing", c.name)
			}
		}
	}
	if got := b.groups.Forgotten(); !slices.Equal(got, []string{"t", "u"}) {
		t.Errorf("groups forget %v", got)
	}
}

func TestDescribeConfigs(t *testing.T) {
	b := newBench(t)
	var err error
	b.service, err = api.NewService(api.Options{
		Replicas: b.replicas, Groups: b.groups, AdvertisedHost: "h", AdvertisedPort: 1,
		BrokerConfigs: []api.BrokerConfig{
			{Name: "log.segment.bytes", Value: "1234567", Type: metadata.ConfigInt, Set: true},
			{Name: "min.insync.replicas", Value: "1", Type: metadata.ConfigInt, Set: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.replicas.CreateTopic(replication.TopicSpec{
		Name: "t", Partitions: 1, Configs: map[string]string{"retention.ms": "77"},
	}, false); err != nil {
		t.Fatal(err)
	}
	r := populated(t, 32, 4, [16]byte{}).(*kmsg.DescribeConfigsRequest)
	out := b.do(r).(*kmsg.DescribeConfigsResponse)
	topic := configs(out.Resources[0])
	if c := topic["retention.ms"]; *c.Value != "77" || c.Source != kmsg.ConfigSourceDynamicTopicConfig ||
		c.ConfigType != kmsg.ConfigTypeLong || len(c.ConfigSynonyms) != 2 || c.Documentation == nil {
		t.Errorf("retention.ms: %+v", c)
	}
	if c := topic["compression.type"]; *c.Value != "producer" || c.Source != kmsg.ConfigSourceDefaultConfig {
		t.Errorf("compression.type: %+v", c)
	}
	if c := topic["segment.bytes"]; *c.Value != "1234567" || c.Source != kmsg.ConfigSourceStaticBrokerConfig {
		t.Errorf("segment.bytes: %+v", c)
	}
	broker := configs(out.Resources[1])
	if c := broker["node.id"]; *c.Value != "7" || !c.ReadOnly {
		t.Errorf("node.id: %+v", c)
	}
	if c := broker["min.insync.replicas"]; c.Source != kmsg.ConfigSourceStaticBrokerConfig {
		t.Errorf("the owner's word does not count: %+v", c)
	}
	if len(broker) != len(out.Resources[1].Configs) {
		t.Error("a broker config is listed twice")
	}
}

// shownConfigs is how many configs a topic shows that sets none of the hidden ones.
func shownConfigs() (n int) {
	for i := range metadata.ConfigDefs {
		if !metadata.ConfigDefs[i].Hidden {
			n++
		}
	}
	return n
}

func configs(r kmsg.DescribeConfigsResponseResource) map[string]kmsg.DescribeConfigsResponseResourceConfig {
	out := map[string]kmsg.DescribeConfigsResponseResourceConfig{}
	for _, c := range r.Configs {
		out[c.Name] = c
	}
	return out
}

func twice(r *kmsg.DescribeConfigsRequest) *kmsg.DescribeConfigsRequest {
	double := *r
	double.Resources = append(slices.Clone(r.Resources), r.Resources...)
	return &double
}

func TestDescribeConfigsOfWhat(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	for _, c := range []struct {
		name     string
		kind     kmsg.ConfigResourceType
		resource string
		names    []string
		want     int16
		count    int
	}{
		{"one", kmsg.ConfigResourceTypeTopic, "t", []string{"retention.ms", "no.such"}, 0, 1},
		{"no names", kmsg.ConfigResourceTypeTopic, "t", []string{}, 0, shownConfigs()},
		{"all", kmsg.ConfigResourceTypeTopic, "t", nil, 0, shownConfigs()},
		{"unknown topic", kmsg.ConfigResourceTypeTopic, "no", nil, kerr.UnknownTopicOrPartition.Code, 0},
		{"bad topic", kmsg.ConfigResourceTypeTopic, "a b", nil, kerr.InvalidTopicException.Code, 0},
		{"cluster default", kmsg.ConfigResourceTypeBroker, "", nil, 0, 0},
		{"another broker", kmsg.ConfigResourceTypeBroker, "8", nil, kerr.InvalidRequest.Code, 0},
		{"no broker", kmsg.ConfigResourceTypeBroker, "x", nil, kerr.InvalidRequest.Code, 0},
		{"loggers", kmsg.ConfigResourceTypeBrokerLogger, "7", nil, kerr.InvalidRequest.Code, 0},
		{"unknown kind", 99, "7", nil, kerr.InvalidRequest.Code, 0},
	} {
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.Version = 4
		r.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: c.kind, ResourceName: c.resource, ConfigNames: c.names},
		}
		out := b.do(r).(*kmsg.DescribeConfigsResponse).Resources[0]
		if out := b.do(twice(r)).(*kmsg.DescribeConfigsResponse).Resources[1]; out.ErrorCode == 0 {
			t.Errorf("%s: asked twice and answered twice", c.name)
		}
		if out.ErrorCode != c.want || len(out.Configs) != c.count {
			t.Errorf("%s: code %d with %d configs", c.name, out.ErrorCode, len(out.Configs))
		}
	}
}
