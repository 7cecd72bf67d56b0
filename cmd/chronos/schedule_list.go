package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
)

const (
	// listDefault is how many records list shows unless it is told.
	listDefault = 100
	// pageMax is the most that the API gives at once.
	pageMax = 1000
)

func (s *scheduleCommand) newList() *cobra.Command {
	var f selection
	limit, cursor := listDefault, ""
	cmd := s.newAsking(&cobra.Command{
		Use:   "list",
		Short: "List what is pending",
		Example: "  chronos schedule list --topic orders --due-to 2026-12-24T18:00:00Z\n" +
			"  chronos schedule list --limit 100000 -o json | jq .position",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usagef("--limit is %d; want 1 or more", limit)
			}
			l := &lister{client: s.client(), printer: s.printer(cmd), chosen: f.chosen(), limit: limit}
			next, err := l.run(cmd.Context(), cursor)
			if err == nil && next != "" {
				fmt.Fprintf(cmd.ErrOrStderr(),
					"there are more: raise --limit, or go on with --cursor %s\n", next)
			}
			return err
		},
	})
	f.register(cmd.Flags())
	cmd.Flags().IntVar(&limit, "limit", limit, "most records to list")
	cmd.Flags().StringVar(&cursor, "cursor", "", "go on where a list ended")
	return cmd
}

// lister prints pages of what is pending.
type lister struct {
	client  *scheduleClient
	printer *schedulePrinter
	chosen  map[string]any
	limit   int // how many are left to print
}

var listTitles = []string{
	"TOPIC", "PARTITION", "POSITION", "DUE", "IN", "STATE", "ID", "KEY", "BYTES", "RECURS",
}

// run prints page by page and returns the cursor behind the last one, if there is more.
func (l *lister) run(ctx context.Context, cursor string) (next string, err error) {
	rows := [][]string{listTitles}
	for {
		l.chosen["limit"] = min(l.limit, pageMax)
		if cursor != "" {
			l.chosen["cursor"] = cursor
		}
		var page httpapi.Page
		if err := l.client.ask(ctx, "GET", query("/v1/schedules", l.chosen), nil, &page); err != nil {
			return "", err
		}
		l.limit -= len(page.Schedules)
		for _, one := range page.Schedules {
			if l.printer.json {
				if err := l.printer.object(one); err != nil {
					return "", err
				}
				continue
			}
			rows = append(rows, l.row(one))
		}
		cursor = page.NextCursor
		if cursor != "" && l.limit > 0 {
			continue
		}
		switch {
		case l.printer.json:
			return cursor, nil
		case len(rows) == 1:
			return cursor, l.printer.sentence(nil, "nothing is pending")
		default:
			return cursor, l.printer.table(rows)
		}
	}
}

func (l *lister) row(one httpapi.Schedule) []string {
	return []string{
		one.Topic, strconv.Itoa(int(one.Partition)), one.Position, moment(one.DueMs),
		l.printer.distance(one.DueMs), one.State, cell(one.ID, one.IDBase64),
		cell(one.Key, one.KeyBase64), strconv.Itoa(int(one.Bytes)), recurs(one.Recurrence),
	}
}

func (s *scheduleCommand) newGet() *cobra.Command {
	raw := false
	cmd := s.newAsking(&cobra.Command{
		Use:     "get TOPIC PARTITION POSITION",
		Short:   "Show one pending record with its payload",
		Example: "  chronos schedule get orders 0 3.1042.0",
		Args:    oneRecord,
		RunE: func(cmd *cobra.Command, args []string) error {
			var one httpapi.Schedule
			err := s.client().ask(cmd.Context(), "GET", schedulePath([3]string(args), ""), nil, &one)
			if err != nil {
				return err
			}
			p := s.printer(cmd)
			switch {
			case raw:
				return writeValue(cmd.OutOrStdout(), one)
			case p.json:
				return p.object(one)
			default:
				return p.record(one)
			}
		},
	})
	cmd.Flags().BoolVar(&raw, "raw", false, "print the value alone, byte by byte")
	return cmd
}

// oneRecord wants the name of a record.
func oneRecord(cmd *cobra.Command, args []string) error {
	if len(args) == 3 {
		return nil
	}
	return usagef("%s wants TOPIC PARTITION POSITION, such as: orders 0 3.1042.0", cmd.CommandPath())
}

func writeValue(out io.Writer, one httpapi.Schedule) error {
	value, err := httpapi.Octets{Text: one.Value, Base64: one.ValueBase64}.Bytes("value")
	if err != nil {
		return err
	}
	_, err = out.Write(value)
	return err
}

// record prints everything about one record.
func (p *schedulePrinter) record(one httpapi.Schedule) error {
	due, expires := "in "+p.distance(one.DueMs), ""
	if one.DueMs < p.now {
		due = overdue
	}
	if one.ExpireMs != 0 {
		expires = moment(one.ExpireMs)
	}
	rows := [][]string{
		{"topic", one.Topic},
		{"partition", strconv.Itoa(int(one.Partition))},
		{"position", one.Position},
		{"state", one.State},
		{"due", moment(one.DueMs) + ", " + due},
		{"recurs", recurs(one.Recurrence)},
		{"expires", expires},
		{"accepted", moment(one.AppendedMs)},
		{"created", moment(one.CreatedMs)},
		{"id", visible(one.ID, one.IDBase64)},
		{"key", visible(one.Key, one.KeyBase64)},
		{"bytes", strconv.Itoa(int(one.Bytes))},
	}
	shown := rows[:0]
	for _, row := range rows {
		if row[1] != "" {
			shown = append(shown, row)
		}
	}
	for _, h := range one.Headers {
		text := visible(&h.Name, nil) + "=" + visible(h.Value, h.ValueBase64)
		shown = append(shown, []string{"header", text})
	}
	if err := p.table(shown); err != nil {
		return err
	}
	switch {
	case one.ValueBase64 != nil:
		return p.sentence(nil, "value, in base64:\n%s", *one.ValueBase64)
	case one.Value != nil:
		return p.sentence(nil, "value:\n%s", safeLines(*one.Value))
	default:
		return p.sentence(nil, "value: null")
	}
}

func (s *scheduleCommand) newCount() *cobra.Command {
	topic, byDue := "", false
	cmd := s.newAsking(&cobra.Command{
		Use:     "count",
		Short:   "Count what is pending, by partition or by how soon it is due",
		Example: "  chronos schedule count\n  chronos schedule count --topic orders --by-due",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen := map[string]any{}
			if topic != "" {
				chosen["topic"] = topic
			}
			p := s.printer(cmd)
			if byDue {
				var h httpapi.Histogram
				path := query("/v1/schedules/histogram", chosen)
				if err := s.client().ask(cmd.Context(), "GET", path, nil, &h); err != nil {
					return err
				}
				return p.histogram(h)
			}
			var c httpapi.Counts
			path := query("/v1/schedules/count", chosen)
			if err := s.client().ask(cmd.Context(), "GET", path, nil, &c); err != nil {
				return err
			}
			return p.counts(c)
		},
	})
	cmd.Flags().StringVar(&topic, "topic", "", "of this topic")
	cmd.Flags().BoolVar(&byDue, "by-due", false, "by how soon it is due")
	return cmd
}
