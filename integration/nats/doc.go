// Command nats is the peer of the benchmark's schedule sections: the NATS server with JetStream and
// its message schedules (ADR-51), and a client that puts the same loads on it as the benchmark puts
// on chronos. It is a module of its own, so that nothing else depends on NATS; integration/bench
// builds it and starts it as child processes.
//
//	nats serve ADDR HTTP-ADDR DIR default|always    a server, until SIGTERM
//	nats accept ADDR                                schedules for as long as a run lasts
//	nats fill ADDR                                  a number of schedules that stay
//	nats deliver ADDR                               schedules at a rate, and how late they came
//	nats probe ADDR                                 one schedule, and how late it came
//	nats traffic ADDR                               ordinary messages until its input is closed
//
// "default" leaves sync_interval as it is, two minutes, so an acknowledged message is not on the
// disk yet; "always" syncs before each acknowledgement, as chronos does. Each client command prints
// one JSON object, with durations in nanoseconds; -h lists its flags.
package main
