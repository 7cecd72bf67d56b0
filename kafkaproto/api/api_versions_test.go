package api_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/kafkaproto/apitest"
)

// TestApiVersionsOfTheFuture is KIP-511: version 0, code 35, and this API alone, whatever the body.
func TestApiVersionsOfTheFuture(t *testing.T) {
	b := newBench(t)
	for _, version := range []byte{6, 99} {
		frame := []byte{0, 18, 0, version, 0, 0, 0, 5, 0xde, 0xad, 0xbe, 0xef, 0xff}
		answer, err := b.service.Start(context.Background(), b.session, frame)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := answer.AppendTo(&b.waiter, nil)
		if err != nil {
			t.Fatal(err)
		}
		want := []byte{0, 0, 0, 5, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 5}
		if !slices.Equal(raw, want) {
			t.Errorf("version %d: % x, want % x", version, raw, want)
		}
	}
}

func TestApiVersionsRules(t *testing.T) {
	own, other := apitest.ClusterID, "another"
	for _, c := range []struct {
		name    string
		version int16
		change  func(r *kmsg.ApiVersionsRequest)
		want    int16
	}{
		{"plain", 5, func(*kmsg.ApiVersionsRequest) {}, 0},
		{"name empty", 3, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = "" }, 42},
		{"name with a blank", 4, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = "a b" }, 42},
		{"version ends in a dot", 3, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareVersion = "1." }, 42},
		{"line break", 3, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = "a\n" }, 42},
		{"old versions have no name", 2, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = "" }, 0},
		{"one letter", 3, func(r *kmsg.ApiVersionsRequest) { r.ClientSoftwareName = "a" }, 0},
		{"ours", 5, func(r *kmsg.ApiVersionsRequest) { r.ClusterID, r.NodeID = &own, apitest.Node }, 0},
		{"another cluster", 5, func(r *kmsg.ApiVersionsRequest) { r.ClusterID, r.NodeID = &other, apitest.Node }, 129},
		{"another node", 5, func(r *kmsg.ApiVersionsRequest) { r.ClusterID, r.NodeID = &own, 8 }, 129},
		{"cluster only", 5, func(r *kmsg.ApiVersionsRequest) { r.ClusterID = &own }, 42},
		{"node only", 5, func(r *kmsg.ApiVersionsRequest) { r.NodeID = apitest.Node }, 42},
	} {
		b := newBench(t)
		r := populated(t, 18, c.version, [16]byte{}).(*kmsg.ApiVersionsRequest)
		c.change(r)
		out := b.do(r).(*kmsg.ApiVersionsResponse)
		if out.ErrorCode != c.want {
			t.Errorf("%s: code %d, want %d", c.name, out.ErrorCode, c.want)
		}
		if (len(out.ApiKeys) > 0) != (c.want == 0) {
			t.Errorf("%s: %d keys with code %d", c.name, len(out.ApiKeys), c.want)
		}
	}
}

// TestApiVersionsList holds what old clients need, found by running them (protocol.md).
func TestApiVersionsList(t *testing.T) {
	b := newBench(t)
	out := b.do(populated(t, 18, 4, [16]byte{})).(*kmsg.ApiVersionsResponse)
	found := map[int16]kmsg.ApiVersionsResponseApiKey{}
	for _, k := range out.ApiKeys {
		found[k.ApiKey] = k
	}
	for _, a := range b.service.List() {
		if k, ok := found[a.Key]; !ok || k.MinVersion != a.Min || k.MaxVersion != a.Max {
			t.Errorf("%s: listed as %+v, the table has %+v", a.Name, k, a)
		}
	}
	for key, why := range map[int16]string{
		0:  "librdkafka up to 2.11 drops compression",
		10: "librdkafka looks for lz4 here",
		11: "librdkafka up to 2.10 cannot subscribe",
	} {
		if found[key].MinVersion != 0 {
			t.Errorf("key %d begins at %d: %s", key, found[key].MinVersion, why)
		}
	}
	for _, key := range []int16{4, 5, 6, 7, 71, 72} {
		if _, ok := found[key]; ok {
			t.Errorf("key %d is listed", key)
		}
	}
	if len(out.SupportedFeatures)+len(out.FinalizedFeatures) != 0 || out.FinalizedFeaturesEpoch < 0 {
		t.Errorf("features are claimed that are not there: %+v", out)
	}
}

// TestList keeps APIS.md, which people read, to the table.
func TestList(t *testing.T) {
	data, err := os.ReadFile("../APIS.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := api.Markdown(); !strings.Contains(string(data), table) {
		t.Errorf("kafkaproto/APIS.md does not hold the table; it is now:\n%s", table)
	}
}
