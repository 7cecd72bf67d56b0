package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// The shape of the loop that kills a server while operators steer it.
const (
	steeredRecords    = 3000
	steeredPartitions = 3
	steerOperators    = 8
	steerKills        = 4 // while records are cancelled, and as many while they are moved
	steerLoopMax      = 2 * time.Minute
)

// steered is one record and what operators know of it.
type steered struct {
	value, path string
	asked       bool // to be cancelled
	cancelled   bool // and that was confirmed
	unclear     bool // an answer got lost, so it may be cancelled
}

// TestKillWhileSteering kills the server again and again while operators cancel every other record,
// and then while all that is left is made due now. What was confirmed as cancelled is never
// delivered; what nobody cancelled is delivered once.
func TestKillWhileSteering(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	ctx, cancel := context.WithTimeout(context.Background(), steerLoopMax)
	defer cancel()
	s := harness.Start(t, harness.Options{})
	topic := createTopic(t, s.Addr(), steeredPartitions)
	writeSteered(t, s.Addr(), topic)
	o := &operators{t: t, addr: s.HTTPAddr(), topic: topic}
	all := o.list(ctx)
	if len(all) != steeredRecords {
		t.Fatalf("%d records are pending, want %d", len(all), steeredRecords)
	}

	killsDuring(t, s, rng, len(all)/2, func(answered func()) error {
		return o.cancelEveryOther(ctx, all, answered)
	})
	pages := 2 * steerKills // it takes as many with a page of this size, and more where one is lost
	killsDuring(t, s, rng, pages, func(answered func()) error {
		return o.moveAll(ctx, steeredRecords/2/pages, answered)
	})
	checkSteered(t, all, readAllValues(t, s.Addr(), topic, expectedAtLeast(all)))
	s.Restart()
	o.mustBeEmpty(ctx)
	checkSteered(t, all, readAllValues(t, s.Addr(), topic, expectedAtLeast(all)))
}

// writeSteered schedules the records for a time that does not come.
func writeSteered(t *testing.T, addr, topic string) {
	t.Helper()
	cl := newClient(t, addr, kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	records := make([]*kgo.Record, steeredRecords)
	for i := range records {
		records[i] = &kgo.Record{
			Partition: int32(i % steeredPartitions), Value: strconv.AppendInt(nil, int64(i), 10),
			Key:     strconv.AppendInt(nil, int64(i), 10),
			Headers: []kgo.RecordHeader{{Key: headerDelay, Value: fmt.Appendf(nil, "%dms", 3_600_000+i)}},
		}
	}
	produceSync(t, cl, records...)
}

// killsDuring runs work, which says when an order was answered, and kills the server after random
// numbers of answers, steerKills times in all of so many that are expected.
func killsDuring(
	t *testing.T, s *harness.Server, rng *rand.Rand, expected int, work func(answered func()) error,
) {
	t.Helper()
	answers := make(chan struct{}) // so that the work waits while the server is killed
	over := make(chan struct{})
	defer close(over)
	done := make(chan error, 1)
	// The loop below waits for it.
	go func() {
		done <- work(func() {
			select {
			case answers <- struct{}{}:
			case <-over: // nobody counts any more
			}
		})
	}()
	kills := 0
	next := 1 + rng.IntN(max(expected/steerKills, 1))
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if kills < steerKills {
				t.Fatalf("invalid run: it was over after %d kills", kills)
			}
			return
		case <-answers:
			if next--; next == 0 && kills < steerKills {
				s.Restart()
				kills++
				next = 1 + rng.IntN(max(expected/steerKills/2, 1))
			}
		}
	}
}

// operators send orders to a server that goes away now and then, and repeat those without an answer.
type operators struct {
	t           *testing.T
	addr, topic string
	client      http.Client
}

