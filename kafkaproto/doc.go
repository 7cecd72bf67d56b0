// Package kafkaproto is the front end that speaks Kafka's wire protocol: it accepts connections,
// cuts frames, hands requests to package api and writes the answers in the order of the requests.
//
// A connection has two goroutines. The reader cuts one frame at a time, runs its first stage and
// puts the reply, which may not be known yet, into a bounded queue. The writer takes replies from
// the queue in order, waits for each, and sends several with one write when they are ready
// together. So requests of one connection are answered in order while several are in work, and a
// client that does not read its answers stops being read.
//
// What a client can make the server hold is bounded by names: MaxRequestBytes and
// OtherRequestBytesMax for one frame, the budgets in budget.go for all requests and all answers
// together, ConnectionsMax, the queue of a connection, and a deadline for each thing a peer can be
// waited for (deadline.go). A buffer never grows further ahead of what has arrived than the peer
// has earned by sending frames of that size before (frame.go).
//
// A panic while a request is decoded or handled closes its connection only. A panic in the floors
// below ends the process: recovery is tested, a half-changed state is not (panics.go).
package kafkaproto
