package harness

import (
	"os"
	"testing"
)

// RequireClientsEnv is the variable that forbids skips: with the value 1 a missing tool fails the
// test that needs it.
const RequireClientsEnv = "CHRONOS_REQUIRE_CLIENTS"

// Missing skips the test because something outside the repository is absent, or fails it where
// skips are forbidden. The text says what is absent and how to install it.
func Missing(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv(RequireClientsEnv) == "1" {
		tb.Fatalf(RequireClientsEnv+"=1 forbids this skip: "+format, args...)
	}
	tb.Skipf(format, args...)
}
