package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi/apitest"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer"
)

// slow are schedules whose orders take until they are cancelled.
type slow struct {
	*apitest.Schedules
	begun chan struct{}
	ended sync.WaitGroup
}

func (s *slow) Steer(
	ctx context.Context, _ string, _ int32, _ replication.SteerVerb, _ timer.Position, _ timer.UnixMs,
) (replication.SteerResult, error) {
	s.begun <- struct{}{}
	<-ctx.Done()
	s.ended.Done()
	return replication.SteerResult{}, ctx.Err()
}

// TestCloseEndsAndAwaitsRequests fills all places: one more is refused, and Close ends them all
// before it returns.
func TestCloseEndsAndAwaitsRequests(t *testing.T) {
	const places = 16
	x := newNode(t, 1, false)
	s := &slow{Schedules: x.schedules, begun: make(chan struct{})}
	s.ended.Add(places)
	x.api.Open(s)
	order := func() *httptest.ResponseRecorder {
		return x.do(request("DELETE", "/v1/schedules/orders/0/3.0.0", ""))
	}
	answers := make(chan *httptest.ResponseRecorder, places)
	for range places {
		go func() { answers <- order() }()
		<-s.begun
	}
	if w := order(); w.Code != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d %s", w.Code, w.Body)
	}
	x.api.Close()
	s.ended.Wait()
	for range places {
		if w := <-answers; w.Code != http.StatusServiceUnavailable ||
			!strings.Contains(w.Body.String(), "the server stops") {
			t.Errorf("cancelled by Close: %d %s", w.Code, w.Body)
		}
	}
	if w := order(); w.Code != http.StatusServiceUnavailable {
		t.Errorf("after Close: %d %s", w.Code, w.Body)
	}
}
