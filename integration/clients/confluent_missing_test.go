//go:build !cgo

package clients

// confluentClient is absent: librdkafka is C.
var confluentClient = client{name: "confluent-kafka-go"}
