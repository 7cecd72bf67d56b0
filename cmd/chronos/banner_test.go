package main

import (
	"net"
	"net/http/httptest"
	"strings"
	"testing"
)

func tcp(t *testing.T, text string) net.Addr {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestBannerWarns(t *testing.T) {
	for name, test := range map[string]struct {
		listen, chosen, bound, web string
		advertised                 string
		warnings                   []string
		remoteWrites               bool
	}{
		"loopback": {
			listen: "127.0.0.1:9092", bound: "127.0.0.1:9092", web: "127.0.0.1:8080",
			advertised: "127.0.0.1:9092",
		},
		"loopback by name, free port": {
			listen: "localhost:0", bound: "127.0.0.1:4711", web: "[::1]:8080",
			advertised: "localhost:4711",
		},
		"every interface": {
			listen: "0.0.0.0:9092", bound: "0.0.0.0:9092", web: "127.0.0.1:8080",
			advertised: "127.0.0.1:9092", warnings: []string{"no authentication", "--advertised-addr"},
		},
		"every interface, no host": {
			listen: ":9092", bound: "[::]:9092", web: "127.0.0.1:8080",
			advertised: "127.0.0.1:9092", warnings: []string{"no authentication", "--advertised-addr"},
		},
		"every interface, advertised": {
			listen: "0.0.0.0:9092", chosen: "broker.example.com:9092", bound: "0.0.0.0:9092",
			web: "0.0.0.0:8080", advertised: "broker.example.com:9092",
			warnings: []string{"no authentication", "0.0.0.0:8080 is open"},
		},
		"HTTP orders from everyone": {
			listen: "127.0.0.1:9092", bound: "127.0.0.1:9092", web: "192.0.2.7:8080", remoteWrites: true,
			advertised: "127.0.0.1:9092", warnings: []string{"can read metrics and what is scheduled, cancel"},
		},
		"every interface, advertised as localhost": {
			listen: "0.0.0.0:9092", chosen: "localhost:9092", bound: "0.0.0.0:9092",
			web: "127.0.0.1:8080", advertised: "localhost:9092",
			warnings: []string{"no authentication", "--advertised-addr"},
		},
		"one interface": {
			listen: "192.0.2.7:9092", bound: "192.0.2.7:9092", web: "127.0.0.1:8080",
			advertised: "192.0.2.7:9092", warnings: []string{"no authentication"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := banner{kafka: tcp(t, test.bound), web: tcp(t, test.web), dataDir: "./data"}
			b.remoteWrites = test.remoteWrites
			b.advertised = advertisedFor(test.chosen, test.listen, b.kafka)
			if b.advertised != test.advertised {
				t.Errorf("advertised %s, want %s", b.advertised, test.advertised)
			}
			got := b.warnings()
			if len(got) != len(test.warnings) {
				t.Fatalf("warnings %q, want %d", got, len(test.warnings))
			}
			for i, part := range test.warnings {
				if !strings.Contains(got[i], part) {
					t.Errorf("warning %q does not say %q", got[i], part)
				}
			}
			var out strings.Builder
			b.print(&out)
			if strings.Contains(out.String(), "http://[::]") || strings.Contains(out.String(), "http://0.0.0.0") {
				t.Errorf("a link leads nowhere:\n%s", out.String())
			}
			for _, part := range []string{test.bound, "./data", "/health", "kcat -b " + b.advertised} {
				if !strings.Contains(out.String(), part) {
					t.Errorf("the banner does not say %q:\n%s", part, out.String())
				}
			}
		})
	}
}

func TestHealth(t *testing.T) {
	h := newHealth()
	ask := func() (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/health", nil))
		return w.Code, strings.TrimSpace(w.Body.String())
	}
	if code, body := ask(); code != 503 || body != "starting" {
		t.Errorf("before: %d %q", code, body)
	}
	h.ready.Store(true)
	if code, body := ask(); code != 200 || body != "OK" {
		t.Errorf("serving: %d %q", code, body)
	}
	h.notReady("draining")
	if code, body := ask(); code != 503 || body != "draining" {
		t.Errorf("draining: %d %q", code, body)
	}
}
