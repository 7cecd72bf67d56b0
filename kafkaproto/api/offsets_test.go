package api_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

func askOffset(version int16, ts int64) *kmsg.ListOffsetsRequest {
	r := kmsg.NewPtrListOffsetsRequest()
	r.Version = version
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = ts
	p.CurrentLeaderEpoch = -1
	r.Topics = []kmsg.ListOffsetsRequestTopic{
		{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}},
	}
	return r
}

func TestListOffsets(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	part := b.replicas.Of("t", 0)
	part.Put(records(t, 10, 10, batch.None))
	part.SetStart(2)
	for _, c := range []struct {
		name    string
		version int16
		ts      int64
		code    int16
		offset  int64
		at      int64
	}{
		{"latest", 1, -1, 0, 10, -1},
		{"earliest", 1, -2, 0, 2, -1},
		{"max", 7, -3, 0, 9, 9000},
		{"max too early", 6, -3, kerr.UnsupportedVersion.Code, -1, -1},
		{"local", 8, -4, 0, 2, -1},
		{"local too early", 7, -4, kerr.UnsupportedVersion.Code, -1, -1},
		{"tiered", 9, -5, 0, -1, -1},
		{"tiered too early", 8, -5, kerr.UnsupportedVersion.Code, -1, -1},
		{"pending", 11, -6, 0, -1, -1},
		{"pending too early", 10, -6, kerr.UnsupportedVersion.Code, -1, -1},
		{"never heard of", 11, -7, kerr.UnsupportedVersion.Code, -1, -1},
		{"time", 1, 4500, 0, 5, 5000},
		{"exact time", 11, 5000, 0, 5, 5000},
		{"time after all", 11, 9001, 0, -1, -1},
	} {
		p := b.do(askOffset(c.version, c.ts)).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
		if p.ErrorCode != c.code || p.Offset != c.offset || p.Timestamp != c.at {
			t.Errorf("%s: %+v", c.name, p)
		}
		if c.version >= 4 && (p.LeaderEpoch == 3) != (c.offset >= 0) {
			t.Errorf("%s: epoch %d with offset %d", c.name, p.LeaderEpoch, p.Offset)
		}
	}
}

func TestListOffsetsRefusals(t *testing.T) {
	type request = kmsg.ListOffsetsRequest
	for _, c := range []struct {
		name   string
		change func(r *request)
		want   *kerr.Error
	}{
		{"topic", func(r *request) { r.Topics[0].Topic = "no" }, kerr.UnknownTopicOrPartition},
		{"partition", func(r *request) { r.Topics[0].Partitions[0].Partition = 3 }, kerr.UnknownTopicOrPartition},
		{"old epoch", func(r *request) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 1 }, kerr.FencedLeaderEpoch},
		{"new epoch", func(r *request) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 9 }, kerr.UnknownLeaderEpoch},
		{"twice", func(r *request) { r.Topics = append(r.Topics, r.Topics[0]) }, kerr.InvalidRequest},
	} {
		b := newBench(t)
		b.topic("t", 1)
		r := askOffset(6, -1)
		c.change(r)
		for _, topic := range b.do(r).(*kmsg.ListOffsetsResponse).Topics {
			if p := topic.Partitions[0]; p.ErrorCode != c.want.Code || p.Offset != -1 {
				t.Errorf("%s: %+v, want %v", c.name, p, c.want)
			}
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	b := newBench(t)
	b.topic("t", 1)
	b.replicas.Of("t", 0).Put(records(t, 10, 10, batch.None))
	for _, c := range []struct {
		name           string
		topic          string
		current, asked int32
		code           int16
		epoch          int32
		end            int64
	}{
		{"current", "t", -1, 3, 0, 3, 10},
		{"older", "t", 3, 2, 0, 3, 10},
		{"of the future", "t", -1, 4, 0, -1, -1},
		{"fenced", "t", 2, 3, kerr.FencedLeaderEpoch.Code, -1, -1},
		{"unknown", "t", 4, 3, kerr.UnknownLeaderEpoch.Code, -1, -1},
		{"topic", "no", -1, 3, kerr.UnknownTopicOrPartition.Code, -1, -1},
	} {
		for version := int16(2); version <= 4; version++ {
			r := populated(t, 23, version, [16]byte{}).(*kmsg.OffsetForLeaderEpochRequest)
			r.Topics[0].Topic = c.topic
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = c.current
			r.Topics[0].Partitions[0].LeaderEpoch = c.asked
			p := b.do(r).(*kmsg.OffsetForLeaderEpochResponse).Topics[0].Partitions[0]
			if p.ErrorCode != c.code || p.LeaderEpoch != c.epoch || p.EndOffset != c.end {
				t.Errorf("%s v%d: %+v", c.name, version, p)
			}
		}
	}
}

func TestInitProducerID(t *testing.T) {
	b := newBench(t)
	seen := map[int64]bool{}
	ask := func(version int16, change func(r *kmsg.InitProducerIDRequest)) *kmsg.InitProducerIDResponse {
		t.Helper()
		r := populated(t, 22, version, [16]byte{}).(*kmsg.InitProducerIDRequest)
		change(r)
		return b.do(r).(*kmsg.InitProducerIDResponse)
	}
	for version := int16(0); version <= 5; version++ {
		out := ask(version, func(*kmsg.InitProducerIDRequest) {})
		if out.ErrorCode != 0 || out.ProducerID < 0 || out.ProducerEpoch != 0 || seen[out.ProducerID] {
			t.Errorf("v%d: %+v", version, out)
		}
		seen[out.ProducerID] = true
	}
	noTxns := kerr.TransactionalIDAuthorizationFailed
	out := ask(4, func(r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = 5, 2 })
	if out.ErrorCode != 0 || out.ProducerID == 5 || out.ProducerEpoch != 0 {
		t.Errorf("with an id of its own: %+v", out)
	}
	for _, c := range []struct {
		name   string
		change func(r *kmsg.InitProducerIDRequest)
		want   *kerr.Error
	}{
		{"transactional", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = kmsg.StringPtr("x") }, noTxns},
		{"empty", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = kmsg.StringPtr("") }, kerr.InvalidRequest},
		{"id only", func(r *kmsg.InitProducerIDRequest) { r.ProducerID = 5 }, kerr.InvalidRequest},
		{"epoch only", func(r *kmsg.InitProducerIDRequest) { r.ProducerEpoch = 5 }, kerr.InvalidRequest},
	} {
		if out := ask(4, c.change); out.ErrorCode != c.want.Code || out.ProducerID != -1 || out.ProducerEpoch != -1 {
			t.Errorf("%s: %+v, want %v", c.name, out, c.want)
		}
	}
}
