package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
)

const (
	// askMax bounds one request. It is longer than the server takes for an order.
	askMax = time.Minute
	// answerBytesMax bounds one answer: the payload of one record, perhaps in base64.
	answerBytesMax = 256 << 20
)

// scheduleClient asks the HTTP API of a server.
type scheduleClient struct {
	addr string
	http *http.Client
}

func (s *scheduleCommand) client() *scheduleClient {
	return &scheduleClient{
		addr: s.httpAddr,
		// An answer that leads elsewhere is not ours.
		http: &http.Client{Timeout: askMax, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	}
}

// apiName is what the API calls a flag.
func apiName(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// schedulePath is where the API has one pending record, or a part of it.
func schedulePath(name [3]string, behind string) string {
	return "/v1/schedules/" + url.PathEscape(name[0]) + "/" + url.PathEscape(name[1]) + "/" +
		url.PathEscape(name[2]) + behind
}

// topicPath is where the API takes orders about a topic.
func topicPath(topic, verb string) string {
	return "/v1/topics/" + url.PathEscape(topic) + "/" + verb
}

// query writes parameters behind a path.
func query(path string, parameters map[string]any) string {
	values := url.Values{}
	for name, value := range parameters {
		values.Set(name, fmt.Sprint(value))
	}
	if len(values) == 0 {
		return path
	}
	return path + "?" + values.Encode()
}

// ask sends one request, with body as JSON unless it is nil, and decodes the answer. A problem that
// the server states comes back as *httpapi.Problem.
func (c *scheduleClient) ask(ctx context.Context, method, path string, body, into any) error {
	var sent io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, sent)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("%w; is a server there? --http names its --http-addr", cause(err))
	}
	defer func() { _ = response.Body.Close() }() // read to its end already, or failed
	text, err := io.ReadAll(io.LimitReader(response.Body, answerBytesMax))
	if err != nil {
		return fmt.Errorf("the answer of %s: %w", c.addr, err)
	}
	if response.StatusCode != http.StatusOK {
		return refusalOf(c.addr, response, text)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("%s does not answer as a server of this version does: %w", c.addr, err)
	}
	return nil
}

// cause drops the method and the URL that package http puts before an error.
func cause(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// refusalOf reads an answer that says no.
func refusalOf(addr string, response *http.Response, text []byte) error {
	var p httpapi.Problem
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/problem+json") &&
		json.Unmarshal(text, &p) == nil && p.Detail != "" {
		return &p
	}
	return fmt.Errorf("%s answers %s; is that the --http-addr of a server of this version?",
		addr, response.Status)
}
