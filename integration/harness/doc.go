// Package harness runs the built chronos binary as its users do and talks to it from outside.
//
// It starts servers in their own process groups, kills them with SIGKILL, stops them with SIGTERM,
// starts them again on the same data and ports, scrapes their metrics, and speaks raw Kafka frames
// where a client library would hide what the wire carries. It imports nothing of the server, so
// that a test built on it can only be right about what a client sees.
//
// Two environment variables steer it: CHRONOS_BIN names a binary to test instead of building
// ./cmd/chronos, and CHRONOS_REQUIRE_CLIENTS=1 turns each skip for a missing tool into a failure.
package harness
