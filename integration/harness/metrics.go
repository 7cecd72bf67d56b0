package harness

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// ErrNoMetric says that a scrape does not hold a metric that was asked for.
var ErrNoMetric = errors.New("no such metric")

// Metrics is one scrape of /metrics: each sample under its name with labels as it was printed.
type Metrics map[string]float64

// Scrape reads /metrics of the server at addr, which is host:port.
func Scrape(addr string) (Metrics, error) {
	client := &http.Client{Timeout: scrapeTimeout}
	defer client.CloseIdleConnections()
	code, body, err := get(client, "http://"+addr+"/metrics")
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("/metrics answered %d: %s", code, body)
	}
	return ParseMetrics(body)
}

// ParseMetrics reads the Prometheus text format, without time stamps, which chronos never prints.
func ParseMetrics(text string) (Metrics, error) {
	m := Metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		cut := strings.LastIndexByte(line, ' ')
		if cut < 0 {
			return nil, fmt.Errorf("metric line %q has no value", line)
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metric line %q: %w", line, err)
		}
		m[line[:cut]] = value
	}
	return m, nil
}

// Sum adds all samples of one metric over its labels. A metric that is absent is an error: a
// renamed metric must not read as zero.
func (m Metrics) Sum(name string) (float64, error) {
	sum, found := 0.0, false
	for sample, value := range m {
		if sample == name || strings.HasPrefix(sample, name+"{") {
			sum, found = sum+value, true
		}
	}
	if !found {
		return 0, fmt.Errorf("%s: %w", name, ErrNoMetric)
	}
	return sum, nil
}
