package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	// requestsMax bounds the requests in work: a list or a payload may take some MiB each.
	requestsMax = 16
	// workMax is how long one request may wait for the disk. It is shorter than the HTTP server's
	// own bound on writing an answer, so that there always is an answer.
	workMax = 20 * time.Second
)

// Options are what New needs.
type Options struct {
	// AllowRemoteWrites takes orders from other machines, too.
	AllowRemoteWrites bool
	Clock             clock.Clock
	Logger            *zap.Logger // one line for each order
}

// API is an http.Handler for /v1/. Until Open and from Close on it answers 503.
type API struct {
	o     Options
	mux   *http.ServeMux
	slots chan struct{} // one for each request in work

	// serving is held for reading by each request for as long as it works, so that Close can wait
	// for them.
	serving struct {
		sync.RWMutex
		schedules Schedules // nil while there are none to ask
	}
	closing context.Context // ends when Close begins
	close   context.CancelFunc
}

// New returns an API that does not serve yet.
func New(o Options) *API {
	a := &API{o: o, mux: http.NewServeMux(), slots: make(chan struct{}, requestsMax)}
	a.closing, a.close = context.WithCancel(context.Background())
	methods := map[string][]string{} // by path
	for _, r := range routes {
		a.mux.Handle(r.method+" "+r.path, a.serve(r))
		methods[r.path] = append(methods[r.path], r.method)
	}
	for path, known := range methods {
		a.mux.Handle(path, otherMethod(known))
	}
	a.mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problemf(kindUnknownPath, "there is no %s; see /v1/openapi.yaml", r.URL.Path))
	})
	return a
}

// ServeHTTP answers a request for a path under /v1/.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Open begins to answer for the schedules.
func (a *API) Open(s Schedules) {
	a.serving.Lock()
	defer a.serving.Unlock()
	a.serving.schedules = s
}

// Close answers 503 from now on. Requests in work are cancelled and waited for, so the schedules
// may be closed afterwards.
func (a *API) Close() {
	a.close()
	a.serving.Lock()
	defer a.serving.Unlock()
	a.serving.schedules = nil
}

// otherMethod answers for a path that is served, but not in this way.
func otherMethod(known []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowed := strings.Join(known, ", ")
		w.Header().Set("Allow", allowed)
		writeProblem(w, problemf(kindMethod, "%s takes %s, not %s", r.URL.Path, allowed, r.Method))
	})
}

// serve answers one route.
func (a *API) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := a.answer(w, r, rt)
		if err != nil {
			p := problemOf(err)
			if p.Status == http.StatusInternalServerError {
				a.o.Logger.Error("a request failed", zap.String("path", r.URL.Path), zap.Error(err))
			}
			writeProblem(w, p)
			return
		}
		if document, ok := answer.(document); ok {
			document.write(w)
			return
		}
		writeJSON(w, http.StatusOK, "application/json", answer)
	})
}

// answer checks a request and does what it asks for.
func (a *API) answer(w http.ResponseWriter, r *http.Request, rt route) (any, error) {
	if err := a.guard(r, rt.steers); err != nil {
		return nil, err
	}
	if rt.document != nil {
		return rt.document, nil
	}
	query, err := readQuery(r, rt.query)
	if err != nil {
		return nil, err
	}
	r.Body = http.MaxBytesReader(w, r.Body, bodyBytesMax)
	if !rt.body {
		if err := noBody(r); err != nil {
			return nil, err
		}
	}
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		return nil, problemf(kindBusy, "%d requests are in work, and that is the bound", requestsMax)
	}
	ctx, cancel := context.WithTimeout(r.Context(), workMax)
	defer cancel()
	defer context.AfterFunc(a.closing, cancel)()
	a.serving.RLock()
	defer a.serving.RUnlock()
	if a.serving.schedules == nil {
		return nil, problemf(kindUnavailable, "the server starts or stops; /health says how far it is")
	}
	answer, err := rt.handle(&call{
		api: a, schedules: a.serving.schedules, ctx: ctx, request: r, query: query,
	})
	if errors.Is(err, context.Canceled) && a.closing.Err() != nil {
		return nil, problemf(kindUnavailable, "the server stops, and %s", perhaps)
	}
	return answer, err
}

// call is one request in work.
type call struct {
	api       *API
	schedules Schedules
	ctx       context.Context // ends with the client's patience, ours, or the server
	request   *http.Request
	query     query
}

// note writes down an order that was carried out.
func (c *call) note(what string, fields ...zap.Field) {
	c.api.o.Logger.Info(what, append(fields, zap.String("remote", c.request.RemoteAddr))...)
}

// writeJSON answers with a value. Errors of the connection are the client's to notice.
func writeJSON(w http.ResponseWriter, status int, mediaType string, value any) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		status, mediaType = http.StatusInternalServerError, "text/plain"
		body.Reset()
		body.WriteString("the answer cannot be encoded\n")
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
}
