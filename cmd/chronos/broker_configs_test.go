package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// describeBroker asks a running server for its own configs.
func describeBroker(t *testing.T, addr string) []kmsg.DescribeConfigsResponseResourceConfig {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	r := kmsg.NewPtrDescribeConfigsRequest()
	r.IncludeDocumentation = true
	r.Resources = []kmsg.DescribeConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"},
	}
	out, err := r.RequestWith(t.Context(), client.Broker(1))
	if err != nil {
		t.Fatal(err)
	}
	return out.Resources[0].Configs
}

// TestBytesPerSecondAsJavaWritesIt: from the Javadoc of Double.toString.
func TestBytesPerSecondAsJavaWritesIt(t *testing.T) {
	for n, want := range map[int64]string{
		0: "1.7976931348623157E308", 1: "1.0", 3 << 20: "3145728.0", 9_999_999: "9999999.0",
		10_000_000: "1.0E7", 16 << 20: "1.6777216E7", 1 << 30: "1.073741824E9", 123_456_789: "1.23456789E8",
	} {
		if got := bytesPerSecond(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

// TestEveryFlagIsDescribed: what a server was started with can be seen by Kafka's tools, with
// whether somebody chose it.
func TestEveryFlagIsDescribed(t *testing.T) {
	// They say nothing of what clients see, or have no effect.
	silent := []string{"http-addr", "http-allow-remote-writes", "dedup-ttl", "log-level", "log-format", "config"}
	r := start(t, t.TempDir(), "--max-request-bytes=2MiB", "--compaction-bytes-per-second=3MiB",
		"--journal-size=128MiB")
	configs := describeBroker(t, r.kafka)
	chosen := map[string]string{
		"socket.request.max.bytes": "2097152", "log.cleaner.io.max.bytes.per.second": "3145728.0",
		"chronos.journal.bytes": "134217728",
	}
	for _, c := range configs {
		want, ok := chosen[c.Name]
		if ok && (c.Value == nil || *c.Value != want || c.Source != kmsg.ConfigSourceStaticBrokerConfig) {
			t.Errorf("%s is %v from %v, want %s from the command line", c.Name, c.Value, c.Source, want)
		}
	}
	c := defaultConfig()
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	registerFlags(flags, &c)
	flags.VisitAll(func(f *pflag.Flag) {
		described := slices.ContainsFunc(configs, func(c kmsg.DescribeConfigsResponseResourceConfig) bool {
			return strings.Contains(*c.Documentation, "(--"+f.Name+")")
		})
		if described == slices.Contains(silent, f.Name) {
			t.Errorf("--%s is described: %v", f.Name, described)
		}
	})
}
