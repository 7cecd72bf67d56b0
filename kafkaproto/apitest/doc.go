// Package apitest is a stand-in for the floors below the front end, for tests: partitions that keep
// their batches in memory and become durable when a test says so, and a group coordinator that
// answers what it is told. Only tests import it.
package apitest
