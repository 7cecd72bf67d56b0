package main

import (
	"github.com/spf13/cobra"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
)

// scheduleOrder is one of the orders about pending records: to one by its name, or to a selection.
type scheduleOrder struct {
	use, short, example string

	method, path string // of the API, behind one record's path
	manyPath     string // of the API, for a selection
	done         string // what happened, for a person
	// body is what goes with the order, as of flags that register has made; nil: nothing.
	body     func() (map[string]any, error)
	register func(*cobra.Command)
}

func (s *scheduleCommand) newCancel() *cobra.Command {
	return s.newOrder(scheduleOrder{
		use: "cancel", short: "Cancel pending records: they are never delivered",
		example: "  chronos schedule cancel orders 0 3.1042.0\n" +
			"  chronos schedule cancel --topic orders --id reminder-7\n" +
			"  chronos schedule cancel --topic orders --due-from 2026-12-24T00:00:00Z --yes",
		method: "DELETE", manyPath: "/v1/schedules/cancel", done: "cancelled",
	})
}

func (s *scheduleCommand) newNow() *cobra.Command {
	return s.newOrder(scheduleOrder{
		use: "now", short: "Deliver pending records now",
		example: "  chronos schedule now orders 0 3.1042.0",
		method:  "POST", path: "/now", manyPath: "/v1/schedules/move", done: "made due now",
	})
}

func (s *scheduleCommand) newMove() *cobra.Command {
	var in, at string
	return s.newOrder(scheduleOrder{
		use: "move", short: "Make pending records due at another time",
		example: "  chronos schedule move orders 0 3.1042.0 --in 10m\n" +
			"  chronos schedule move --topic orders --key customer-7 --at 2026-12-24T18:00:00+01:00 --yes",
		method: "POST", path: "/move", manyPath: "/v1/schedules/move", done: "moved",
		register: func(cmd *cobra.Command) {
			cmd.Flags().StringVar(&in, "in", "", "so long from now: 90s, 1h30m, PT15M or milliseconds")
			cmd.Flags().StringVar(&at, "at", "", "at that time: RFC 3339 or Unix milliseconds")
		},
		body: func() (map[string]any, error) {
			switch {
			case (in == "") == (at == ""):
				return nil, usagef("move wants one of --in and --at")
			case in != "":
				return map[string]any{"in": in}, nil
			default:
				return map[string]any{"due": at}, nil
			}
		},
	})
}

func (s *scheduleCommand) newOrder(o scheduleOrder) *cobra.Command {
	var chosen selection
	yes := false
	cmd := s.newAsking(&cobra.Command{
		Use:     o.use + " (TOPIC PARTITION POSITION | --topic TOPIC ...)",
		Short:   o.short,
		Example: o.example,
		RunE: func(cmd *cobra.Command, args []string) error {
			var body map[string]any
			if o.body != nil {
				var err error
				if body, err = o.body(); err != nil {
					return err
				}
			}
			selected := chosen.chosen()
			if len(selected) == 0 {
				if err := oneRecord(cmd, args); err != nil {
					return usagef("%v; or a selection, which begins with --topic", err)
				}
				return s.orderOne(cmd, o, [3]string(args), body)
			}
			switch {
			case len(args) > 0:
				return usagef("give one record by its name or a selection by flags, not both")
			case chosen.topic == "":
				return usagef("say of which topic, with --topic")
			case chosen.id == "" && !yes:
				return usagef("that may be many records: add --yes, or see them first with " +
					"chronos schedule list")
			}
			return s.orderMany(cmd, o, selected, body)
		},
	})
	if o.register != nil {
		o.register(cmd)
	}
	chosen.register(cmd.Flags())
	cmd.Flags().BoolVar(&yes, "yes", false, "carry it out for a selection of any size")
	return cmd
}

// orderOne carries an order out for one record.
func (s *scheduleCommand) orderOne(
	cmd *cobra.Command, o scheduleOrder, name [3]string, body map[string]any,
) error {
	var answer httpapi.OrderAnswer
	var sent any
	if body != nil {
		sent = body
	}
	err := s.client().ask(cmd.Context(), o.method, schedulePath(name, o.path), sent, &answer)
	if err != nil {
		return err
	}
	p := s.printer(cmd)
	switch {
	case !answer.Done:
		return p.sentence(answer, "nothing was done: %s", answer.Reason)
	case answer.DueMs != 0:
		return p.sentence(answer, "%s: due %s", o.done, moment(answer.DueMs))
	default:
		return p.sentence(answer, "%s", o.done)
	}
}

func (s *scheduleCommand) newPause() *cobra.Command {
	return s.newTopicOrder("pause", "Hold the deliveries of a topic back until it is resumed",
		"deliveries of %s are paused: what falls due waits for resume")
}

func (s *scheduleCommand) newResume() *cobra.Command {
	return s.newTopicOrder("resume", "Deliver again what was paused",
		"deliveries of %s go on; what is overdue comes at once")
}

func (s *scheduleCommand) newTopicOrder(verb, short, done string) *cobra.Command {
	return s.newAsking(&cobra.Command{
		Use:     verb + " TOPIC",
		Short:   short,
		Example: "  chronos schedule " + verb + " orders",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s wants one TOPIC", cmd.CommandPath())
			}
			var answer httpapi.TopicAnswer
			err := s.client().ask(cmd.Context(), "POST", topicPath(args[0], verb), nil, &answer)
			if err != nil {
				return err
			}
			return s.printer(cmd).sentence(answer, done, answer.Topic)
		},
	})
}
