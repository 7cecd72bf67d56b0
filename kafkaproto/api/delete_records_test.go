package api_test

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
)

func TestDeleteRecords(t *testing.T) {
	b := newBench(t)
	b.topic("t", 2)
	if _, err := b.replicas.CreateTopic(replication.TopicSpec{
		Name: "__internal", Partitions: 1, Internal: true,
	}, false); err != nil {
		t.Fatal(err)
	}
	b.replicas.Of("t", 0).Put(records(t, 10, 1, batch.None))
	b.replicas.Of("t", 1).Offline(errors.New("it is damaged"))
	send := func(topic string, partition int32, offset int64) (int64, int16) {
		r := kmsg.NewPtrDeleteRecordsRequest()
		r.SetVersion(2)
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{
			Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{
				{Partition: partition, Offset: offset},
			},
		}}
		out := b.do(r).(*kmsg.DeleteRecordsResponse).Topics[0]
		if out.Topic != topic || out.Partitions[0].Partition != partition {
			t.Errorf("asked for %s-%d, got %+v", topic, partition, out)
		}
		return out.Partitions[0].LowWatermark, out.Partitions[0].ErrorCode
	}
	for _, c := range []struct {
		topic     string
		partition int32
		offset    int64
		low       int64
		code      *kerr.Error
	}{
		{"t", 0, 4, 4, nil},
		{"t", 0, 4, 4, nil},
		{"t", 0, 2, 4, nil},
		{"t", 0, 11, -1, kerr.OffsetOutOfRange},
		{"t", 0, -2, -1, kerr.OffsetOutOfRange},
		{"t", 0, -1, 10, nil},
		{"t", 1, 0, -1, kerr.KafkaStorageError},
		{"t", 2, 0, -1, kerr.UnknownTopicOrPartition},
		{"u", 0, 0, -1, kerr.UnknownTopicOrPartition},
		{"__internal", 0, 0, -1, kerr.InvalidTopicException},
	} {
		want := int16(0)
		if c.code != nil {
			want = c.code.Code
		}
		if low, code := send(c.topic, c.partition, c.offset); low != c.low || code != want {
			t.Errorf("%s-%d to %d: low %d code %d, want %d, %d", c.topic, c.partition, c.offset, low, code, c.low, want)
		}
	}
	for err, want := range map[error]*kerr.Error{
		replication.ErrUndeletable: kerr.PolicyViolation, replication.ErrNotSettled: kerr.RequestTimedOut,
		replication.ErrClosed: kerr.NotLeaderForPartition,
	} {
		b.replicas.Of("t", 0).Refuse(err)
		if low, code := send("t", 0, -1); low != -1 || code != want.Code {
			t.Errorf("%v: low %d, code %d", err, low, code)
		}
	}
}

func TestDescribeLogDirs(t *testing.T) {
	b := newBench(t)
	b.topic("a", 2)
	b.topic("b", 3)
	b.replicas.Of("b", 1).Put(records(t, 3, 1, batch.None))
	b.replicas.Of("b", 2).Offline(errors.New("it is damaged"))
	r := kmsg.NewPtrDescribeLogDirsRequest()
	r.SetVersion(5)
	out := b.do(r).(*kmsg.DescribeLogDirsResponse)
	if len(out.Dirs) != 2 {
		t.Fatalf("%+v", out)
	}
	all, bad := out.Dirs[0], out.Dirs[1]
	if all.ErrorCode != 0 || all.Dir != "/data" || all.TotalBytes != 1<<40 || all.UsableBytes != 1<<39 ||
		len(all.Topics) != 2 || len(all.Topics[0].Partitions) != 2 || len(all.Topics[1].Partitions) != 2 {
		t.Errorf("%+v", all)
	}
	if p := all.Topics[1].Partitions[1]; p.Partition != 1 || p.Size != 300 || p.OffsetLag != 0 || p.IsFuture {
		t.Errorf("%+v", p)
	}
	if bad.ErrorCode != kerr.KafkaStorageError.Code || bad.Dir != "/data/b-2" || bad.Topics[0].Topic != "b" ||
		bad.Topics[0].Partitions[0].Partition != 2 || bad.Topics[0].Partitions[0].Size != -1 {
		t.Errorf("%+v", bad)
	}
	r.Topics = []kmsg.DescribeLogDirsRequestTopic{
		{Topic: "b", Partitions: []int32{9, 1}},
		{Topic: "none", Partitions: []int32{0}},
		{Topic: "b", Partitions: []int32{0}},
	}
	out = b.do(r).(*kmsg.DescribeLogDirsResponse)
	if len(out.Dirs) != 1 || len(out.Dirs[0].Topics) != 1 || len(out.Dirs[0].Topics[0].Partitions) != 2 {
		t.Errorf("%+v", out)
	}
	r.Topics = []kmsg.DescribeLogDirsRequestTopic{}
	if out = b.do(r).(*kmsg.DescribeLogDirsResponse); len(out.Dirs) != 1 || len(out.Dirs[0].Topics) != 0 {
		t.Errorf("no topics: %+v", out)
	}
}
