package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
)

// metricsTable is README's table of metrics, made from the families.
func metricsTable() string {
	var rows []string
	row := func(name, label, kind, help string) {
		if label != "" {
			name += "{" + label + "}"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", name, kind, strings.TrimSuffix(help, ".")))
	}
	for _, f := range families {
		kind := "gauge"
		if f.kind == prometheus.CounterValue {
			kind = "counter"
		}
		row(f.name, f.label, kind, f.help)
	}
	for _, h := range histograms {
		row(h.name, h.label, "histogram", h.help)
	}
	slices.Sort(rows)
	return "| metric | kind | meaning |\n|---|---|---|\n" + strings.Join(rows, "")
}

// TestReadmeListsTheMetrics holds README's table to what is exported.
func TestReadmeListsTheMetrics(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme, table := string(data), metricsTable()
	if !strings.Contains(readme, table) {
		t.Errorf("README.md does not hold the table of metrics; it is now:\n%s", table)
	}
	for _, name := range regexp.MustCompile("`(chronos_[a-z_]+)").FindAllStringSubmatch(readme, -1) {
		if !strings.Contains(table, "`"+name[1]) {
			t.Errorf("README.md names %s, which is not exported", name[1])
		}
	}
}

// everything is a snapshot in which every family has a sample.
func everything() snapshot {
	var l log.Latency
	l.Observe(1)
	var stats timer.Stats
	stats.LatenessCount[0] = 1
	s := snapshot{
		kafka: kafkaproto.Snapshot{
			Requests:       map[string]int64{"Produce": 1},
			RequestLatency: map[string]log.LatencySnapshot{"Produce": l.Snapshot()},
		},
		replicas: replication.Metrics{
			PendingDue: []replication.HistogramBucket{{Pending: 1}, {Pending: 2}},
			Schedules:  stats, HasNextDue: true, Offline: []string{"t-0"}, OfflinePartitions: 1,
			Topics: []replication.TopicMetrics{{Topic: "t"}, {Topic: replication.OtherTopics}},
		},
	}
	s.groups.Groups = map[string]int64{"Stable": 1}
	s.replicas.Commits.FsyncLatency = l.Snapshot()
	return s
}

// TestMetricsLint runs what `promtool check metrics` runs over an exporter with a sample of each.
func TestMetricsLint(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(exporterOver(everything)); err != nil {
		t.Fatal(err)
	}
	got, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(families)+len(histograms) {
		t.Errorf("%d families have a sample, there are %d", len(got), len(families)+len(histograms))
	}
	problems, err := promlint.NewWithMetricFamilies(got).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
