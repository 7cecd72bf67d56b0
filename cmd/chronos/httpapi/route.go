package httpapi

import (
	_ "embed" // the description of the API
	"net/http"
)

// route is one way to call the API. The description in openapi.yaml has the same routes with the
// same parameters; a test compares them.
type route struct {
	method, path string
	query        []string // names of the parameters behind the question mark
	body         bool     // takes JSON
	steers       bool     // changes something; see guard
	document     document // answered as it is, without asking anyone
	handle       func(*call) (any, error)
}

const (
	schedulePath = "/v1/schedules/{topic}/{partition}/{position}"
	topicPath    = "/v1/topics/{topic}"
)

// filterQuery are the parameters that say which records are meant.
var filterQuery = []string{
	"topic", "partition", "key", "key_base64", "id", "id_base64", "due_from", "due_to", "limit",
	"cursor",
}

var routes = []route{
	{method: "GET", path: "/v1/openapi.yaml", document: description},
	{method: "GET", path: "/v1/schedules", query: filterQuery, handle: listSchedules},
	{method: "GET", path: "/v1/schedules/count", query: []string{"topic"}, handle: countSchedules},
	{
		method: "GET", path: "/v1/schedules/histogram", query: []string{"topic"},
		handle: histogramOfSchedules,
	},
	{method: "GET", path: schedulePath, handle: getSchedule},
	{method: "DELETE", path: schedulePath, steers: true, handle: cancelSchedule},
	{method: "POST", path: schedulePath + "/move", body: true, steers: true, handle: moveSchedule},
	{method: "POST", path: schedulePath + "/now", steers: true, handle: deliverNow},
	{method: "POST", path: "/v1/schedules/cancel", body: true, steers: true, handle: cancelMany},
	{method: "POST", path: "/v1/schedules/move", body: true, steers: true, handle: moveMany},
	{method: "POST", path: topicPath + "/pause", steers: true, handle: pauseTopic},
	{method: "POST", path: topicPath + "/resume", steers: true, handle: resumeTopic},
}

// document is an answer that never changes.
type document []byte

//go:embed openapi.yaml
var description document

func (d document) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(d) // a connection that breaks is the client's to notice
}
