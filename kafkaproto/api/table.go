package api

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	produceKey     = 0
	apiVersionsKey = 18
)

// row is one API.
type row struct {
	key      int16
	name     string
	min, max int16 // advertised
	// refusedBelow is the first version that is served, where it is above min.
	refusedBelow int16
	shape        structure
	handle       handler
}

func (r row) served() int16 { return max(r.min, r.refusedBelow) }

// handler runs a request's first stage. A nil reply means that the client wants none; an error
// closes the connection.
type handler func(s *Service, c *call, r kmsg.Request) (Reply, error)

// on makes a handler of a method that takes its own request type.
func on[R kmsg.Request](f func(s *Service, c *call, r R) (Reply, error)) handler {
	return func(s *Service, c *call, r kmsg.Request) (Reply, error) {
		typed, ok := r.(R)
		if !ok {
			return nil, fmt.Errorf("the table gives %T to a handler of %T", r, typed)
		}
		return f(s, c, typed)
	}
}

// table is the one list of APIs, in the versions of Kafka 4.4.
//
// Produce is advertised from 0 because librdkafka up to 2.11 sends its batches uncompressed,
// without a word, to a broker that does not list version 0 (KAFKA-18659). JoinGroup starts at 0
// because librdkafka up to 2.10 cannot subscribe otherwise (KAFKA-19444).
func table() []row {
	return []row{
		{
			key: 0, name: "Produce", max: 13, refusedBelow: 3,
			shape: produceShape(), handle: on((*Service).produce),
		},
		{
			key: 1, name: "Fetch", min: 4, max: 18,
			shape: fetchShape(), handle: on((*Service).fetch),
		},
		{
			key: 2, name: "ListOffsets", min: 1, max: 11,
			shape: listOffsetsShape(), handle: on((*Service).listOffsets),
		},
		{
			key: 3, name: "Metadata", max: 13,
			shape: metadataShape(), handle: on((*Service).metadata),
		},
		{
			key: 8, name: "OffsetCommit", min: 2, max: 10,
			shape: offsetCommitShape(), handle: on((*Service).offsetCommit),
		},
		{
			key: 9, name: "OffsetFetch", min: 1, max: 10,
			shape: offsetFetchShape(), handle: on((*Service).offsetFetch),
		},
		{
			key: 10, name: "FindCoordinator", max: 6,
			shape: findCoordinatorShape(), handle: on((*Service).findCoordinator),
		},
		{
			key: 11, name: "JoinGroup", max: 9,
			shape: joinGroupShape(), handle: on((*Service).joinGroup),
		},
		{
			key: 12, name: "Heartbeat", max: 4,
			shape: heartbeatShape(), handle: on((*Service).heartbeat),
		},
		{
			key: 13, name: "LeaveGroup", max: 5,
			shape: leaveGroupShape(), handle: on((*Service).leaveGroup),
		},
		{
			key: 14, name: "SyncGroup", max: 5,
			shape: syncGroupShape(), handle: on((*Service).syncGroup),
		},
		{
			key: 16, name: "ListGroups", max: 5,
			shape: listGroupsShape(), handle: on((*Service).listGroups),
		},
		{
			key: 18, name: "ApiVersions", max: 5,
			shape: apiVersionsShape(), handle: on((*Service).apiVersions),
		},
		{
			key: 19, name: "CreateTopics", min: 2, max: 7,
			shape: createTopicsShape(), handle: on((*Service).createTopics),
		},
		{
			key: 20, name: "DeleteTopics", min: 1, max: 6,
			shape: deleteTopicsShape(), handle: on((*Service).deleteTopics),
		},
		{
			key: 21, name: "DeleteRecords", max: 2,
			shape: deleteRecordsShape(), handle: on((*Service).deleteRecords),
		},
		{
			key: 22, name: "InitProducerId", max: 5,
			shape: initProducerIDShape(), handle: on((*Service).initProducerID),
		},
		{
			key: 23, name: "OffsetForLeaderEpoch", min: 2, max: 4,
			shape: offsetForLeaderEpochShape(), handle: on((*Service).offsetForLeaderEpoch),
		},
		{
			key: 32, name: "DescribeConfigs", min: 1, max: 4,
			shape: describeConfigsShape(), handle: on((*Service).describeConfigs),
		},
		{
			key: 33, name: "AlterConfigs", max: 2,
			shape: alterConfigsShape(), handle: on((*Service).alterConfigs),
		},
		{
			key: 35, name: "DescribeLogDirs", min: 1, max: 5,
			shape: describeLogDirsShape(), handle: on((*Service).describeLogDirs),
		},
		{
			key: 44, name: "IncrementalAlterConfigs", max: 1,
			shape: incrementalAlterConfigsShape(), handle: on((*Service).incrementalAlterConfigs),
		},
	}
}

// API is one entry of the list of APIs.
type API struct {
	Key        int16
	Name       string
	Min, Max   int16 // advertised
	ServedFrom int16 // the first version that is served: Min, but for Produce
}

// List returns what is served, in the order of the API keys.
func (s *Service) List() []API { return listed(s.list) }

func listed(rows []row) []API {
	out := make([]API, len(rows))
	for i, r := range rows {
		out[i] = API{Key: r.key, Name: r.name, Min: r.min, Max: r.max, ServedFrom: r.served()}
	}
	return out
}

// Markdown returns the list as a table for people.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| key | API | versions |\n|---|---|---|\n")
	for _, a := range listed(table()) {
		note := ""
		if a.ServedFrom != a.Min {
			note = fmt.Sprintf(" (below %d: listed for old clients, refused when used)", a.ServedFrom)
		}
		fmt.Fprintf(&b, "| %d | %s | %d to %d%s |\n", a.Key, a.Name, a.Min, a.Max, note)
	}
	return b.String()
}
