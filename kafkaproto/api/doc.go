// Package api is what the server can be asked in the Kafka protocol: one file per API, each with
// what it does, what it knowingly does not, and what changed with its versions.
//
// The table in table.go is the only list of APIs. What ApiVersions answers, what a request is
// dispatched to and the list in APIS.md are all derived from it.
//
// A request passes through two stages. Service.Start runs the first one on the goroutine that
// reads the connection, in the order of the requests: it decodes, and it does what must happen in
// that order, such as appending a batch. The Reply that it returns is completed on the goroutine
// that writes the connection, when its turn comes: that is where produce requests wait for the
// disk and fetch requests for data, parked on channels, never polling.
//
// The server's lower floors appear here as the small interfaces Replicas, Partition and Groups.
// They know nothing of Kafka's error codes: errors.go turns their errors into codes, in one table.
package api
