// Command bench measures a built chronos server against a reference that does the least a server
// can: it parses each request, checks each batch's checksum, answers, and drops the records.
//
// Server, reference and client are three processes on the same machine, and the runs of reference
// and server alternate, because wall rates are only comparable within the same minute. Each figure
// is the median of its runs. The reference is this same program, started with the argument "drop",
// so that its absolute figures can be compared from one version of the server to the next.
//
//	go run ./integration/bench                       everything, some eight minutes
//	go run ./integration/bench -quick                everything, short runs: figures are rough
//	go run ./integration/bench -sections sync,lateness
//
// Flags: -runs and -seconds set how often and how long each case runs, -bin names a built server
// (default: build ./cmd/chronos), -dir the folder for its data (default: the temporary folder;
// its disk is the one that is measured), -pending the number of pending records.
package main
