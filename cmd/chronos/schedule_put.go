package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/chronosdb/chronosdb/log/batch"
)

const (
	// valueBytesMax bounds what put reads for a value: no server takes a larger request.
	valueBytesMax = requestBytesMax
	// putMax is how long put tries to reach the server.
	putMax = 30 * time.Second
)

const putHelp = `Send one record that is to be delivered later, through Kafka.

When: --in, --at, --cron or --every, of which --every may come with the first time. The server
judges the values, and what it refuses is not kept. The value is that of --value, or else what
comes in on standard input.

A record with an --id takes the place of the pending one of that id in its partition, which follows
from the key, so use the same key for both.`

// putHeaders are the flags of put that are control headers, in the order of --help.
var putHeaders = []struct{ flag, header, usage string }{
	{"in", batch.HeaderScheduleDelay, "so long from now: 90s, 1h30m, PT15M or milliseconds"},
	{"at", batch.HeaderScheduleTs, "at that time: RFC 3339 with a zone or Unix milliseconds"},
	{"cron", batch.HeaderScheduleCron, "again and again: a cron expression of 5 or 6 fields"},
	{"tz", batch.HeaderScheduleTz, "zone of --cron, such as Europe/Berlin (default: UTC)"},
	{"every", batch.HeaderScheduleEvery, "again and again, so far apart: a duration as in --in"},
	{"count", batch.HeaderScheduleCount, "most deliveries of a recurring record"},
	{"until", batch.HeaderScheduleUntil, "no delivery of a recurring record after that time"},
	{"id", batch.HeaderScheduleID, "name by which it can be replaced and cancelled"},
	{"expire", batch.HeaderScheduleExpireTs, "drop it if it cannot be delivered by that time"},
	{"message-id", batch.HeaderMessageID, "name by which a repetition of this command is known"},
}

func (s *scheduleCommand) newPut() *cobra.Command {
	var p put
	cmd := s.newCommand(&cobra.Command{
		Use:   "put",
		Short: "Schedule a record, through Kafka",
		Long:  putHelp,
		Example: "  chronos schedule put --topic orders --key customer-7 --value hello --in 10m\n" +
			"  chronos schedule put --topic orders --at 2026-12-24T18:00:00+01:00 < letter.json\n" +
			"  chronos schedule put --topic reports --id daily --value go --cron '30 9 * * MON-FRI' " +
			"--tz Europe/Berlin",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := p.message(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), putMax)
			defer cancel()
			m.created = s.printer(cmd).now
			answer, err := produce(ctx, p.kafkaAddr, m)
			if err != nil {
				return err
			}
			return s.printer(cmd).sentence(answer, "accepted in %s-%d", answer.Topic, answer.Partition)
		},
	})
	p.register(cmd.Flags())
	return cmd
}

// put is what the flags of the command say.
type put struct {
	kafkaAddr, topic, key, value string
	partition                    int32
	headers                      []string // name=value, of the record itself
}

func (p *put) register(flags *pflag.FlagSet) {
	p.kafkaAddr = defaultConfig().KafkaAddr
	flags.Var(address(&p.kafkaAddr), "kafka", "the server's --kafka-addr")
	flags.StringVar(&p.topic, "topic", "", "the topic")
	flags.StringVar(&p.key, "key", "", "the key (default: none)")
	flags.StringVar(&p.value, "value", "", "the value (default: what is on standard input)")
	for _, h := range putHeaders {
		flags.String(h.flag, "", h.usage)
	}
	flags.Int32Var(&p.partition, "partition", partitionAny,
		"the partition (default: follows from the key, as in any Kafka client)")
	flags.Lookup("partition").DefValue = "0" // as in selection
	flags.StringArrayVar(&p.headers, "header", nil,
		"a header name=value of the record; may be repeated")
}

// message is one record and where it goes.
type message struct {
	topic     string
	partition int32 // partitionAny: follows from the key
	record    batch.RecordFields
	created   batch.UnixMs
}

// message puts the record together.
func (p *put) message(cmd *cobra.Command) (message, error) {
	m := message{topic: p.topic, partition: p.partition}
	flags := cmd.Flags()
	switch {
	case p.topic == "":
		return m, usagef("say where to, with --topic")
	case flags.Changed("partition") && p.partition < 0:
		return m, usagef("--partition is %d; partitions count from 0", p.partition)
	case !slices.ContainsFunc([]string{"in", "at", "cron", "every"}, flags.Changed):
		return m, usagef("say when, with --in, --at, --cron or --every")
	}
	if flags.Changed("key") {
		m.record.Key = []byte(p.key)
	}
	for _, h := range p.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return m, usagef("--header %q: want name=value", h)
		}
		if batch.IsControlHeader([]byte(name)) {
			return m, usagef("--header %s: there is a flag for it, see --help", name)
		}
		m.record.Headers = append(m.record.Headers, batch.Header{Key: name, Value: []byte(value)})
	}
	for _, h := range putHeaders {
		if flags.Changed(h.flag) {
			m.record.Headers = append(m.record.Headers, batch.Header{
				Key: h.header, Value: []byte(flags.Lookup(h.flag).Value.String()),
			})
		}
	}
	if flags.Changed("value") {
		m.record.Value = []byte(p.value)
		return m, nil
	}
	var err error
	m.record.Value, err = readValue(cmd.InOrStdin(), cmd.ErrOrStderr())
	return m, err
}

func readValue(in io.Reader, screen io.Writer) ([]byte, error) {
	if f, ok := in.(*os.File); ok && isTerminal(f) {
		fmt.Fprintln(screen, "type the value, and end it with Ctrl-D on a line of its own")
	}
	value, err := io.ReadAll(io.LimitReader(in, valueBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	if len(value) > valueBytesMax {
		return nil, fmt.Errorf("the value is larger than %s, which no request may be",
			formatSize(valueBytesMax))
	}
	return value, nil
}
