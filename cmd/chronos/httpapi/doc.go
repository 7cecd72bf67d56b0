// Package httpapi lets people and programs see what is scheduled and steer it, as JSON over HTTP
// under /v1. The file openapi.yaml, which is served too, describes every route; a test holds it
// against the table of routes and against what they answer.
//
// An order that fails with 4xx has done nothing. Every order can be repeated: what is not pending
// any more is an answer, not an error. What takes many records at once is bounded and goes on by a
// cursor.
//
// There is no authentication. So orders are taken from this machine only, unless the operator says
// otherwise, and never from a page of another site that happens to be open in a browser here: see
// guard.go.
package httpapi
