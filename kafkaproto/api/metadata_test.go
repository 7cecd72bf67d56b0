package api_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
	"github.com/chronosdb/chronosdb/replication"
)

func askMetadata(version int16, names ...string) *kmsg.MetadataRequest {
	r := kmsg.NewPtrMetadataRequest()
	r.Version = version
	r.Topics = []kmsg.MetadataRequestTopic{}
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		r.Topics = append(r.Topics, t)
	}
	return r
}

func (b *bench) metadata(r *kmsg.MetadataRequest) *kmsg.MetadataResponse {
	b.t.Helper()
	return b.do(r).(*kmsg.MetadataResponse)
}

func namesOf(m *kmsg.MetadataResponse) string {
	var names []string
	for _, t := range m.Topics {
		names = append(names, *t.Topic)
	}
	return strings.Join(names, " ")
}

func TestMetadataOfTheNode(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 2)
	for version := int16(0); version <= 13; version++ {
		m := b.metadata(askMetadata(version, "t"))
		if len(m.Brokers) != 1 || m.Brokers[0].Host != "broker.test" || m.Brokers[0].Port != 9092 {
			t.Errorf("v%d: brokers %+v", version, m.Brokers)
		}
		if version >= 2 && *m.ClusterID != apitest.ClusterID {
			t.Errorf("v%d: cluster %q", version, *m.ClusterID)
		}
		if version >= 1 && m.ControllerID != apitest.Node {
			t.Errorf("v%d: controller %d", version, m.ControllerID)
		}
		topic := m.Topics[0]
		if version >= 10 && topic.TopicID != id {
			t.Errorf("v%d: id %x, want %x", version, topic.TopicID, id)
		}
		if version >= 8 && topic.AuthorizedOperations != math.MinInt32 {
			t.Errorf("v%d: operations %d though nobody asked", version, topic.AuthorizedOperations)
		}
		if len(topic.Partitions) != 2 || topic.Partitions[1].Partition != 1 ||
			topic.Partitions[1].Leader != apitest.Node || len(topic.Partitions[1].ISR) != 1 {
			t.Errorf("v%d: partitions %+v", version, topic.Partitions)
		}
		if version >= 7 && topic.Partitions[0].LeaderEpoch != 3 {
			t.Errorf("v%d: leader epoch %d", version, topic.Partitions[0].LeaderEpoch)
		}
	}
}

