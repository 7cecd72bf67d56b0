package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
)

// Bounds of the HTTP side. It serves probes, scrapes and operators: small requests and few at a
// time. The write timeout is longer than the API takes for a request.
const (
	httpHeaderBytesMax = 16 << 10
	httpHeaderTimeout  = 5 * time.Second
	httpIdleTimeout    = time.Minute
	httpWriteTimeout   = 30 * time.Second
	httpDrainMax       = time.Second
	scrapesMax         = 4
)

// health is what /health answers. It begins as "starting" and is written by serve alone.
type health struct {
	ready atomic.Bool
	state atomic.Pointer[string] // why it is not ready
}

func newHealth() *health {
	h := &health{}
	h.notReady("starting")
	return h
}

// notReady makes /health answer 503 with the state.
func (h *health) notReady(state string) {
	h.state.Store(&state)
	h.ready.Store(false)
}

// ServeHTTP answers 200 OK while the server serves Kafka clients, else 503 with what it does
// instead.
func (h *health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if h.ready.Load() {
		fmt.Fprintln(w, "OK")
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintln(w, *h.state.Load())
}

// webServer serves /health, /metrics and /v1 from the first moment on, so that a probe can tell a
// server that recovers from one that is gone.
type webServer struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{} // closed when the serving goroutine has ended
}

// webHandlers are what a webServer serves.
type webHandlers struct {
	health  *health
	metrics *prometheus.Registry
	api     *httpapi.API
}

// startWeb begins to serve on the listener, which it owns from then on.
func startWeb(l net.Listener, h webHandlers, log *zap.Logger) *webServer {
	mux := http.NewServeMux()
	mux.Handle("GET /health", h.health)
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesMax,
		ErrorLog:            zap.NewStdLog(log),
	}))
	mux.Handle("/v1/", h.api)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "ChronosDB: see /health, /metrics and /v1/openapi.yaml; "+
			"Kafka clients connect to another port.\n")
	})
	web := &webServer{
		listener: l,
		server: &http.Server{
			Handler:           mux,
			MaxHeaderBytes:    httpHeaderBytesMax,
			ReadHeaderTimeout: httpHeaderTimeout,
			ReadTimeout:       httpHeaderTimeout,
			WriteTimeout:      httpWriteTimeout,
			IdleTimeout:       httpIdleTimeout,
			ErrorLog:          zap.NewStdLog(log),
		},
		done: make(chan struct{}),
	}
	// close stops this goroutine and waits for it.
	go func() {
		defer close(web.done)
		if err := web.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("HTTP is no longer served", zap.Error(err))
		}
	}()
	return web
}

// addr is where it listens, with the port that was chosen where 0 was asked for.
func (web *webServer) addr() net.Addr { return web.listener.Addr() }

// close lets scrapes in flight finish for a moment and stops.
func (web *webServer) close() {
	ctx, cancel := context.WithTimeout(context.Background(), httpDrainMax)
	defer cancel()
	if web.server.Shutdown(ctx) != nil {
		_ = web.server.Close() // whoever still reads has had the time there is
	}
	<-web.done
}
