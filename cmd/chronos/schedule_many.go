package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
	"github.com/chronosdb/chronosdb/timer"
)

// manyPage is how many records one request is about: few enough that the bar moves.
const manyPage = 500

// manyOrder carries an order out for a selection, page by page.
type manyOrder struct {
	client *scheduleClient
	path   string
	body   map[string]any // the selection, and what goes with the order
	screen io.Writer      // where the bar goes; nil when nobody watches
	bar    *progressbar.ProgressBar
	sum    manySum
}

// manySum is what was done in all.
type manySum struct {
	Matched    int          `json:"matched"`
	Done       int          `json:"done"`
	Unchanged  int          `json:"unchanged"`
	NotPending int          `json:"not_pending"`
	DueMs      timer.UnixMs `json:"due_ms,omitempty"`
}

func (s *manySum) add(a httpapi.ManyAnswer) {
	s.Matched += a.Matched
	s.Done += a.Done
	s.Unchanged += a.Unchanged
	s.NotPending += a.NotPending
	s.DueMs = a.DueMs
}

// orderMany carries an order out for a selection and says how much it did.
func (s *scheduleCommand) orderMany(
	cmd *cobra.Command, o scheduleOrder, selected, body map[string]any,
) error {
	m := &manyOrder{client: s.client(), path: o.manyPath, body: maps.Clone(selected)}
	maps.Copy(m.body, body)
	if o.use == "now" {
		m.body["in"] = "0"
	}
	if isTerminal(os.Stderr) {
		m.screen = cmd.ErrOrStderr()
	}
	m.begin(cmd.Context(), o.done, selected)
	err := m.run(cmd.Context())
	m.clear()
	if err != nil {
		if m.sum.Done > 0 {
			err = fmt.Errorf("%w; %d were %s before, give the command again for the rest",
				err, m.sum.Done, o.done)
		}
		return err
	}
	p := s.printer(cmd)
	text := fmt.Sprintf("%s: %d of %d that match", o.done, m.sum.Done, m.sum.Matched)
	if m.sum.Unchanged > 0 {
		text += fmt.Sprintf("; %d were due then already", m.sum.Unchanged)
	}
	if m.sum.NotPending > 0 {
		text += fmt.Sprintf("; %d were no longer pending", m.sum.NotPending)
	}
	return p.sentence(m.sum, "%s", text)
}

// run goes from page to page.
func (m *manyOrder) run(ctx context.Context) error {
	m.body["limit"] = manyPage
	for {
		var a httpapi.ManyAnswer
		err := m.client.ask(ctx, "POST", m.path, m.body, &a)
		var p *httpapi.Problem
		if errors.As(err, &p) && p.Progress != nil {
			m.sum.add(*p.Progress)
		}
		if err != nil && ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if err != nil {
			return err
		}
		m.sum.add(a)
		if m.bar != nil {
			_ = m.bar.Add(a.Matched) // a bar that cannot be drawn is no reason to stop
		}
		if a.NextCursor == "" {
			return nil
		}
		m.body["cursor"] = a.NextCursor
		if _, ok := m.body["in"]; ok {
			// The time that the first page was moved to, or each page would have another one.
			delete(m.body, "in")
			m.body["due"] = a.DueMs
		}
	}
}

// begin draws the bar. Its length is known when whole partitions are selected; otherwise it only
// moves.
func (m *manyOrder) begin(ctx context.Context, what string, selected map[string]any) {
	if m.screen == nil {
		return
	}
	m.bar = progressbar.NewOptions64(m.total(ctx, selected),
		progressbar.OptionSetWriter(m.screen), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

// unknownTotal makes a bar that only moves.
const unknownTotal = -1

func (m *manyOrder) total(ctx context.Context, selected map[string]any) int64 {
	for name := range selected {
		if name != "topic" && name != "partition" {
			return unknownTotal
		}
	}
	var c httpapi.Counts
	path := query("/v1/schedules/count", map[string]any{"topic": selected["topic"]})
	if m.client.ask(ctx, "GET", path, nil, &c) != nil || c.More {
		return unknownTotal // the order itself will say what is wrong
	}
	total := int64(0)
	for _, one := range c.Partitions {
		if p, ok := selected["partition"]; !ok || p == one.Partition {
			total += one.Pending
		}
	}
	return total
}

// clear takes the bar off the screen.
func (m *manyOrder) clear() {
	if m.bar != nil {
		_ = m.bar.Clear() // as above
	}
}