func TestMetadataWhichTopics(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		topics  []string // nil is null
		want    string
	}{
		{"v0 empty is all", 0, []string{}, "a b"},
		{"v1 empty is none", 1, []string{}, ""},
		{"v1 null is all", 1, nil, "a b"},
		{"v9 null is all", 9, nil, "a b"},
		{"v12 empty is none", 12, []string{}, ""},
		{"order of the request", 12, []string{"b", "a"}, "b a"},
		{"each once", 12, []string{"b", "a", "b"}, "b a"},
	} {
		b := newBench(t)
		b.topic("b", 1)
		b.topic("a", 1)
		r := askMetadata(c.version, c.topics...)
		if c.topics == nil {
			r.Topics = nil
		}
		if got := namesOf(b.metadata(r)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestMetadataCreates(t *testing.T) {
	for _, c := range []struct {
		name    string
		version int16
		allowed bool
		topic   string
		want    *kerr.Error
	}{
		{"v0", 0, false, "new", nil},
		{"v3", 3, false, "new", nil},
		{"v4 allowed", 4, true, "new", nil},
		{"v4 not allowed", 4, false, "new", kerr.UnknownTopicOrPartition},
		{"v12", 12, true, "new.topic_1-2", nil},
		{"internal", 12, true, "__consumer_offsets", kerr.UnknownTopicOrPartition},
		{"ours", 12, true, "__chronos_x", kerr.UnknownTopicOrPartition},
		{"empty", 12, true, "", kerr.InvalidTopicException},
		{"dot", 12, true, ".", kerr.InvalidTopicException},
		{"dots", 12, false, "..", kerr.InvalidTopicException},
		{"blank", 12, false, "a b", kerr.InvalidTopicException},
		{"path", 12, true, "../../etc/passwd", kerr.InvalidTopicException},
		{"nul", 12, true, "a\x00b", kerr.InvalidTopicException},
		{"249", 12, true, strings.Repeat("x", 249), nil},
		{"250", 12, true, strings.Repeat("x", 250), kerr.InvalidTopicException},
	} {
		b := newBench(t)
		r := askMetadata(c.version, c.topic)
		r.AllowAutoTopicCreation = c.allowed
		topic := b.metadata(r).Topics[0]
		if got := kerr.ErrorForCode(topic.ErrorCode); !errors.Is(got, asError(c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		if made := b.replicas.Image().Topic(c.topic) != nil; made != (c.want == nil) {
			t.Errorf("%s: created: %v", c.name, made)
		}
		if c.want == nil && len(topic.Partitions) != 1 {
			t.Errorf("%s: %d partitions, at once", c.name, len(topic.Partitions))
		}
	}
}

// TestMetadataCreatesNotTooMany bounds what one request costs; the client asks again for the rest.
func TestMetadataCreatesNotTooMany(t *testing.T) {
	b := newBench(t)
	var names []string
	for i := range 150 {
		names = append(names, strings.Repeat("n", i+1))
	}
	r := askMetadata(12, names...)
	r.AllowAutoTopicCreation = true
	later := 0
	for _, topic := range b.metadata(r).Topics {
		if topic.ErrorCode == kerr.LeaderNotAvailable.Code {
			later++
		}
	}
	if later != 50 {
		t.Errorf("%d topics are put off, want 50", later)
	}
	for _, topic := range b.metadata(r).Topics {
		if topic.ErrorCode != 0 {
			t.Errorf("asked again: %s has code %d", *topic.Topic, topic.ErrorCode)
		}
	}
}

func TestMetadataWithoutCreation(t *testing.T) {
	b := newBench(t)
	service, err := api.NewService(api.Options{
		Replicas: b.replicas, Groups: b.groups, AdvertisedHost: "h", AdvertisedPort: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.service = service
	r := askMetadata(12, "new")
	r.AllowAutoTopicCreation = true
	if code := b.metadata(r).Topics[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
		t.Errorf("code %d", code)
	}
}

func TestMetadataByID(t *testing.T) {
	b := newBench(t)
	id := b.topic("t", 1)
	byID := func(version int16, id [16]byte) *kmsg.MetadataRequest {
		r := askMetadata(version)
		topic := kmsg.NewMetadataRequestTopic()
		topic.TopicID = id
		r.Topics = append(r.Topics, topic)
		return r
	}
	if got := b.metadata(byID(12, id)).Topics[0]; got.ErrorCode != 0 || *got.Topic != "t" {
		t.Errorf("known id: %+v", got)
	}
	unknown := b.metadata(byID(12, [16]byte{9})).Topics[0]
	if unknown.ErrorCode != kerr.UnknownTopicID.Code || unknown.Topic != nil || unknown.TopicID != [16]byte{9} {
		t.Errorf("unknown id: %+v", unknown)
	}
	if got := b.metadata(byID(13, [16]byte{})).Topics[0]; got.ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("neither name nor id: %+v", got)
	}
	for _, version := range []int16{10, 11} {
		if got := b.metadata(byID(version, id)).Topics[0]; got.ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("v%d: an id in a version without: %+v", version, got)
		}
	}
}

func TestMetadataOperations(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	r := askMetadata(8, "t")
	r.IncludeClusterAuthorizedOperations, r.IncludeTopicAuthorizedOperations = true, true
	m := b.metadata(r)
	// Bit n is operation n of Kafka's AclOperation: read 3, write 4, ... idempotent write 12.
	if m.AuthorizedOperations != 0b1_1111_1010_0000 || m.Topics[0].AuthorizedOperations != 0b1101_1111_1000 {
		t.Errorf("cluster %b, topic %b", m.AuthorizedOperations, m.Topics[0].AuthorizedOperations)
	}
}

func TestMetadataOffline(t *testing.T) {
	b := newBench(t)
	b.topic("t", 2)
	b.replicas.Of("t", 1).Offline(errors.New("bad bytes"))
	p := b.metadata(askMetadata(12, "t")).Topics[0].Partitions
	if p[0].ErrorCode != 0 || p[0].Leader != apitest.Node {
		t.Errorf("the good one: %+v", p[0])
	}
	if p[1].ErrorCode != kerr.LeaderNotAvailable.Code || p[1].Leader != -1 || len(p[1].OfflineReplicas) != 1 {
		t.Errorf("the offline one: %+v", p[1])
	}
}

func TestMetadataShowsInternal(t *testing.T) {
	b := newBench(t)
	_, err := b.replicas.CreateTopic(replication.TopicSpec{
		Name: "__consumer_offsets", Partitions: 50, Internal: true,
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	topic := b.metadata(askMetadata(1, "__consumer_offsets")).Topics[0]
	if !topic.IsInternal || len(topic.Partitions) != 50 {
		t.Errorf("internal %v, %d partitions", topic.IsInternal, len(topic.Partitions))
	}
}
