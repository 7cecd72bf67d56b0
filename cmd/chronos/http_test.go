package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/replication"
)

func TestHealthSaysHowFarARecoveryIs(t *testing.T) {
	s := &server{health: newHealth()}
	s.recovering(replication.OpenProgress{
		Stage: replication.OpenPartitions, Done: 11, All: 200,
		BytesRead: 1 << 30, BytesTotal: 4 << 30, Left: 3 * time.Second,
	})
	w := httptest.NewRecorder()
	s.health.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
	const want = "recovering: partition 12 of 200, 1024 of 4096 MiB read, about 3s left"
	if w.Code != 503 || strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("/health: %d %q, want %q", w.Code, w.Body, want)
	}
}
