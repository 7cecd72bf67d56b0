package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// snapshot is what all packages have counted, read once for a scrape.
type snapshot struct {
	kafka    kafkaproto.Snapshot
	replicas replication.Metrics
	groups   groups.Metrics
	now      clock.UnixMs
}

// exporter is a prometheus.Collector over the packages' Metrics. It keeps nothing of its own, so
// that no package needs to know of Prometheus.
type exporter struct {
	take       func() snapshot
	descs      []*prometheus.Desc // of families, in their order
	histograms []*prometheus.Desc // likewise
}

func newExporter(
	kafka *kafkaproto.Server, replicas *replication.Manager, g *groups.Coordinator, c clock.Clock,
) *exporter {
	return exporterOver(func() snapshot {
		return snapshot{
			kafka: kafka.Metrics(), replicas: replicas.Metrics(), groups: g.Metrics(),
			now: clock.ToMs(c.Now()),
		}
	})
}

func exporterOver(take func() snapshot) *exporter {
	e := &exporter{take: take}
	for _, f := range families {
		var labels []string
		if f.label != "" {
			labels = []string{f.label}
		}
		e.descs = append(e.descs, prometheus.NewDesc(f.name, f.help, labels, nil))
	}
	for _, h := range histograms {
		e.histograms = append(e.histograms, prometheus.NewDesc(h.name, h.help, h.labels(), nil))
	}
	return e
}

// Describe names every metric once, so that a name used twice is noticed at the start.
func (e *exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range e.descs {
		ch <- desc
	}
	for _, desc := range e.histograms {
		ch <- desc
	}
}

// Collect reads all packages once and passes on what they counted.
func (e *exporter) Collect(ch chan<- prometheus.Metric) {
	s := e.take()
	for i, f := range families {
		for label, value := range f.read(s) {
			var labels []string
			if f.label != "" {
				labels = []string{label}
			}
			ch <- prometheus.MustNewConstMetric(e.descs[i], f.kind, value, labels...)
		}
	}
	for i, h := range histograms {
		for label, b := range h.read(s) {
			var labels []string
			if h.label != "" {
				labels = []string{label}
			}
			ch <- prometheus.MustNewConstHistogram(e.histograms[i], b.count, b.sum, b.bounds, labels...)
		}
	}
}
