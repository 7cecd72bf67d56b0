package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi/apitest"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

var updateGolden = flag.Bool("golden.update", false, "write the golden files anew; then read what changed")

// story runs commands against an API over schedules in memory and keeps what a person would see.
type story struct {
	t         *testing.T
	clock     clock.Clock
	schedules *apitest.Schedules
	addr      string
	text      bytes.Buffer
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{
		t: t, clock: clock.NewManual(time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)),
	}
	s.schedules = apitest.New(s.clock, "orders", "parcels")
	api := httpapi.New(httpapi.Options{Clock: s.clock, Logger: zap.NewNop()})
	api.Open(s.schedules)
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	s.addr = strings.TrimPrefix(server.URL, "http://")
	return s
}

// due is a time so far from the story's beginning.
func (s *story) due(d time.Duration) timer.UnixMs { return clock.ToMs(s.clock.Now()).Add(d) }

// run runs one command line of the form "chronos schedule <line>".
func (s *story) run(line ...string) error {
	s.t.Helper()
	root := newSchedule(s.clock)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetFlagErrorFunc(newRoot().FlagErrorFunc())
	args := line
	if len(line) > 0 && slices.Contains(commandNames(root), line[0]) && line[0] != "put" {
		args = append([]string{line[0], "--http", s.addr}, line[1:]...)
	}
	root.SetArgs(args)
	root.SetOut(&s.text)
	root.SetErr(&s.text)
	shown := make([]string, 0, len(line))
	for _, word := range line {
		if word == "" || !utf8.ValidString(word) {
			word = strconv.QuoteToASCII(word) // golden files are text
		}
		shown = append(shown, word)
	}
	fmt.Fprintf(&s.text, "$ chronos schedule %s\n", strings.Join(shown, " "))
	err := root.ExecuteContext(s.t.Context())
	if err != nil {
		fmt.Fprintf(&s.text, "chronos: %s\n", oneLine(err))
	}
	fmt.Fprintln(&s.text)
	return err
}

