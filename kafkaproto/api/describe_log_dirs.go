package api

import (
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/replication"
)

// DescribeLogDirs (key 35): what partitions take on disk.
//
// Behavior:
//   - There is one log dir, the data directory. The size of a partition is that of its batches,
//     those that wait for their due time included; offset_lag is 0, and no replica is a future one.
//   - Null topics are all topics. What does not exist is left out, as in Kafka.
//   - A partition that is offline, such as for damage, is listed in a log dir of its own: its
//     folder, with KAFKA_STORAGE_ERROR and a size of -1. The protocol has no error for a partition.
//
// Version notes:
//   - v2: flexible; v3: an error of the whole request, which never occurs
//   - v4: size and free space of the volume; v5: cordoned log dirs, of which there are none
func (s *Service) describeLogDirs(c *call, r *kmsg.DescribeLogDirsRequest) (Reply, error) {
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrDescribeLogDirsResponse()
		out.Version = c.Version
		found := s.o.Replicas.LogDir(wantedLogs(r))
		dir := kmsg.NewDescribeLogDirsResponseDir()
		dir.Dir = absolute(found.Path)
		dir.TotalBytes, dir.UsableBytes = found.TotalBytes, found.UsableBytes
		var offline []kmsg.DescribeLogDirsResponseDir
		for i := range found.Partitions {
			p := &found.Partitions[i]
			if p.Offline == nil {
				addPartition(&dir, p)
				continue
			}
			own := kmsg.NewDescribeLogDirsResponseDir()
			own.Dir, own.ErrorCode = absolute(p.Path), kerr.KafkaStorageError.Code
			addPartition(&own, p)
			offline = append(offline, own)
		}
		out.Dirs = append(append(out.Dirs, dir), offline...)
		return out, nil
	}), nil
}

// absolute is a path as tools expect it; the server may have been started with a relative one.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// wantedLogs says which partitions a request asks for.
func wantedLogs(r *kmsg.DescribeLogDirsRequest) func(topic string, index int32) bool {
	if r.Topics == nil {
		return func(string, int32) bool { return true }
	}
	asked := map[string][]int32{}
	for _, t := range r.Topics {
		asked[t.Topic] = append(asked[t.Topic], t.Partitions...)
	}
	for _, indexes := range asked {
		slices.Sort(indexes)
	}
	return func(topic string, index int32) bool {
		_, ok := slices.BinarySearch(asked[topic], index)
		return ok
	}
}

// addPartition lists a partition under its topic, which is the last one if it is there.
func addPartition(
	dir *kmsg.DescribeLogDirsResponseDir, p *replication.PartitionFiles,
) {
	if n := len(dir.Topics); n == 0 || dir.Topics[n-1].Topic != p.Topic {
		topic := kmsg.NewDescribeLogDirsResponseDirTopic()
		topic.Topic = p.Topic
		dir.Topics = append(dir.Topics, topic)
	}
	topic := &dir.Topics[len(dir.Topics)-1]
	out := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
	out.Partition, out.Size = p.Index, p.Bytes
	topic.Partitions = append(topic.Partitions, out)
}
