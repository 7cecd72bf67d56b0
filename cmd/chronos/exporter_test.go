package main

import (
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
)

func TestExporter(t *testing.T) {
	var stats timer.Stats
	stats.Delivered, stats.LatenessSumMs = 7, 2500
	stats.LatenessCount[0], stats.LatenessCount[3] = 4, 2
	stats.LatenessCount[len(stats.LatenessCount)-1] = 1
	s := snapshot{
		kafka: kafkaproto.Snapshot{Requests: map[string]int64{"Produce": 3, "Fetch": 5}},
		replicas: replication.Metrics{
			Schedules: stats, Pending: 9, HasNextDue: true, NextDue: 10_500, StagingBytes: 11, LogBytes: 12,
		},
		now: 10_000,
	}
	s.replicas.Commits = log.CommitterStats{Fsyncs: 6, FsyncLatency: log.LatencySnapshot{
		Count: 5, Sum: 3 * time.Second,
		Buckets: []log.LatencyBucket{{Bound: time.Millisecond, Count: 4}, {Bound: -1, Count: 1}},
	}}
	e := exporterOver(func() snapshot { return s })
	text := scrape(t, e)
	for _, want := range []string{
		"chronos_delivered_records_total 7",
		"chronos_log_bytes{log=\"partition\"} 12",
		"chronos_log_bytes{log=\"staging\"} 11",
		"chronos_next_due_seconds 0.5",
		"chronos_pending_records 9",
		"chronos_requests_total{api=\"Fetch\"} 5",
		"chronos_requests_total{api=\"Produce\"} 3",
		"chronos_lateness_seconds_bucket{le=\"0.0005\"} 4",
		"chronos_lateness_seconds_bucket{le=\"0.002\"} 4",
		"chronos_lateness_seconds_bucket{le=\"0.005\"} 6",
		"chronos_lateness_seconds_bucket{le=\"60\"} 6",
		"chronos_lateness_seconds_bucket{le=\"+Inf\"} 7",
		"chronos_lateness_seconds_sum 2.5",
		"chronos_lateness_seconds_count 7",
		"chronos_fsyncs_total 6",
		"chronos_fsync_seconds_bucket{le=\"0.001\"} 4",
		"chronos_fsync_seconds_bucket{le=\"+Inf\"} 5",
		"chronos_fsync_seconds_sum 3",
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("/metrics has no line %q:\n%s", want, text)
		}
	}
}

// scrape collects e as a scrape would, with Prometheus's own checks of names and labels on.
func scrape(t *testing.T, e *exporter) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(e); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestExporterWithNothingPending(t *testing.T) {
	text := scrape(t, exporterOver(func() snapshot { return snapshot{} }))
	if strings.Contains(text, "chronos_next_due_seconds") {
		t.Errorf("there is a next due time while nothing is pending:\n%s", text)
	}
	// Families without a label are there from the start, so that an alert on them can be tried.
	for _, f := range families {
		if f.label == "" && f.name != "chronos_next_due_seconds" && !strings.Contains(text, "\n"+f.name+" 0\n") {
			t.Errorf("no sample of %s", f.name)
		}
	}
}

// TestFamilyNames holds the names to Prometheus's conventions, which dashboards rely on.
func TestFamilyNames(t *testing.T) {
	valid := regexp.MustCompile(`^chronos_[a-z]+(_[a-z]+)*$`)
	for _, f := range families {
		total := strings.HasSuffix(f.name, "_total")
		if !valid.MatchString(f.name) || total != (f.kind == prometheus.CounterValue) {
			t.Errorf("%s: counters, and only they, end in _total", f.name)
		}
		if !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s: the help text is a sentence", f.name)
		}
	}
}
