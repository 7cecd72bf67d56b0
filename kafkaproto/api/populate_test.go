package api_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// populated returns a request of one API with something in it that succeeds, on topic "t".
func populated(t testing.TB, key, version int16, id [16]byte) kmsg.Request {
	t.Helper()
	request := kmsg.RequestForKey(key)
	request.SetVersion(version)
	populate(t, request, id)
	return request
}

func populate(t testing.TB, request kmsg.Request, id [16]byte) {
	switch r := request.(type) {
	case *kmsg.ProduceRequest:
		r.Acks, r.TimeoutMillis = -1, 1000
		r.Topics = []kmsg.ProduceRequestTopic{{
			Topic: "t", TopicID: id, Partitions: []kmsg.ProduceRequestTopicPartition{
				{Partition: 0, Records: records(t, 2, 10, batch.None)},
				{Partition: 1, Records: records(t, 1, 10, batch.Gzip)},
			},
		}}
	case *kmsg.FetchRequest:
		populateFetch(r, id)
	case *kmsg.ListOffsetsRequest:
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp = -1
		r.Topics = []kmsg.ListOffsetsRequestTopic{
			{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}},
		}
	case *kmsg.MetadataRequest:
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("t")
		r.Topics = append(r.Topics, topic)
	case *kmsg.InitProducerIDRequest:
		r.ProducerID, r.ProducerEpoch = -1, -1
	case *kmsg.OffsetForLeaderEpochRequest:
		p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		p.LeaderEpoch = 3
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{
			{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}},
		}
	case *kmsg.ApiVersionsRequest:
		r.ClientSoftwareName, r.ClientSoftwareVersion = "a-client", "1.2.3"
		r.NodeID = -1
	case *kmsg.CreateTopicsRequest:
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "new", 1, 1
		r.Topics = append(r.Topics, topic)
	case *kmsg.DeleteTopicsRequest:
		r.TopicNames = []string{"t"}
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: kmsg.StringPtr("t")}}
	case *kmsg.DescribeConfigsRequest:
		r.IncludeSynonyms, r.IncludeDocumentation = true, true
		r.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "7"},
		}
	default:
		populateAdmin(request)
		populateGroup(request, id)
	}
}

func populateAdmin(request kmsg.Request) {
	switch r := request.(type) {
	case *kmsg.DeleteRecordsRequest:
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{
			Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: 1, Offset: -1}},
		}}
	case *kmsg.AlterConfigsRequest:
		r.Resources = []kmsg.AlterConfigsRequestResource{{
			ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
			Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: new("5")}},
		}}
	case *kmsg.IncrementalAlterConfigsRequest:
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
			ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t",
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{
				{Name: "retention.ms", Value: new("5")},
				{Name: "segment.ms", Op: kmsg.IncrementalAlterConfigOpDelete},
			},
		}}
	case *kmsg.DescribeLogDirsRequest:
		r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}
	}
}

func populateFetch(r *kmsg.FetchRequest, id [16]byte) {
	r.MaxBytes, r.MinBytes = 1<<20, 0
	r.ReplicaID = -1
	r.ReplicaState.ID, r.ReplicaState.Epoch = -1, -1
	r.SessionEpoch = -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = 1 << 20
	p.CurrentLeaderEpoch, p.LastFetchedEpoch = -1, -1
	r.Topics = []kmsg.FetchRequestTopic{
		{Topic: "t", TopicID: id, Partitions: []kmsg.FetchRequestTopicPartition{p}},
	}
}

