// Command bench measures a built chronos server against a reference that does the least a server
// can: it parses each request, checks each batch's checksum, answers, and drops the records.
//
// Server, reference and client are three processes on the same machine, and the runs of reference
// and server alternate, because wall rates are only comparable within the same minute. Each figure
// is that of the run with the median rate; none is left out, and all are printed below each table.
// The reference is this same program, started with the argument "drop", so that its absolute
// figures can be compared from one version of the server to the next. To consumers it sends one
// batch from its memory again and again. Started with "kfake" it is the peer: the Kafka of franz-go
// for tests, on disk, with fsync. CPU time is that of the processes, from /proc.
//
// The sections about schedules ("schedule", "lateness", "burst", "spread", "pending", some six
// minutes) have two more in turn with the server. Started with "timer" this program is the floor of
// lateness: it wakes at each due time, syncs, and sends. And integration/nats, built from its own
// module, is the NATS server with message schedules, as it comes and with a sync before each
// acknowledgement.
//
//	go run ./integration/bench                       everything, some 25 minutes and 60 GB of disk
//	go run ./integration/bench -quick                short runs, two minutes: figures are rough
//	go run ./integration/bench -sections sync,hot
//	go run ./integration/bench -markdown             tables to paste
//
// Flags: -runs and -seconds set how often and how long each case runs, -bin names a built server
// (default: build ./cmd/chronos), -dir the folder for its data (default: the temporary folder;
// its disk is the one that is measured). The section "sustained" is left out of a quick run. The
// sizes of the schedule sections are flags too: -pending 100000000 -kinds plain is the largest one,
// by hand, some 20 GB; -nats-pending 0 leaves NATS out of a section, as -nats=false out of all.
package main
