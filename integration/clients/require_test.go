package clients

import (
	"os"
	"testing"
)

// missing skips a test, or fails it where CHRONOS_REQUIRE_CLIENTS=1 forbids skips.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CHRONOS_REQUIRE_CLIENTS") == "1" {
		t.Fatalf("CHRONOS_REQUIRE_CLIENTS=1 forbids this skip: "+format, args...)
	}
	t.Skipf(format, args...)
}
