package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi/apitest"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// epoch is the time of the tests.
var epoch = time.Date(2026, 11, 24, 17, 0, 0, 0, time.UTC)

// node is an API over schedules in memory.
type node struct {
	t         *testing.T
	api       *httpapi.API
	schedules *apitest.Schedules
	clock     *clock.Manual
}

// newNode has topics orders and parcels, and n records in orders, due a minute apart.
func newNode(t *testing.T, n int, allowRemote bool) *node {
	t.Helper()
	c := clock.NewManual(epoch)
	x := &node{
		t: t, clock: c, schedules: apitest.New(c, "orders", "parcels"),
		api: httpapi.New(httpapi.Options{AllowRemoteWrites: allowRemote, Clock: c, Logger: zap.NewNop()}),
	}
	for i := range n {
		x.schedules.Add(replication.PendingRecord{
			Topic: "orders", Position: timer.Position{Epoch: 3, Offset: batch.Offset(i)},
			Due: clock.ToMs(epoch).Add(time.Duration(i+1) * time.Minute), State: "pending",
			ID: fmt.Sprintf("id-%d", i), Key: fmt.Appendf(nil, "key-%d", i%2),
			Appended: clock.ToMs(epoch) - 5, Created: clock.ToMs(epoch) - 9,
			Bytes: 10, Value: []byte("value"), Headers: []batch.Header{{Key: "h", Value: []byte{0xff}}},
		})
	}
	x.api.Open(x.schedules)
	return x
}

// request is one from this machine, as curl sends it.
func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:51234", "127.0.0.1:8080"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (x *node) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	x.api.ServeHTTP(w, r)
	return w
}

// ask sends a request that must succeed and decodes the answer.
func (x *node) ask(method, target, body string, into any) {
	x.t.Helper()
	w := x.do(request(method, target, body))
	if w.Code != http.StatusOK {
		x.t.Fatalf("%s %s: %d %s", method, target, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		x.t.Fatalf("%s %s: %v in %s", method, target, err, w.Body)
	}
}

// refused returns the problem with which a request is answered.
func (x *node) refused(r *http.Request) httpapi.Problem {
	x.t.Helper()
	w := x.do(r)
	var p httpapi.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Detail == "" ||
		w.Header().Get("Content-Type") != "application/problem+json" {
		x.t.Errorf("%s %s: %d %s, %v", r.Method, r.URL, w.Code, w.Body, err)
	}
	return p
}

// due returns when the records of orders are due, in minutes from epoch.
func (x *node) due() (minutes []int) {
	for _, r := range x.schedules.Pending() {
		minutes = append(minutes, int(r.Due.Sub(clock.ToMs(epoch)).Minutes()))
	}
	return minutes
}
