package httpapi_test

import (
	"errors"
	"testing"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
)

var errFailed = errors.New("the disk is on fire")

// TestAnswersAreAsDescribed holds what the routes answer against the description.
func TestAnswersAreAsDescribed(t *testing.T) {
	x := newNode(t, 12, false)
	for _, test := range []struct{ method, target, body, component string }{
		{"GET", "/v1/schedules?limit=5", "", "Page"},
		{"GET", "/v1/schedules?topic=parcels", "", "Page"},
		{"GET", "/v1/schedules/count", "", "Counts"},
		{"GET", "/v1/schedules/histogram", "", "Histogram"},
		{"GET", "/v1/schedules/orders/0/3.4.0", "", "Schedule"},
		{"DELETE", "/v1/schedules/orders/0/3.4.0", "", "Order"},
		{"DELETE", "/v1/schedules/orders/0/3.4.0", "", "Order"},
		{"POST", "/v1/schedules/orders/0/3.5.0/move", `{"in":"1h"}`, "Order"},
		{"POST", "/v1/schedules/orders/0/3.5.0/now", "", "Order"},
		{"POST", "/v1/schedules/move", `{"topic":"orders","in":"1h","limit":2}`, "Many"},
		{"POST", "/v1/schedules/cancel", `{"topic":"orders"}`, "Many"},
		{"POST", "/v1/topics/orders/pause", "", "Topic"},
		{"POST", "/v1/topics/orders/resume", "", "Topic"},
		{"GET", "/v1/schedules/orders/0/3.4.0", "", "Problem"},
		{"POST", "/v1/topics/orders/pause", "{", "Problem"},
		{"PUT", "/v1/topics", "", "Problem"},
	} {
		w := x.do(request(test.method, test.target, test.body))
		httpapi.CheckDescribed(t, test.component, w.Body.Bytes())
	}
	y := newNode(t, 3, false)
	y.schedules.FailAfter(1, errFailed)
	w := y.do(request("POST", "/v1/schedules/cancel", `{"topic":"orders"}`))
	httpapi.CheckDescribed(t, "Problem", w.Body.Bytes())
}
