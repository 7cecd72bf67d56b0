package httpapi_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

func TestListFiltersAndPages(t *testing.T) {
	x := newNode(t, 10, false)
	at := func(minutes int64) string { return fmt.Sprint(epoch.UnixMilli() + minutes*60_000) }
	for _, test := range []struct {
		query string
		want  int
	}{
		{"", 10},
		{"topic=orders&partition=0", 10},
		{"topic=orders&partition=7", 0},
		{"topic=parcels", 0},
		{"key=key-0", 5},
		{"key=", 0}, // an empty key is one, too
		{"key_base64=a2V5LTA%3D", 5},
		{"id=id-3", 1},
		{"due_from=" + at(3), 8},
		{"due_to=" + at(3), 2},
		{"due_from=2026-11-24T18:03:00%2B01:00&due_to=" + at(5), 2},
	} {
		for _, limit := range []int{1, 3, 1000} {
			got, cursor := 0, ""
			for page := 0; page <= 10; page++ {
				var p httpapi.Page
				x.ask("GET", fmt.Sprintf("/v1/schedules?limit=%d&%s&%s", limit, test.query, cursor), "", &p)
				got += len(p.Schedules)
				if cursor = "cursor=" + url.QueryEscape(p.NextCursor); p.NextCursor == "" {
					break
				}
			}
			if got != test.want {
				t.Errorf("%q by %d: %d records, want %d", test.query, limit, got, test.want)
			}
		}
	}
}

