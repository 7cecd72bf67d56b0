package httpapi_test

import (
	"net/http"
	"testing"
)

func TestGuard(t *testing.T) {
	const local, remote, v6 = "127.0.0.1:5000", "192.0.2.7:5000", "[::1]:5000"
	type headers map[string]string
	for _, test := range []struct {
		name         string
		remote, host string
		headers      headers
		read         bool // whether each is answered
		order        bool
		orderAllowed bool // with --http-allow-remote-writes
	}{
		{"curl here", local, "127.0.0.1:8080", nil, true, true, true},
		{"by name", local, "localhost:8080", nil, true, true, true},
		{"by name, no port", local, "LocalHost", nil, true, true, true},
		{"IPv6", v6, "[::1]:8080", nil, true, true, true},
		{"IPv6, no port", v6, "[::1]", nil, true, true, true},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:1", "127.0.0.1", nil, true, true, true},
		{"another machine", remote, "192.0.2.1:8080", nil, true, false, true},
		{"another machine by name", remote, "chronos.example:8080", nil, true, false, true},
		{"proxy here", local, "127.0.0.1:8080", headers{"X-Forwarded-For": "192.0.2.7"}, true, false, true},
		{"other proxy here", local, "127.0.0.1:8080", headers{"Forwarded": "for=192.0.2.7"}, true, false, true},
		{"rebound name", local, "evil.example:8080", nil, false, false, false},
		{"rebound name, browser", local, "evil.example", headers{"Origin": "http://evil.example"}, false, false, false},
		{"rebound name elsewhere", remote, "evil.example", headers{"Origin": "http://evil.example"}, true, false, false},
		{"like an address", local, "127.0.0.1.evil.example", nil, false, false, false},
		{"like localhost", local, "localhost.evil.example", nil, false, false, false},
		{"no host", local, "", nil, false, false, false},
		{"another site", local, "127.0.0.1:8080", headers{"Origin": "https://evil.example"}, true, false, false},
		{"another port", local, "127.0.0.1:8080", headers{"Origin": "http://127.0.0.1:3000"}, true, false, false},
		{"sandboxed page", local, "127.0.0.1:8080", headers{"Origin": "null"}, true, false, false},
		{"cross-site fetch", local, "127.0.0.1:8080", headers{"Sec-Fetch-Site": "cross-site"}, true, false, false},
		{"same-site fetch", local, "127.0.0.1:8080", headers{"Sec-Fetch-Site": "same-site"}, true, false, false},
		{"own page", local, "127.0.0.1:8080", headers{"Origin": "http://127.0.0.1:8080"}, true, true, true},
		{"own page of a newer browser", local, "127.0.0.1:8080", headers{"Sec-Fetch-Site": "same-origin"}, true, true, true},
		{"own page elsewhere", remote, "192.0.2.1:8080", headers{"Origin": "http://192.0.2.1:8080"}, true, false, true},
		{"odd remote", "pipe", "127.0.0.1:8080", nil, true, false, true},
	} {
		for _, allow := range []bool{false, true} {
			order := test.order
			if allow {
				order = test.orderAllowed
			}
			for _, c := range []struct {
				method, target string
				want           bool
			}{
				{"GET", "/v1/schedules", test.read},
				{"POST", "/v1/schedules/orders/0/3.0.0/now", order},
				{"DELETE", "/v1/schedules/orders/0/3.0.0", order},
				{"POST", "/v1/topics/orders/pause", order},
			} {
				x := newNode(t, 1, allow)
				r := request(c.method, c.target, "")
				r.RemoteAddr, r.Host = test.remote, test.host
				for name, value := range test.headers {
					r.Header.Set(name, value)
				}
				w := x.do(r)
				want := http.StatusForbidden
				if c.want {
					want = http.StatusOK
				}
				if w.Code != want {
					t.Errorf("%s, remote writes %v: %s %s is answered %d, want %d: %s",
						test.name, allow, c.method, c.target, w.Code, want, w.Body)
				}
			}
		}
	}
}
