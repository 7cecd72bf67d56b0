package httpapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// FuzzOrders sends any query and body to every order: the answer is one of those that are described,
// never that the server failed, and after a refusal nothing has changed.
func FuzzOrders(f *testing.F) {
	for _, seed := range []struct{ query, body string }{
		{"", ""},
		{"", `{"topic":"orders"}`},
		{"", `{"topic":"orders","in":"1h","limit":1}`},
		{"", `{"topic":"orders","due":1795539600000,"cursor":"orders/1795539660000/3.0.0"}`},
		{"", `{"in":"PT5M"}`},
		{"", `{"due":"2026-11-24T17:00:00Z","in":null}`},
		{"", `{"topic":"orders","key_base64":"a2V5LTA=","partition":0,"id":"id-0"}`},
		{"topic=orders&key=key-1&due_from=1795539600000", ""},
		{"topic=orders&topic=parcels", `{"topic":7}`},
		{"cursor=%ff", "{\"topic\":\"\xff\"}"},
	} {
		f.Add(seed.query, seed.body)
	}
	f.Fuzz(func(t *testing.T, query, body string) {
		for _, target := range []string{
			"POST /v1/schedules/orders/0/3.0.0/move", "POST /v1/schedules/cancel",
			"POST /v1/schedules/move", "POST /v1/schedules/orders/0/3.0.0/now", "GET /v1/schedules",
		} {
			x := newNode(t, 3, false)
			before := fmt.Sprint(x.schedules.Pending())
			method, path, _ := strings.Cut(target, " ")
			r := httptest.NewRequest(method, path, strings.NewReader(body))
			r.URL.RawQuery = query
			r.RemoteAddr, r.Host = "127.0.0.1:1", "127.0.0.1"
			r.Header.Set("Content-Type", "application/json")
			w := x.do(r)
			if w.Code >= http.StatusInternalServerError {
				t.Errorf("%s?%q %q: %d %s", target, query, body, w.Code, w.Body)
			}
			if after := fmt.Sprint(x.schedules.Pending()); w.Code != http.StatusOK && after != before {
				t.Errorf("%s?%q %q: %d %s, and this has changed:\n%s\n%s", target, query, body, w.Code, w.Body, before, after)
			}
		}
	})
}
