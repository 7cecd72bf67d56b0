// Package integration tests the built server as its users meet it: real Kafka clients and kcat
// over TCP, SIGKILL in the middle of work, restarts on the same data.
//
// It reads nothing of the server but what the wire, /health, /metrics and the exit code say. The
// server that most tests share is started once; tests that kill a server start their own. The
// clients other than franz-go live in the nested module integration/clients, so that the product
// does not depend on them.
package integration
