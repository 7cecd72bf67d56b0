package clients

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// testMax bounds one test: each waits for events, and the bound only ends one that would hang.
const testMax = 60 * time.Second

// The names that producers send and that deliveries carry.
const (
	headerTs           = "chronos-schedule-ts"
	headerDelay        = "chronos-schedule-delay"
	headerScheduledFor = "chronos-scheduled-for"
	headerCreatedAt    = "chronos-created-at"
	headerPosition     = "chronos-position"
)

// codecNames are Kafka's codecs in the order of their numbers in a batch's attributes.
var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// message is a record to write, or one that was read.
type message struct {
	key, value string
	headers    [][2]string
	offset     int64
	timestamp  time.Time
	at         time.Time // when the consumer had it
}

// values returns the values of all headers of one name.
func (m message) values(name string) []string {
	var all []string
	for _, h := range m.headers {
		if h[0] == name {
			all = append(all, h[1])
		}
	}
	return all
}

// produceOptions say how to write.
type produceOptions struct {
	codec      string
	idempotent bool
}

// client is one client library. Its functions write and read partition 0 of a topic and fail the
// test on any error, a retry that the library reports included.
type client struct {
	name string
	// produce writes the messages in one batch where the library can, and returns the offsets that
	// it reports.
	produce func(t *testing.T, topic string, o produceOptions, messages []message) []int64
	// consume reads n messages from the start.
	consume func(t *testing.T, topic string, n int) []message
	// groupRead reads n messages as a member of a group named like the topic, commits, leaves.
	groupRead func(t *testing.T, topic string, n int) []message
	// idempotent says that the library has an idempotent producer.
	idempotent bool
	// scheduled are the offsets that it reports for three scheduled records of one batch. The
	// server answers -1 for the batch; most libraries count up from there.
	scheduled []int64
}

// libraries are all clients; each file adds its own.
func libraries() []client { return []client{saramaClient, kafkaGoClient, confluentClient} }

// each runs a test for every client, in parallel.
func each(t *testing.T, test func(t *testing.T, c client)) {
	t.Helper()
	for _, c := range libraries() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.produce == nil {
				missing(t, "%s is not built in: it needs CGO_ENABLED=1 and a C compiler", c.name)
			}
			test(t, c)
		})
	}
}

// TestCodecs writes with every codec, looks at the codec bits of the stored batches, reads back.
func TestCodecs(t *testing.T) {
	t.Parallel()
	const count = 20
	text := strings.Repeat("the same words again and again; ", 40)
	each(t, func(t *testing.T, c client) {
		for number, codec := range codecNames {
			t.Run(codec, func(t *testing.T) {
				t.Parallel()
				topic := createTopic(t)
				var sent []message
				for i := range count {
					sent = append(sent, message{
						key: strconv.Itoa(i), value: fmt.Sprintf("%d %s", i, text),
						headers: [][2]string{{"mine", "kept"}},
					})
				}
				offsets := c.produce(t, topic, produceOptions{codec: codec}, sent)
				for i, at := range offsets {
					if at != int64(i) {
						t.Fatalf("message %d is reported at offset %d", i, at)
					}
				}
				for _, b := range storedBatches(t, topic) {
					if int(b.Codec) != number {
						t.Errorf("batch at %d is stored with codec %d, want %d",
							b.FirstOffset, b.Codec, number)
					}
				}
				checkSame(t, c.consume(t, topic, count), sent)
			})
		}
	})
}

// TestIdempotent writes with the library's idempotent producer, where it has one.
func TestIdempotent(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c client) {
		if !c.idempotent {
			t.Logf("%s has no idempotent producer", c.name)
			return
		}
		topic := createTopic(t)
		sent := []message{{value: "a"}, {value: "b"}, {value: "c"}}
		c.produce(t, topic, produceOptions{codec: "none", idempotent: true}, sent)
		next := int32(0)
		for _, b := range storedBatches(t, topic) {
			if b.ProducerID < 0 || b.FirstSequence != next {
				t.Errorf("batch at %d has producer %d and sequence %d, want %d",
					b.FirstOffset, b.ProducerID, b.FirstSequence, next)
			}
			next += int32(len(b.Records))
		}
		checkSame(t, c.consume(t, topic, len(sent)), sent)
	})
}

// TestGroupResumes reads a part as one member, which commits and leaves, and the rest as the next.
func TestGroupResumes(t *testing.T) {
	t.Parallel()
	const count, first = 30, 11
	each(t, func(t *testing.T, c client) {
		topic := createTopic(t)
		var sent []message
		for i := range count {
			sent = append(sent, message{value: strconv.Itoa(i)})
		}
		c.produce(t, topic, produceOptions{codec: "none"}, sent)
		read := c.groupRead(t, topic, first)
		read = append(read, c.groupRead(t, topic, count-first)...)
		checkSame(t, read, sent)
	})
}