func TestGetShowsBytesAsTheyAre(t *testing.T) {
	x := newNode(t, 0, false)
	x.schedules.Add(replication.PendingRecord{
		Topic: "orders", Position: timer.Position{Epoch: 1, Offset: 2, Occurrence: 3}, State: "pending",
		Due: clock.ToMs(epoch), Key: []byte{0xff, 0}, ID: "\xfe", Value: []byte(`<a> & "é"`),
		Headers: []batch.Header{{Key: "null"}, {Key: "raw", Value: []byte{0x80}}, {Key: "e", Value: []byte{}}},
		Cron:    "0 9 * * *", Tz: "Europe/Berlin", Count: 4,
	})
	w := x.do(request("GET", "/v1/schedules/orders/0/1.2.3", ""))
	const want = `{"topic":"orders","partition":0,"position":"1.2.3","state":"pending",` +
		`"due":"2026-11-24T17:00:00.000Z","due_ms":1795539600000,"appended_ms":0,"created_ms":0,` +
		`"id_base64":"/g==","key_base64":"/wA=","recurrence":{"cron":"0 9 * * *","tz":"Europe/Berlin","count":4},` +
		`"bytes":0,"value":"<a> & \"é\"","headers":[{"name":"null"},{"name":"raw","value_base64":"gA=="},` +
		`{"name":"e","value":""}]}` + "\n"
	if got := w.Body.String(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestOrdersAreDoneOnce(t *testing.T) {
	for _, test := range []struct {
		method, path, body string
		want               []int // due minutes afterwards
	}{
		{"DELETE", "", "", []int{2}},
		{"POST", "/now", "", []int{2}},
		{"POST", "/move", `{"in":"PT5M"}`, []int{2, 5}},
		{"POST", "/move", `{"due":"2026-11-24T17:09:00Z"}`, []int{2, 9}},
		{"POST", "/move", fmt.Sprintf(`{"due":%d}`, epoch.UnixMilli()+60_000*4), []int{2, 4}},
	} {
		x := newNode(t, 2, false)
		var first, again, unknown httpapi.OrderAnswer
		x.ask(test.method, "/v1/schedules/orders/0/3.0.0"+test.path, test.body, &first)
		x.ask(test.method, "/v1/schedules/orders/0/3.0.0"+test.path, test.body, &again)
		x.ask(test.method, "/v1/schedules/orders/0/9.9.9"+test.path, test.body, &unknown)
		moved := test.path == "/move"
		if !first.Done || again.Done != moved || unknown.Done || unknown.Reason == "" {
			t.Errorf("%s %s: %+v, then %+v, unknown %+v", test.method, test.path, first, again, unknown)
		}
		if got := x.due(); !slices.Equal(got, test.want) {
			t.Errorf("%s %s %s: due %v, want %v", test.method, test.path, test.body, got, test.want)
		}
	}
}

// TestManyAreMovedOnce goes through the pages of a move into the middle of what is pending: what was
// moved is met again there, and is left alone.
func TestManyAreMovedOnce(t *testing.T) {
	x := newNode(t, 20, false)
	var sum httpapi.ManyAnswer
	body := `{"topic":"orders","in":"10m","limit":3}`
	for page := 0; ; page++ {
		var a httpapi.ManyAnswer
		x.ask("POST", "/v1/schedules/move", body, &a)
		sum.Matched, sum.Done, sum.Unchanged = sum.Matched+a.Matched, sum.Done+a.Done, sum.Unchanged+a.Unchanged
		if a.NextCursor == "" {
			break
		}
		if page > 20 {
			t.Fatal("it goes on for ever")
		}
		x.clock.Advance(1000)
		body = fmt.Sprintf(`{"topic":"orders","due":%d,"limit":3,"cursor":%q}`, a.DueMs, a.NextCursor)
	}
	if sum.Done != 19 || sum.Matched != sum.Done+sum.Unchanged {
		t.Errorf("%+v, want 19 done of 20 as one is due then already", sum)
	}
	for _, due := range x.due() {
		if due != 10 {
			t.Errorf("due %v", x.due())
			break
		}
	}
}

// TestManyOverdueAreMovedOnce is the same with times that have passed, which a move makes the moment
// at which it is carried out.
func TestManyOverdueAreMovedOnce(t *testing.T) {
	x := newNode(t, 20, false)
	x.clock.Advance(10*time.Minute + 30*time.Second)
	cursor, done := "", 0
	for page := 0; page == 0 || cursor != ""; page++ {
		if page > 20 {
			t.Fatal("it goes on for ever")
		}
		var a httpapi.ManyAnswer
		x.ask("POST", "/v1/schedules/move",
			fmt.Sprintf(`{"topic":"orders","due":%d,"limit":3,"cursor":%q}`, epoch.UnixMilli(), cursor), &a)
		done, cursor = done+a.Done, a.NextCursor
		x.clock.Advance(time.Millisecond)
	}
	if done != 10 {
		t.Errorf("%d moved, want the 10 that were not due", done)
	}
}

func TestCancelManyByFilter(t *testing.T) {
	x := newNode(t, 10, false)
	cursor := ""
	for {
		var a httpapi.ManyAnswer
		x.ask("POST", "/v1/schedules/cancel",
			fmt.Sprintf(`{"topic":"orders","key":"key-1","limit":2,"cursor":%q}`, cursor), &a)
		if a.Done != a.Matched {
			t.Errorf("%+v", a)
		}
		if cursor = a.NextCursor; cursor == "" {
			break
		}
	}
	if got, want := x.due(), []int{1, 3, 5, 7, 9}; !slices.Equal(got, want) {
		t.Errorf("due %v, want %v", got, want)
	}
}

// TestManyThatFailSayHowFar: whoever goes on from there misses nothing.
func TestManyThatFailSayHowFar(t *testing.T) {
	x := newNode(t, 10, false)
	var first, a httpapi.ManyAnswer
	x.ask("POST", "/v1/schedules/cancel", `{"topic":"orders","limit":2}`, &first)
	x.schedules.FailAfter(2, fmt.Errorf("%w: no space", replication.ErrStorage))
	p := x.refused(request("POST", "/v1/schedules/cancel",
		fmt.Sprintf(`{"topic":"orders","limit":4,"cursor":%q}`, first.NextCursor)))
	if p.Status != http.StatusServiceUnavailable || p.Progress == nil || p.Progress.Done != 2 ||
		p.Progress.Matched != 4 || p.Progress.NextCursor != first.NextCursor {
		t.Errorf("%+v, progress %+v", p, p.Progress)
	}
	x.schedules.FailAfter(0, nil)
	x.ask("POST", "/v1/schedules/cancel",
		fmt.Sprintf(`{"topic":"orders","cursor":%q}`, p.Progress.NextCursor), &a)
	if a.Done != 6 || len(x.due()) != 0 {
		t.Errorf("%+v, left %v", a, x.due())
	}
}

func TestPauseShowsInTheCount(t *testing.T) {
	x := newNode(t, 3, false)
	for _, paused := range []bool{true, true, false, false} {
		verb := map[bool]string{true: "pause", false: "resume"}[paused]
		var a httpapi.TopicAnswer
		x.ask("POST", "/v1/topics/orders/"+verb, "", &a)
		var c httpapi.Counts
		x.ask("GET", "/v1/schedules/count", "", &c)
		if a.Paused != paused || len(c.Partitions) != 1 || c.Partitions[0].Paused != paused ||
			c.Pending != 3 || c.Partitions[0].NextDueMs != clock.ToMs(epoch)+60_000 {
			t.Errorf("%s: %+v, then %+v", verb, a, c)
		}
	}
	var h httpapi.Histogram
	x.ask("GET", "/v1/schedules/histogram?topic=orders", "", &h)
	if len(h.Buckets) != 5 || *h.Buckets[0].WithinMs != 0 || *h.Buckets[2].WithinMs != 60_000 ||
		h.Buckets[2].Pending != 1 || h.Buckets[3].Pending != 2 || h.Buckets[4].WithinMs != nil {
		t.Errorf("%+v", h)
	}
}

// TestBadInputDoesNothing: each of these is refused with a sentence that has the words, and changes
// nothing.
func TestBadInputDoesNothing(t *testing.T) {
	const one, move = "/v1/schedules/orders/0/3.0.0", "/v1/schedules/orders/0/3.0.0/move"
	for _, test := range []struct {
		method, target, body string
		status               int
		want                 string
	}{
		{"GET", "/v1/schedules?topics=orders", "", 400, "topic, partition"},
		{"GET", "/v1/schedules?topic=", "", 400, "leave it out"},
		{"GET", "/v1/schedules?topic=a&topic=b", "", 400, "give it once"},
		{"GET", "/v1/schedules?topic=nowhere", "", 404, "nowhere"},
		{"GET", "/v1/schedules?partition=1", "", 400, "give both"},
		{"GET", "/v1/schedules?topic=orders&partition=-1", "", 400, "count from 0"},
		{"GET", "/v1/schedules?limit=0", "", 400, "1 to 1000"},
		{"GET", "/v1/schedules?limit=1001", "", 400, "1 to 1000"},
		{"GET", "/v1/schedules?limit=many", "", 400, "whole number"},
		{"GET", "/v1/schedules?limit=99999999999", "", 400, "whole number"},
		{"GET", "/v1/schedules?due_from=1767225600", "", 400, "thirteen"},
		{"GET", "/v1/schedules?due_from=1767225600000000", "", 400, "too large"},
		{"GET", "/v1/schedules?due_from=2026-01-01", "", 400, "RFC 3339"},
		{"GET", "/v1/schedules?due_from=2026-01-01T00:00:00,5Z", "", 400, "RFC 3339"},
		{"GET", "/v1/schedules?due_from=1767225600000&due_to=1767225600000", "", 400, "not after"},
		{"GET", "/v1/schedules?id=", "", 400, "leave it out"},
		{"GET", "/v1/schedules?key=a&key_base64=YQ%3D%3D", "", 400, "give one"},
		{"GET", "/v1/schedules?key_base64=%21", "", 400, "base64"},
		{"GET", "/v1/schedules?cursor=x", "", 400, "cursor"},
		{"GET", "/v1/schedules?a=%zz", "", 400, "query"},
		{"GET", "/v1/schedules", "{}", 400, "no body"},
		{"GET", "/v1/schedules/count?partition=1", "", 400, "there are topic"},
		{"GET", one + "?value=no", "", 400, "no parameter"},
		{"GET", "/v1/schedules/orders/x/3.0.0", "", 400, "count from 0"},
		{"GET", "/v1/schedules/orders/-1/3.0.0", "", 400, "count from 0"},
		{"GET", "/v1/schedules/orders/0/3.0", "", 400, "3.1042.0"},
		{"GET", "/v1/schedules/orders/0/03.0.0", "", 400, "3.1042.0"},
		{"GET", "/v1/schedules/orders/0/3.99.0", "", 404, "not pending"},
		{"GET", "/v1/schedules/nowhere/0/3.0.0", "", 404, "nowhere"},
		{"GET", "/v1/nothing", "", 404, "openapi"},
		{"GET", "/v1/", "", 404, "openapi"},
		{"PUT", one, "", 405, "GET, DELETE"},
		{"GET", move, "", 405, "POST"},
		{"DELETE", one, "x", 400, "no body"},
		{"DELETE", "/v1/schedules", "", 405, "GET"},
		{"POST", one + "/now", "{}", 400, "no body"},
		{"POST", move, "", 415, "application/json"},
		{"POST", move, "{}", 400, "one of due"},
		{"POST", move, "null", 400, "one of due"},
		{"POST", move, "[]", 400, "JSON"},
		{"POST", move, `{"due":1}`, 400, "plausible"},
		{"POST", move, `{"due":1.5e12}`, 400, "no time"},
		{"POST", move, `{"due":null,"in":null}`, 400, "one of due"},
		{"POST", move, `{"due":1795539600000,"in":"1s"}`, 400, "one of due"},
		{"POST", move, `{"in":"1 hour"}`, 400, "duration"},
		{"POST", move, `{"in":"-1h"}`, 400, "negative"},
		{"POST", move, `{"in":"1h"} x`, 400, "behind"},
		{"POST", move, `{"in":"1h"}{}`, 400, "behind"},
		{"POST", move, `{"at":"1h"}`, 400, "at"},
		{"POST", move, `{"in":"` + strings.Repeat("1", 70_000) + `"}`, 413, "65536 bytes"},
		{"POST", move, `{"in":"1h"}` + strings.Repeat(" ", 70_000), 413, "65536 bytes"},
		{"POST", "/v1/schedules/cancel", `{}`, 400, "which topic"},
		{"POST", "/v1/schedules/cancel", `{"topic":"nowhere"}`, 404, "nowhere"},
		{"POST", "/v1/schedules/cancel", `{"topic":"orders","in":"1h"}`, 400, "in"},
		{"POST", "/v1/schedules/cancel", `{"topic":"orders","id":""}`, 400, "id"},
		{"POST", "/v1/schedules/cancel", `{"topic":"orders","limit":0}`, 400, "1 to 1000"},
		{"POST", "/v1/schedules/cancel?topic=orders", `{"topic":"orders"}`, 400, "no parameter"},
		{"POST", "/v1/schedules/move", `{"topic":"orders"}`, 400, "one of due"},
		{"POST", "/v1/schedules/move", `{"topic":"orders","in":"1h","cursor":"orders/1/3.0.0"}`, 400, "go on"},
		{"POST", "/v1/topics/nowhere/pause", "", 404, "nowhere"},
		{"POST", "/v1/topics/orders/stop", "", 404, "openapi"},
	} {
		x := newNode(t, 1, false)
		p := x.refused(request(test.method, test.target, test.body))
		if p.Status != test.status || !strings.Contains(p.Detail, test.want) {
			t.Errorf("%s %s %.80s: %d %q, want %d and %q", test.method, test.target, test.body,
				p.Status, p.Detail, test.status, test.want)
		}
		var c httpapi.Counts
		x.ask("GET", "/v1/schedules/count", "", &c)
		if got := x.due(); !slices.Equal(got, []int{1}) || c.Partitions[0].Paused {
			t.Errorf("%s %s %.80s has changed something: due %v, %+v", test.method, test.target, test.body, got, c)
		}
	}
}

func TestFormsAreNotTaken(t *testing.T) {
	x := newNode(t, 1, false)
	for _, media := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"} {
		r := request("POST", "/v1/schedules/cancel", `{"topic":"orders"}`)
		r.Header.Set("Content-Type", media)
		if p := x.refused(r); p.Status != http.StatusUnsupportedMediaType || len(x.due()) != 1 {
			t.Errorf("%q: %+v", media, p)
		}
	}
}

// TestErrorsOfTheServerAreItsOwn: the text of an error that nobody expected does not leave it.
func TestErrorsOfTheServerAreItsOwn(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		leaks  bool
	}{
		{errors.New("secret"), 500, false},
		{fmt.Errorf("secret: %w", replication.ErrClosed), 503, true},
		{&replication.OfflineError{Partition: "orders-0", Err: errors.New("secret")}, 503, true},
	} {
		x := newNode(t, 1, false)
		x.schedules.FailAfter(0, test.err)
		p := x.refused(request("DELETE", "/v1/schedules/orders/0/3.0.0", ""))
		if p.Status != test.status || strings.Contains(p.Detail, "secret") != test.leaks {
			t.Errorf("%v: %+v", test.err, p)
		}
	}
}

func TestClosedServesNothing(t *testing.T) {
	x := newNode(t, 1, false)
	x.api.Close()
	w := x.do(request("GET", "/v1/schedules", ""))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := x.do(request("GET", "/v1/openapi.yaml", "")); w.Code != 200 ||
		!strings.HasPrefix(w.Body.String(), "openapi: 3.1") {
		t.Errorf("the description: %d", w.Code)
	}
}
