package main

import (
	"github.com/spf13/cobra"

	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	rootShort = "A log server that speaks the Kafka protocol and delivers records when they are due"
	rootHelp  = rootShort + `.

Start it with "chronos serve", point any Kafka client at 127.0.0.1:9092, and give a record the
header chronos-schedule-delay=10s: consumers see it ten seconds later, not before.`
)

// newRoot builds the command tree. Errors come back from Execute as one line each; main prints
// them.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "chronos",
		Short:         rootShort,
		Long:          rootHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs, // an unknown command is answered below, in one line
	}
	root.RunE = helpOrNearest
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return flagError(cmd.Flags(), err)
	})
	root.AddCommand(newServe(), newSchedule(clock.Real()), newLog(), newVersion())
	root.InitDefaultCompletionCmd("serve")
	return root
}

// helpOrNearest runs a command that only holds others: alone it prints its help, and behind an
// unknown name it says which known one is nearest.
func helpOrNearest(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return usagef("unknown command %q; did you mean %q?",
		args[0], nearest(args[0], commandNames(cmd)))
}

func commandNames(of *cobra.Command) []string {
	var names []string
	for _, command := range of.Commands() {
		names = append(names, command.Name())
	}
	return names
}

// noArguments refuses words after a command that takes none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("%s takes no argument %q; flags begin with --, see --help",
		cmd.CommandPath(), args[0])
}