// TestSchedules writes three scheduled records, by both headers, and reads them when they are due.
func TestSchedules(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, c client) {
		topic := createTopic(t)
		before := time.Now()
		ts := before.Add(2 * time.Second).UnixMilli()
		own := [2]string{"mine", "kept"}
		sent := []message{
			{key: "k", value: "by ts", headers: [][2]string{
				{headerTs, strconv.FormatInt(ts, 10)}, own,
			}},
			{key: "k", value: "by delay", headers: [][2]string{own, {headerDelay, "2500ms"}}},
			{key: "k", value: "by time", headers: [][2]string{
				own, {headerTs, before.Add(5 * time.Second).UTC().Format(time.RFC3339Nano)},
			}},
		}
		offsets := c.produce(t, topic, produceOptions{codec: "none", idempotent: c.idempotent}, sent)
		t.Logf("%s reports the offsets %v for three scheduled records", c.name, offsets)
		if !slices.Equal(offsets, c.scheduled) {
			t.Errorf("reported offsets %v, want %v as the README says", offsets, c.scheduled)
		}
		if end := endOffset(t, topic); time.Now().UnixMilli() < ts && end != 0 {
			t.Errorf("the partition ends at %d before anything is due", end)
		}
		read := c.consume(t, topic, len(sent))
		for i := range sent {
			checkDelivered(t, read[i], sent[i])
		}
		if due := dueOf(t, read[0]); due != ts {
			t.Errorf("due %d, want %d", due, ts)
		}
		if end := endOffset(t, topic); end != int64(len(sent)) {
			t.Errorf("the partition ends at %d: the client wrote again what it was answered -1 for", end)
		}
	})
}

var positionForm = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

func checkDelivered(t *testing.T, got, sent message) {
	t.Helper()
	if got.key != sent.key || got.value != sent.value {
		t.Fatalf("delivered %q = %q, want %q = %q", got.key, got.value, sent.key, sent.value)
	}
	due := dueOf(t, got)
	if got.timestamp.UnixMilli() < due || got.at.UnixMilli() < due {
		t.Errorf("%q due %d, stamped %d, arrived %d: early",
			got.value, due, got.timestamp.UnixMilli(), got.at.UnixMilli())
	}
	if len(got.values(headerTs))+len(got.values(headerDelay)) != 0 {
		t.Errorf("%q still has its control header: %v", got.value, got.headers)
	}
	if mine := got.values("mine"); len(mine) != 1 || mine[0] != "kept" {
		t.Errorf("%q lost its own header: %v", got.value, got.headers)
	}
	if len(got.values(headerCreatedAt)) != 1 {
		t.Errorf("%q has no %s: %v", got.value, headerCreatedAt, got.headers)
	}
	if p := got.values(headerPosition); len(p) != 1 || !positionForm.MatchString(p[0]) {
		t.Errorf("%q has the position %q", got.value, p)
	}
}

func dueOf(t *testing.T, m message) int64 {
	t.Helper()
	values := m.values(headerScheduledFor)
	if len(values) != 1 {
		t.Fatalf("%q has the due times %q, want one", m.value, values)
	}
	due, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil {
		t.Fatalf("%q: %v", m.value, err)
	}
	return due
}

func checkSame(t *testing.T, read, sent []message) {
	t.Helper()
	if len(read) != len(sent) {
		t.Fatalf("read %d messages, want %d", len(read), len(sent))
	}
	for i, m := range read {
		if m.offset != int64(i) || m.key != sent[i].key || m.value != sent[i].value ||
			!slices.Equal(m.headers, sent[i].headers) {
			t.Fatalf("message %d is %.40q = %.40q at offset %d with %v",
				i, m.key, m.value, m.offset, m.headers)
		}
	}
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testMax)
	t.Cleanup(cancel)
	return ctx
}

// The rest sees the server through sarama, whichever client a test is about.

var unsafeTopicByte = regexp.MustCompile(`[^a-zA-Z0-9_-]`)

// createTopic creates the test's topic, with one partition.
func createTopic(t *testing.T, configs ...string) string {
	t.Helper()
	topic := unsafeTopicByte.ReplaceAllString(t.Name(), "-")
	admin, err := sarama.NewClusterAdmin([]string{serverAddr(t)}, saramaConfig())
	if err != nil {
		t.Fatalf("make an admin client: %v", err)
	}
	defer func() { _ = admin.Close() }() // nothing is buffered in it
	detail := &sarama.TopicDetail{
		NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{},
	}
	for i := 0; i+1 < len(configs); i += 2 {
		detail.ConfigEntries[configs[i]] = &configs[i+1]
	}
	if err := admin.CreateTopic(topic, detail, false); err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
	return topic
}

// endOffset returns the high watermark of partition 0.
func endOffset(t *testing.T, topic string) int64 {
	t.Helper()
	cl := saramaDial(t)
	end, err := cl.GetOffset(topic, 0, sarama.OffsetNewest)
	if err != nil {
		t.Fatalf("get the end of %s: %v", topic, err)
	}
	return end
}

// storedBatches fetches partition 0 from its start to its high watermark, batch by batch.
func storedBatches(t *testing.T, topic string) []*sarama.RecordBatch {
	t.Helper()
	broker, err := saramaDial(t).Leader(topic, 0)
	if err != nil {
		t.Fatalf("find the leader: %v", err)
	}
	end := endOffset(t, topic)
	var all []*sarama.RecordBatch
	for next := int64(0); next < end; {
		req := &sarama.FetchRequest{Version: 11, MaxWaitTime: 250, MinBytes: 1, MaxBytes: 64 << 20}
		req.AddBlock(topic, 0, next, 64<<20, -1)
		resp, err := broker.Fetch(req)
		if err != nil {
			t.Fatalf("fetch %s: %v", topic, err)
		}
		block := resp.GetBlock(topic, 0)
		if block == nil || block.Err != sarama.ErrNoError || len(block.RecordsSet) == 0 {
			t.Fatalf("fetch %s from %d of %d: %+v", topic, next, end, block)
		}
		for _, set := range block.RecordsSet {
			b := set.RecordBatch
			next = b.FirstOffset + int64(b.LastOffsetDelta) + 1
			all = append(all, b)
		}
	}
	return all
}