// golden compares what was seen with a file of testdata.
func (s *story) golden(name string) {
	s.t.Helper()
	path := filepath.Join("testdata", name)
	if *updateGolden {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(path, s.text.Bytes(), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := s.text.String(); got != string(want) {
		s.t.Errorf("%s is not what was seen; write it anew with -golden.update and read the change:\n%s", path, got)
	}
}

// fill makes records pending that have everything a table can show.
func (s *story) fill() {
	long := strings.Repeat("long", 20)
	for i, r := range []replication.PendingRecord{
		{Due: s.due(-time.Second), Key: []byte("late")},
		{Due: s.due(250 * time.Millisecond), State: "delivering"},
		{Due: s.due(59*time.Second + 999*time.Millisecond), ID: "reminder-7", Key: []byte("customer-7")},
		{Due: s.due(time.Hour), Key: []byte{}, Every: 90 * time.Minute, Count: 3},
		{Due: s.due(90 * time.Minute), Key: []byte{0xff, 0}, ID: "\xfe"},
		{Due: s.due(50 * time.Hour), Key: []byte("\x1b[31mred\n"), Expire: s.due(51 * time.Hour)},
		{
			Due: s.due(24 * 365 * time.Hour), Key: []byte(long), ID: long,
			Cron: "30 9 * * MON-FRI", Tz: "Europe/Berlin", Until: s.due(24 * 400 * time.Hour),
		},
	} {
		r.Topic, r.Position = "orders", timer.Position{Epoch: 3, Offset: batch.Offset(1040 + i)}
		r.Appended, r.Created = s.due(-time.Hour), s.due(-time.Hour)-23
		if r.State == "" {
			r.State = "pending"
		}
		r.Value = []byte("the parcel\nis \x1b[31mlate")
		r.Headers = []batch.Header{{Key: "trace", Value: []byte("4bf9")}, {Key: "raw", Value: []byte{0xff}}}
		r.Bytes = int32(len(r.Key) + len(r.Value))
		s.schedules.Add(r)
	}
	s.schedules.Add(replication.PendingRecord{
		Topic: "parcels", Position: timer.Position{Epoch: 1, Offset: 7, Occurrence: 2}, State: "pending",
		Due: s.due(10 * time.Minute), Appended: s.due(0), Created: s.due(0),
		Value: []byte{0xff, 0xfe}, Bytes: 2,
	})
}

func TestScheduleSeen(t *testing.T) {
	s := newStory(t)
	for _, line := range []string{
		"list", "count", "count -o json",
	} {
		_ = s.run(strings.Fields(line)...)
	}
	s.fill()
	for _, line := range []string{
		"list",
		"list --topic parcels -o json",
		"list --topic orders --key customer-7",
		"list --id reminder-7 --due-to 2026-11-24T18:01:00+01:00",
		"list --limit 3",
		"list --limit 2 --cursor orders/1795539659999/3.1042.0",
		"get orders 0 3.1042.0",
		"get orders 0 3.1046.0",
		"get parcels 0 1.7.2",
		"get parcels 0 1.7.2 -o json",
		"count", "count --topic parcels", "count --by-due", "count --by-due --topic orders -o json",
	} {
		if err := s.run(strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, key := range []string{"", "\xff\x00"} {
		if err := s.run("list", "--key", key); err != nil {
			t.Error(err)
		}
	}
	s.golden("schedule_seen.txt")
}

func TestScheduleSteered(t *testing.T) {
	s := newStory(t)
	s.fill()
	for _, line := range []string{
		"cancel orders 0 3.1040.0",
		"cancel orders 0 3.1040.0",
		"move orders 0 3.1042.0 --in 1h30m",
		"move orders 0 3.1042.0 --at 2026-12-24T18:00:00+01:00 -o json",
		"now orders 0 3.1041.0",
		"now orders 0 3.1041.0 -o json",
		"pause orders",
		"count",
		"resume orders",
		"cancel --topic orders --id reminder-7",
		"cancel --topic orders --id reminder-7",
		"move --topic orders --due-to 2026-11-25T00:00:00Z --in 10m --yes",
		"move --topic orders --at 1795540200000 --yes -o json",
		"now --topic parcels --yes",
		"cancel --topic orders --yes --key \xff\x00",
		"cancel --topic orders --yes",
		"list",
	} {
		if err := s.run(strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	s.golden("schedule_steered.txt")
}

// TestScheduleMistakes: each is refused in one line, and nothing is changed.
func TestScheduleMistakes(t *testing.T) {
	s := newStory(t)
	s.fill()
	before := fmt.Sprint(s.schedules.Pending())
	for _, line := range []string{
		"lst",
		"list orders",
		"list --limit 0",
		"list --due-from tomorrow",
		"list --partition 0",
		"list --topc orders",
		"list -o yaml",
		"get orders 0",
		"get orders zero 3.1042.0",
		"get orders 0 1042",
		"get orders 0 9.9.9",
		"get nowhere 0 9.9.9",
		"get ../count 0 9.9.9",
		"cancel",
		"cancel orders",
		"cancel --topic orders",
		"cancel --key customer-7 --yes",
		"cancel orders 0 3.1042.0 --topic orders",
		"cancel --topic nowhere --yes",
		"move orders 0 3.1042.0",
		"move orders 0 3.1042.0 --in 1h --at 2026-12-24T18:00:00Z",
		"move orders 0 3.1042.0 --in soon",
		"move --topic orders --in soon --yes",
		"pause",
		"pause nowhere",
		"resume a b",
		"put --in 1h",
		"put --topic orders",
		"put --topic orders --in 1h --partition -2",
		"put --topic orders --in 1h --header novalue",
		"put --topic orders --in 1h --header chronos-schedule-ts=1",
	} {
		if err := s.run(strings.Fields(line)...); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
	if after := fmt.Sprint(s.schedules.Pending()); after != before {
		t.Errorf("something has changed:\n%s\n%s", before, after)
	}
	s.golden("schedule_mistakes.txt")
}

// TestScheduleManyGoesOn: a selection of more than one page, of which a part is refused, is carried
// out by giving the command again.
func TestScheduleManyGoesOn(t *testing.T) {
	s := newStory(t)
	const records = 1234
	for i := range records {
		s.schedules.Add(replication.PendingRecord{
			Topic: "orders", Position: timer.Position{Epoch: 1, Offset: batch.Offset(i)}, State: "pending",
			Due: s.due(time.Duration(i) * time.Second),
		})
	}
	s.schedules.FailAfter(700, fmt.Errorf("%w: no space", replication.ErrStorage))
	err := s.run("cancel", "--topic", "orders", "--yes")
	var p *httpapi.Problem
	if !errors.As(err, &p) || !strings.Contains(err.Error(), "700 were cancelled before") {
		t.Errorf("%v", err)
	}
	s.schedules.FailAfter(0, nil)
	if err := s.run("cancel", "--topic", "orders", "--yes"); err != nil || len(s.schedules.Pending()) != 0 {
		t.Errorf("%v; %d left", err, len(s.schedules.Pending()))
	}
	if text := s.text.String(); !strings.Contains(text, "cancelled: 534 of 534 that match") {
		t.Error(text)
	}
}

// TestScheduleElsewhere: what is no server of ours is told from one.
func TestScheduleElsewhere(t *testing.T) {
	s := newStory(t)
	other := httptest.NewServer(nil) // answers 404 in plain text
	s.addr = strings.TrimPrefix(other.URL, "http://")
	if err := s.run("list"); err == nil || !strings.Contains(err.Error(), "404") ||
		!strings.Contains(err.Error(), "--http-addr") {
		t.Error(err)
	}
	other.Close()
	if err := s.run("list"); err == nil || !strings.Contains(err.Error(), "refused; is a server there?") {
		t.Error(err)
	}
}

// TestScheduleRaw: the value comes out byte by byte.
func TestScheduleRaw(t *testing.T) {
	s := newStory(t)
	s.fill()
	if err := s.run("get", "parcels", "0", "1.7.2", "--raw"); err != nil ||
		!strings.HasSuffix(s.text.String(), "--raw\n\xff\xfe\n") {
		t.Errorf("%v %q", err, s.text.String())
	}
}

// changingMs are the times in a server's sentence that are those of the test.
var changingMs = regexp.MustCompile(`(asks for |from now \()\d+`)

// TestSchedulePut sends records to a real server: what they are to a consumer is in the golden file,
// and so is what a server says that refuses one.
func TestSchedulePut(t *testing.T) {
	r := start(t, t.TempDir(), "--num-partitions", "3")
	s := newStory(t)
	s.clock = clock.Real() // it stamps the records, and the server compares with its own
	put := func(line ...string) error {
		return s.run(append(append([]string{"put"}, line...), "--kafka", r.kafka)...)
	}
	for _, line := range [][]string{
		{"--topic", "orders", "--key", "customer-7", "--value", "a b", "--in", "50ms", "--header", "trace=4b=f9"},
		{"--topic", "orders", "--partition", "1", "--value", "", "--at", "2001-02-03T04:05:06Z", "-o", "json"},
	} {
		if err := put(line...); err != nil {
			t.Errorf("%v: %v", line, err)
		}
	}
	for _, line := range [][]string{
		{"--topic", "orders", "--value", "x", "--in", "soon"},
		{"--topic", "orders", "--value", "x", "--at", "1767225600"},
		{"--topic", "orders", "--value", "x", "--in", "1h", "--at", "2030-01-01T00:00:00Z"},
		{"--topic", "orders", "--value", "x", "--in", "999999h"},
		{"--topic", "orders", "--value", "x", "--in", "1h", "--partition", "3"},
		{"--topic", "or/ders", "--value", "x", "--in", "1h"},
	} {
		if err := put(line...); err == nil {
			t.Errorf("%v: accepted", line)
		}
	}
	text := strings.ReplaceAll(s.text.String(), r.kafka, "ADDRESS")
	text = changingMs.ReplaceAllString(text, "${1}MS")
	s.text.Reset()
	s.text.WriteString(text)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.kafka), kgo.ConsumeTopics("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	var seen []string
	for len(seen) < 2 {
		fetches := client.PollFetches(t.Context())
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			seen = append(seen, fmt.Sprintf("partition %d, key %q, null %v, value %q, header %s=%s\n",
				r.Partition, r.Key, r.Key == nil, r.Value, r.Headers[0].Key, r.Headers[0].Value))
		})
	}
	slices.Sort(seen)
	s.text.WriteString(strings.Join(seen, ""))
	s.golden("schedule_put.txt")
	if err := s.run("put", "--topic", "orders", "--value", "x", "--in", "1h", "--kafka", "127.0.0.1:1"); err == nil ||
		!strings.Contains(err.Error(), "is a server there?") {
		t.Error(err)
	}
}