// once sends one request. ok is false when the answer got lost.
func (o *operators) once(
	ctx context.Context, method, path, body string, into any,
) (ok bool, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+o.addr+path, strings.NewReader(body))
	if err != nil {
		return false, err
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	response, err := o.client.Do(r)
	if err != nil {
		return false, ctx.Err()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return false, ctx.Err()
	case response.StatusCode == http.StatusServiceUnavailable: // it starts
		return false, ctx.Err()
	case response.StatusCode != http.StatusOK:
		return false, fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	return true, json.Unmarshal(text, into)
}

// until sends a request until there is an answer; lost says whether one got lost.
func (o *operators) until(
	ctx context.Context, method, path, body string, into any,
) (lost bool, err error) {
	for {
		ok, err := o.once(ctx, method, path, body, into)
		if ok || err != nil {
			return lost, err
		}
		lost = true
		select {
		case <-ctx.Done():
		case <-time.After(clientRetry):
		}
	}
}

// list returns what is pending.
func (o *operators) list(ctx context.Context) (all []*steered) {
	o.t.Helper()
	cursor := ""
	for {
		var page struct {
			Schedules []struct {
				Topic     string
				Partition int32
				Position  string
				Key       string
			}
			NextCursor string `json:"next_cursor"`
		}
		path := "/v1/schedules?limit=1000&topic=" + o.topic
		if cursor != "" {
			path += "&cursor=" + cursor
		}
		if _, err := o.until(ctx, "GET", path, "", &page); err != nil {
			o.t.Fatal(err)
		}
		for _, one := range page.Schedules {
			all = append(all, &steered{
				value: one.Key,
				path:  fmt.Sprintf("/v1/schedules/%s/%d/%s", one.Topic, one.Partition, one.Position),
			})
		}
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

func (o *operators) mustBeEmpty(ctx context.Context) {
	o.t.Helper()
	if all := o.list(ctx); len(all) > 0 {
		o.t.Errorf("%d records are still pending, such as %s", len(all), all[0].path)
	}
}

// cancelEveryOther cancels every other record, several at a time.
func (o *operators) cancelEveryOther(ctx context.Context, all []*steered, answered func()) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(steerOperators)
	for i, one := range all {
		if i%2 == 0 {
			continue
		}
		group.Go(func() error {
			var answer struct{ Done bool }
			lost, err := o.until(ctx, "DELETE", one.path, "", &answer)
			if err != nil {
				return err
			}
			one.asked, one.cancelled, one.unclear = true, answer.Done, lost && !answer.Done
			answered()
			return nil
		})
	}
	return group.Wait()
}

// moveAll makes all that is pending due now, page by page.
func (o *operators) moveAll(ctx context.Context, limit int, answered func()) error {
	body := map[string]any{"topic": o.topic, "in": "0", "limit": limit}
	for {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		var answer struct {
			DueMs      int64  `json:"due_ms"`
			NextCursor string `json:"next_cursor"`
		}
		if _, err := o.until(ctx, "POST", "/v1/schedules/move", string(text), &answer); err != nil {
			return err
		}
		answered()
		if answer.NextCursor == "" {
			return nil
		}
		delete(body, "in")
		body["due"], body["cursor"] = answer.DueMs, answer.NextCursor
	}
}

// expectedAtLeast is how many records must be delivered.
func expectedAtLeast(all []*steered) (n int) {
	for _, one := range all {
		if !one.cancelled && !one.unclear {
			n++
		}
	}
	return n
}

// readAllValues waits for so many records, and returns how often each value is there then.
func readAllValues(t *testing.T, addr, topic string, least int) map[string]int {
	t.Helper()
	admin := kadm.NewClient(newClient(t, addr))
	ctx := testContext(t)
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil || ends.Error() != nil {
			t.Fatalf("list end offsets: %v, %v", err, ends.Error())
		}
		total := 0
		ends.Each(func(o kadm.ListedOffset) { total += int(o.Offset) })
		if total < least {
			select {
			case <-ctx.Done():
				t.Fatalf("%d records were delivered, want %d or more", total, least)
			case <-time.After(clientRetry):
			}
			continue
		}
		values := map[string]int{}
		for _, r := range consume(t, addr, topic, total) {
			values[string(r.Value)]++
		}
		return values
	}
}

// checkSteered compares deliveries with what operators know.
func checkSteered(t *testing.T, all []*steered, delivered map[string]int) {
	t.Helper()
	unclear := 0
	for _, one := range all {
		n := delivered[one.value]
		delete(delivered, one.value)
		switch {
		case one.unclear && n <= 1:
			unclear++
		case one.cancelled && n != 0:
			t.Errorf("record %s was cancelled, and delivered %d times", one.value, n)
		case !one.cancelled && n != 1:
			t.Errorf("record %s was delivered %d times; asked to cancel it: %v", one.value, n, one.asked)
		}
	}
	if len(delivered) > 0 {
		t.Errorf("delivered out of nothing: %v", delivered)
	}
	t.Logf("%d orders whose answer got lost", unclear)
}
