// Package clock is the only source of time in ChronosDB.
//
// Every part that needs the time of day or a timer takes a [Clock] from its options. A server
// gets [Real]; a test gets a [Manual] clock and decides itself when time passes, so that a test of
// a delay of thirty days runs in a microsecond and never sleeps.
//
// [UnixMs] is the unit of every timestamp that is stored or compared: whole milliseconds since the
// Unix epoch, as in Kafka's record format. Conversions round so that nothing becomes due early:
// the present is rounded down, a due time up.
package clock
