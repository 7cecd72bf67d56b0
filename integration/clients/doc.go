// Package clients tests the built server with the Kafka clients that are not franz-go: sarama,
// segmentio/kafka-go, and confluent-kafka-go over librdkafka.
//
// It is a module of its own, so that these clients are no dependencies of the product, and it
// imports nothing of the server: it builds ./cmd/chronos from the folder above, or runs the binary
// that CHRONOS_BIN names. Every client goes through the same tests, behind one small adapter each.
package clients
