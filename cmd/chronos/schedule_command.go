package main

import (
	"encoding/base64"
	"os"
	"os/signal"
	"syscall"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chronosdb/chronosdb/timer/clock"
)

const scheduleHelp = `See what is scheduled on a running server, and steer it.

put sends a record through Kafka (--kafka); all others ask the server's HTTP API (--http), which
takes orders from its own machine only, unless it was started with --http-allow-remote-writes.

A pending record is named by topic, partition and position, as list shows them. cancel, move and now
also take a whole selection: --topic, narrowed by --partition, --key, --id, --due-from and --due-to.
Every order may be repeated: what is no longer pending is left alone.`

// newSchedule builds the commands that see and steer what is scheduled.
func newSchedule(c clock.Clock) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "See and steer what is scheduled: put, list, get, count, cancel, move, now, pause, resume",
		Long:  scheduleHelp,
		Args:  cobra.ArbitraryArgs, // an unknown command is answered below, in one line
		RunE:  helpOrNearest,
	}
	s := &scheduleCommand{clock: c, httpAddr: defaultConfig().HTTPAddr, output: "text"}
	cmd.AddCommand(s.newPut(), s.newList(), s.newGet(), s.newCount(), s.newCancel(), s.newMove(),
		s.newNow(), s.newPause(), s.newResume())
	return cmd
}

// scheduleCommand is what the commands share. One of them runs, once.
type scheduleCommand struct {
	clock    clock.Clock // to say how far away a time is
	httpAddr string
	output   outputFormat
}

// newOrder builds one of the commands, which ends at a signal.
func (s *scheduleCommand) newCommand(cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		cmd.SetContext(ctx)
		return run(cmd, args)
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().VarP(&s.output, "output", "o", "format of the output")
	return cmd
}

// newAsking builds one of the commands that ask the HTTP API.
func (s *scheduleCommand) newAsking(cmd *cobra.Command) *cobra.Command {
	s.newCommand(cmd).Flags().Var(address(&s.httpAddr), "http", "the server's --http-addr")
	return cmd
}

func (s *scheduleCommand) printer(cmd *cobra.Command) *schedulePrinter {
	return &schedulePrinter{
		out: cmd.OutOrStdout(), json: s.output == "json", now: clock.ToMs(s.clock.Now()),
	}
}

// selection is a set of pending records, as flags say it.
type selection struct {
	topic, key, id, dueFrom, dueTo string
	partition                      int32
	flags                          *pflag.FlagSet
}

// partitionAny is the default of --partition, which no partition has.
const partitionAny = -1

func (f *selection) register(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.topic, "topic", "", "of this topic")
	flags.Int32Var(&f.partition, "partition", partitionAny, "of this partition of the topic")
	flags.StringVar(&f.key, "key", "", "with this key")
	flags.StringVar(&f.id, "id", "", "with this id")
	flags.StringVar(&f.dueFrom, "due-from", "", "due then or later: RFC 3339 or Unix milliseconds")
	flags.StringVar(&f.dueTo, "due-to", "", "due earlier than that")
	flags.Lookup("partition").DefValue = "0" // which --help takes for none; -1 is not for a person
}

// chosen returns what was set, by the names of the API. --key "" is a key, and bytes that are not
// UTF-8 go in base64.
func (f *selection) chosen() map[string]any {
	all := map[string]any{}
	for flag, value := range map[string]any{
		"topic": f.topic, "partition": f.partition, "key": f.key, "id": f.id,
		"due-from": f.dueFrom, "due-to": f.dueTo,
	} {
		if !f.flags.Changed(flag) {
			continue
		}
		name := apiName(flag)
		if text, ok := value.(string); ok && !utf8.ValidString(text) {
			name, value = name+"_base64", base64.StdEncoding.EncodeToString([]byte(text))
		}
		all[name] = value
	}
	return all
}