func populateGroup(request kmsg.Request, id [16]byte) {
	switch r := request.(type) {
	case *kmsg.FindCoordinatorRequest:
		r.CoordinatorKey, r.CoordinatorKeys = "g", []string{"g", "h"}
	case *kmsg.JoinGroupRequest:
		r.Group, r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = "g", 10_000, 20_000
		r.ProtocolType = "consumer"
		r.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("meta")}}
	case *kmsg.SyncGroupRequest:
		r.Group, r.MemberID = "g", "member-1"
		r.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{
			{MemberID: "member-1", MemberAssignment: []byte("assigned")},
		}
	case *kmsg.HeartbeatRequest:
		r.Group = "g"
	case *kmsg.LeaveGroupRequest:
		r.Group, r.MemberID = "g", "member-1"
		r.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "member-1"}}
	case *kmsg.OffsetCommitRequest:
		r.Group = "g"
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset, p.Metadata = 5, kmsg.StringPtr("m")
		r.Topics = []kmsg.OffsetCommitRequestTopic{
			{Topic: "t", TopicID: id, Partitions: []kmsg.OffsetCommitRequestTopicPartition{p}},
		}
	case *kmsg.OffsetFetchRequest:
		r.Group = "g"
		r.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: id, Partitions: []int32{0}}}
		r.Groups = []kmsg.OffsetFetchRequestGroup{g}
	}
}

// firstError returns the first error code in a response that is not 0.
func firstError(response kmsg.Response) int16 {
	var codes []int16
	switch r := response.(type) {
	case *kmsg.ProduceResponse:
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	case *kmsg.FetchResponse:
		codes = append(codes, r.ErrorCode)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				codes = append(codes, p.ErrorCode)
			}
		}
	case *kmsg.ListOffsetsResponse:
		codes = append(codes, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.MetadataResponse:
		codes = append(codes, r.ErrorCode, r.Topics[0].ErrorCode, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.OffsetForLeaderEpochResponse:
		codes = append(codes, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.CreateTopicsResponse:
		codes = append(codes, r.Topics[0].ErrorCode)
	case *kmsg.DeleteTopicsResponse:
		codes = append(codes, r.Topics[0].ErrorCode)
	case *kmsg.DescribeConfigsResponse:
		codes = append(codes, r.Resources[0].ErrorCode, r.Resources[1].ErrorCode)
	case *kmsg.OffsetCommitResponse:
		codes = append(codes, r.Topics[0].Partitions[0].ErrorCode)
	case *kmsg.OffsetFetchResponse:
		codes = append(codes, r.ErrorCode)
		for _, t := range r.Topics {
			codes = append(codes, t.Partitions[0].ErrorCode)
		}
		for _, g := range r.Groups {
			codes = append(codes, g.ErrorCode, g.Topics[0].Partitions[0].ErrorCode)
		}
	default:
		codes = append(codes, topError(response))
	}
	for _, code := range codes {
		if code != 0 {
			return code
		}
	}
	return 0
}

func topError(response kmsg.Response) int16 {
	switch r := response.(type) {
	case *kmsg.DeleteRecordsResponse:
		return r.Topics[0].Partitions[0].ErrorCode
	case *kmsg.AlterConfigsResponse:
		return r.Resources[0].ErrorCode
	case *kmsg.IncrementalAlterConfigsResponse:
		return r.Resources[0].ErrorCode
	case *kmsg.DescribeLogDirsResponse:
		return max(r.ErrorCode, r.Dirs[0].ErrorCode)
	case *kmsg.InitProducerIDResponse:
		return r.ErrorCode
	case *kmsg.ApiVersionsResponse:
		return r.ErrorCode
	case *kmsg.FindCoordinatorResponse:
		for _, c := range r.Coordinators {
			if c.ErrorCode != 0 {
				return c.ErrorCode
			}
		}
		return r.ErrorCode
	case *kmsg.JoinGroupResponse:
		return r.ErrorCode
	case *kmsg.SyncGroupResponse:
		return r.ErrorCode
	case *kmsg.HeartbeatResponse:
		return r.ErrorCode
	case *kmsg.LeaveGroupResponse:
		return r.ErrorCode
	case *kmsg.ListGroupsResponse:
		return r.ErrorCode
	default:
		return -9999
	}
}
