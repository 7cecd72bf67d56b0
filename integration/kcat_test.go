package integration

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// TestKcatLists shows brokers, topics and partitions.
func TestKcatLists(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 3)
	out := harness.Kcat(t, addr, "", "-L", "-t", topic).Stdout
	for _, want := range []string{addr, fmt.Sprintf("topic %q with 3 partitions", topic)} {
		if !strings.Contains(out, want) {
			t.Errorf("kcat -L does not show %q:\n%s", want, out)
		}
	}
}

// TestKcatCodecs writes with every codec. With -d msg, librdkafka says "not compressing" where a
// broker's version ranges make it believe that the broker cannot read the codec; it then writes
// plain batches with exit code 0, so the stored codec bits are looked at as well.
func TestKcatCodecs(t *testing.T) {
	t.Parallel()
	for _, codec := range codecs {
		t.Run(codec.name, func(t *testing.T) {
			t.Parallel()
			addr := sharedAddr(t)
			topic := createTopic(t, addr, 1)
			line := "key:" + compressible + "\n"
			wrote := harness.Kcat(t, addr, strings.Repeat(line, 5),
				"-P", "-t", topic, "-K:", "-z", codec.name, "-d", "msg", "-H", "mine=kept")
			if strings.Contains(wrote.Stderr, "not compressing") {
				t.Errorf("kcat did not compress with %s:\n%s", codec.name, wrote.Stderr)
			}
			for _, b := range storedBatches(t, addr, topic, 5) {
				if got := kgo.CompressionCodecType(b.Attributes & harness.CodecBits); got != codec.code {
					t.Errorf("batch at %d is stored with codec %d, want %d",
						b.FirstOffset, got, codec.code)
				}
			}
			read := harness.Kcat(t, addr, "", "-C", "-t", topic, "-o", "beginning", "-e", "-q",
				"-f", "%p %o %k %h %s\n").Stdout
			var want strings.Builder
			for i := range 5 {
				fmt.Fprintf(&want, "0 %d key mine=kept %s\n", i, compressible)
			}
			if read != want.String() {
				t.Errorf("kcat -C read %.300q, want %.300q", read, want.String())
			}
		})
	}
}

// TestKcatIdempotent writes with librdkafka's idempotent producer.
func TestKcatIdempotent(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	harness.Kcat(t, addr, "a\nb\nc\n", "-P", "-t", topic, "-X", "enable.idempotence=true")
	for _, b := range storedBatches(t, addr, topic, 3) {
		if b.ProducerID < 0 || b.FirstSequence != int32(b.FirstOffset) {
			t.Errorf("batch at %d has producer %d, sequence %d",
				b.FirstOffset, b.ProducerID, b.FirstSequence)
		}
	}
}

// TestKcatGroup reads as a member of a group, which commits as it leaves, and goes on there.
func TestKcatGroup(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	harness.Kcat(t, addr, "a\nb\nc\nd\ne\n", "-P", "-t", topic)
	read := func(n int) string {
		return harness.Kcat(t, addr, "", "-G", topic, "-c", strconv.Itoa(n), "-q",
			"-X", "auto.offset.reset=earliest", "-f", "%o=%s ", topic).Stdout
	}
	if got := read(2); got != "0=a 1=b " {
		t.Errorf("the first member read %q", got)
	}
	if got := read(3); got != "2=c 3=d 4=e " {
		t.Errorf("the second member read %q, want it to go on behind the commit", got)
	}
}

// TestKcatQueries asks for offsets by time.
func TestKcatQueries(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	cl := newClient(t, addr, kgo.DefaultProduceTopic(topic))
	start := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	for i := range 3 {
		produceSync(t, cl, &kgo.Record{Timestamp: start.Add(time.Duration(i) * time.Second)})
	}
	for _, query := range []struct {
		timestamp int64
		want      string
	}{
		{-2, "0"},
		{-1, "3"},
		{start.UnixMilli(), "0"},
		{start.UnixMilli() + 1, "1"},
		{start.UnixMilli() + 2000, "2"},
	} {
		arg := fmt.Sprintf("%s:0:%d", topic, query.timestamp)
		out := strings.TrimSpace(harness.Kcat(t, addr, "", "-Q", "-t", arg).Stdout)
		if !strings.HasSuffix(out, "offset "+query.want) {
			t.Errorf("kcat -Q %s printed %q, want offset %s", arg, out, query.want)
		}
	}
}

// TestKcatSchedules is the demo of the README: a header on the command line, and the record
// arrives when it is due.
func TestKcatSchedules(t *testing.T) {
	t.Parallel()
	addr := sharedAddr(t)
	topic := createTopic(t, addr, 1)
	before := time.Now().UnixMilli()
	harness.Kcat(t, addr, "hello\n", "-P", "-t", topic, "-H", headerDelay+"=2s", "-H", "mine=kept")
	produced := time.Now().UnixMilli()
	out := harness.Kcat(t, addr, "", "-C", "-t", topic, "-o", "beginning", "-c", "1", "-q",
		"-f", "%T|%h|%s").Stdout
	arrived := time.Now().UnixMilli()
	fields := strings.Split(out, "|")
	if len(fields) != 3 || fields[2] != "hello" {
		t.Fatalf("kcat read %q", out)
	}
	stamp, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatalf("timestamp: %v", err)
	}
	headers := map[string]string{}
	for h := range strings.SplitSeq(fields[1], ",") {
		name, value, _ := strings.Cut(h, "=")
		headers[name] = value
	}
	due, err := strconv.ParseInt(headers[headerScheduledFor], 10, 64)
	if err != nil {
		t.Fatalf("headers %q: %v", fields[1], err)
	}
	if due < before+2000 || due > produced+2000 {
		t.Errorf("due %d, want two seconds after %d to %d", due, before, produced)
	}
	if stamp < due || arrived < due {
		t.Errorf("due %d, stamped %d, arrived %d: early", due, stamp, arrived)
	}
	if headers["mine"] != "kept" || headers[headerDelay] != "" {
		t.Errorf("headers %q, want mine kept and the control header gone", fields[1])
	}
}
