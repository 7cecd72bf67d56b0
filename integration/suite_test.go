package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// Bounds of one test's waiting, and the pace of its clients' retries. Tests wait for events; the
// bounds only end a test that would hang.
const (
	testMax     = 60 * time.Second
	clientRetry = 20 * time.Millisecond
	fetchWaitMs = 250

	parallelTests = 8
)

// The names that producers send and that deliveries carry.
const (
	headerTs           = "chronos-schedule-ts"
	headerDelay        = "chronos-schedule-delay"
	headerScheduledFor = "chronos-scheduled-for"
	headerCreatedAt    = "chronos-created-at"
	headerPosition     = "chronos-position"
)

// codecs are the five codecs of Kafka, by the names that kcat uses.
var codecs = []struct {
	name string
	code kgo.CompressionCodecType
	kgo  kgo.CompressionCodec
}{
	{"none", kgo.CodecNone, kgo.NoCompression()},
	{"gzip", kgo.CodecGzip, kgo.GzipCompression()},
	{"snappy", kgo.CodecSnappy, kgo.SnappyCompression()},
	{"lz4", kgo.CodecLz4, kgo.Lz4Compression()},
	{"zstd", kgo.CodecZstd, kgo.ZstdCompression()},
}

// shared is the server of all tests that neither kill it nor count its totals. It starts at the
// first use, so that a run of checks without a server needs no binary.
var shared struct {
	sync.Mutex
	process *harness.Process
	addr    string
	dir     string
	err     error
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Most tests wait for a due time or a rebalance, not for a CPU, so more of them run at once than
	// there are CPUs, unless the command line says otherwise.
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", strconv.Itoa(parallelTests)) // a number, so it is taken
	}
	code := m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintf(os.Stderr, "stop the shared server: %v\n", err)
		code = max(code, 1)
	}
	if err := harness.RemoveBinary(); err != nil {
		fmt.Fprintf(os.Stderr, "remove the built binary: %v\n", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// sharedAddr returns the Kafka address of the shared server, starting it where needed.
func sharedAddr(t *testing.T) string {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.process == nil && shared.err == nil {
		shared.err = startSharedLocked()
	}
	if shared.err != nil {
		t.Fatalf("start the shared server: %v", shared.err)
	}
	select {
	case <-shared.process.Exited():
		t.Fatalf("the shared server exited\n%s", shared.process.Logs())
	default:
	}
	return shared.addr
}

func startSharedLocked() error {
	dir, err := os.MkdirTemp("", "chronos-integration-")
	if err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	shared.dir = dir
	launch, addr, err := harness.ServeLaunch(dir)
	if err != nil {
		return err
	}
	shared.process, err = launch.Start()
	shared.addr = addr
	return err
}

// stopShared ends the shared server as an operator would: it must exit with code 0 even after
// everything that the tests did to it.
func stopShared() error {
	shared.Lock()
	defer shared.Unlock()
	var err error
	if shared.process != nil {
		err = shared.process.Stop()
		shared.process = nil
	}
	if shared.dir != "" {
		err = errors.Join(err, os.RemoveAll(shared.dir))
	}
	return err
}

// testContext ends with the test, or after testMax.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testMax)
	t.Cleanup(cancel)
	return ctx
}

// newClient returns a kgo client that retries quickly, so that a restarted server is met at once.
func newClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	all := []kgo.Opt{
		kgo.SeedBrokers(addr),
		kgo.MetadataMinAge(clientRetry),
		kgo.RetryBackoffFn(func(int) time.Duration { return clientRetry }),
		kgo.FetchMaxWait(fetchWaitMs * time.Millisecond),
		kgo.UnknownTopicRetries(-1),
	}
	cl, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		t.Fatalf("make a client: %v", err)
	}
	t.Cleanup(cl.Close)
	return cl
}

var unsafeTopicByte = regexp.MustCompile(`[^a-zA-Z0-9_-]`)

// topicName returns a topic name of this test alone.
func topicName(t *testing.T) string {
	return unsafeTopicByte.ReplaceAllString(t.Name(), "-")
}

// createTopic creates the test's topic with configs given as name, value, name, value.
func createTopic(t *testing.T, addr string, partitions int32, configs ...string) string {
	t.Helper()
	topic := topicName(t)
	createNamedTopic(t, addr, topic, partitions, configs...)
	return topic
}

func createNamedTopic(
	t *testing.T, addr, topic string, partitions int32, configs ...string,
) {
	t.Helper()
	set := map[string]*string{}
	for i := 0; i+1 < len(configs); i += 2 {
		set[configs[i]] = &configs[i+1]
	}
	admin := kadm.NewClient(newClient(t, addr))
	_, err := admin.CreateTopic(testContext(t), partitions, 1, set, topic)
	if err != nil {
		t.Fatalf("create topic %s: %v", topic, err)
	}
}

// dial opens a raw connection that closes with the test.
func dial(t *testing.T, addr string) *harness.Conn {
	t.Helper()
	c, err := harness.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// encode returns the bytes of a batch.
func encode(t *testing.T, b harness.Batch) []byte {
	t.Helper()
	raw, err := b.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// produceVersion is the newest version of Produce that names topics, with record errors.
const produceVersion = 9

// produceRequest returns a request with one batch for partition 0.
func produceRequest(topic string, raw []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(produceVersion)
	req.Acks = -1
	req.TimeoutMillis = int32(testMax.Milliseconds())
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = raw
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// produceRaw sends one batch to partition 0 and returns the partition's answer.
func produceRaw(
	t *testing.T, c *harness.Conn, topic string, raw []byte,
) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	return produceDo(t, c, produceRequest(topic, raw))
}

func produceDo(
	t *testing.T, c *harness.Conn, req *kmsg.ProduceRequest,
) kmsg.ProduceResponseTopicPartition {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	topics := resp.(*kmsg.ProduceResponse).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		t.Fatalf("answer for %d topics, want one partition of one topic", len(topics))
	}
	return topics[0].Partitions[0]
}

// mustProduceRaw sends one batch to partition 0, which must be accepted, and returns its offset.
func mustProduceRaw(t *testing.T, c *harness.Conn, topic string, raw []byte) int64 {
	t.Helper()
	p := produceRaw(t, c, topic, raw)
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		t.Fatalf("produce: %v, message %s, record errors %s",
			err, text(p.ErrorMessage), recordErrors(p))
	}
	return p.BaseOffset
}

func text(s *string) string {
	if s == nil {
		return "null"
	}
	return fmt.Sprintf("%q", *s)
}

func recordErrors(p kmsg.ProduceResponseTopicPartition) string {
	var all []string
	for _, e := range p.ErrorRecords {
		all = append(all, fmt.Sprintf("%d: %s", e.RelativeOffset, text(e.ErrorMessage)))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// initProducer returns a producer id and epoch.
func initProducer(t *testing.T, c *harness.Conn) (int64, int16) {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(4)
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	r := resp.(*kmsg.InitProducerIDResponse)
	if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
		t.Fatalf("init producer id: %v", err)
	}
	return r.ProducerID, r.ProducerEpoch
}
