// Command chronos is the ChronosDB server: a log server that speaks the Kafka protocol and
// delivers records when they are due.
//
// This package only wires. Flags, environment and configuration file become one Config
// (config.go). serve.go opens the floors below in order and closes them in reverse. http.go answers
// /health and /metrics and passes /v1 on to package httpapi, exporter.go turns each package's
// Metrics snapshot into Prometheus families, and adapter.go joins the two towers: a replication
// partition becomes an offsets log of package groups. The files log_ and schedule_ are the commands
// beside serve.
package main
