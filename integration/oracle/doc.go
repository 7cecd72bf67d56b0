// Package oracle judges what a log server did from what its clients saw.
//
// It keeps a history of its own: every batch that a producer sent, at which times it was offered to
// the server, what was answered, and every record that a consumer read. It decodes batches with
// kmsg and the standard library and imports nothing of the server, so that a mistake in the
// server's codecs or records cannot hide itself by being made on both sides.
//
// The rules: an acknowledged record is shown once and never lost; none is shown early; an offset
// holds the same record for ever and offsets have no gap; what a consumer saw or a producer was
// told outlives every crash; a producer's batches survive as a prefix and are shown in their order;
// what is due is shown in due order among what was armed; a retry is answered like the first time.
// Every rule has a sentinel in errors.go and a test that breaks it.
package oracle
