package api

import "encoding/binary"

// The encoder of Fetch responses. kmsg's needs all records in memory of their own before it copies
// them into the response; this one lets the log append them to the response itself. It agrees with
// kmsg byte for byte in every version, which a differential test and a fuzz target prove.

// First versions in which something changed in the response.
const (
	fetchFlexible      = 12
	fetchTopicIDs      = 13
	fetchSessionsSince = 7
	fetchPreferred     = 11
	fetchLogStart      = 5
	fetchLeaderHint    = 16
)

// recordsGuessBytes is how long the length before the records is expected to be in a flexible
// version, if nothing better is known. It is right from 16 KiB to 2 MiB; otherwise the records are
// moved, which is cheap for few.
const recordsGuessBytes = 3

// abortedTxn is a transaction that a reader of committed records must skip.
type abortedTxn struct{ producerID, firstOffset int64 }

// epochOffset is where two logs part (tag 0).
type epochOffset struct {
	epoch  int32
	offset int64
}

// leaderEpoch is who leads a partition (tag 1).
type leaderEpoch struct{ leader, epoch int32 }

// endpoint is how to reach a node.
type endpoint struct {
	node int32
	host string
	port int32
}

// fetchedPartition is what is said of a partition beside its records.
type fetchedPartition struct {
	index         int32
	code          int16
	highWatermark int64
	lastStable    int64
	logStart      int64
	// aborted is nil for a reader that does not ask, and then null.
	aborted   []abortedTxn
	preferred int32 // read replica, -1 for none
	diverging *epochOffset
	leader    *leaderEpoch
}

// fetchEncoder appends a response of one version to dst.
type fetchEncoder struct {
	dst      []byte
	version  int16
	flexible bool
}

func newFetchEncoder(dst []byte, version int16) fetchEncoder {
	return fetchEncoder{dst: dst, version: version, flexible: version >= fetchFlexible}
}

// sessionOffset is where the session id lies in a response that has one.
const sessionOffset = 4 + 2

// begin opens the response; at most n topics follow, whose number endTopics writes.
func (e *fetchEncoder) begin(code int16, session int32, n int) arrayLength {
	e.dst = binary.BigEndian.AppendUint32(e.dst, 0) // throttle
	if e.version >= fetchSessionsSince {
		e.dst = binary.BigEndian.AppendUint16(e.dst, uint16(code))
		e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(session))
	}
	return e.openArray(n)
}

// setSession writes the session id into the response that begins at start.
func (e *fetchEncoder) setSession(start int, id int32) {
	if e.version >= fetchSessionsSince {
		binary.BigEndian.PutUint32(e.dst[start+sessionOffset:], uint32(id))
	}
}

// arrayLength is the place of an array's length that is not known yet.
type arrayLength struct {
	at    int // in dst
	bytes int // that are kept for it
}

// openArray keeps room for the length of an array of at most n.
func (e *fetchEncoder) openArray(n int) arrayLength {
	a := arrayLength{at: len(e.dst)}
	e.length(n)
	a.bytes = len(e.dst) - a.at
	return a
}

// closeArray writes the length. If it takes less room than was kept, what follows is moved: that
// takes more than 126 partitions of a topic, of which fewer are named.
func (e *fetchEncoder) closeArray(a arrayLength, n int) {
	var head [binary.MaxVarintLen32]byte
	length := appendLength(head[:0], n, e.flexible)
	copy(e.dst[a.at:], length)
	if less := a.bytes - len(length); less > 0 {
		copy(e.dst[a.at+len(length):], e.dst[a.at+a.bytes:])
		e.dst = e.dst[:len(e.dst)-less]
	}
}

// topic opens a topic; at most n partitions follow, whose number endTopic writes.
func (e *fetchEncoder) topic(name string, id [16]byte, n int) arrayLength {
	if e.version >= fetchTopicIDs {
		e.dst = append(e.dst, id[:]...)
	} else {
		e.dst = appendString(e.dst, name, e.flexible)
	}
	return e.openArray(n)
}

// endTopic closes a topic of n partitions.
func (e *fetchEncoder) endTopic(a arrayLength, n int) {
	e.closeArray(a, n)
	e.noTags()
}

// end closes the response, with the nodes that leaders were named of.
func (e *fetchEncoder) end(nodes []endpoint) {
	if !e.flexible {
		return
	}
	if len(nodes) == 0 {
		e.noTags()
		return
	}
	e.dst = append(e.dst, 1, 0) // one tagged field, number 0
	at := len(e.dst)
	e.length(len(nodes))
	for _, n := range nodes {
		e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(n.node))
		e.dst = appendString(e.dst, n.host, true)
		e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(n.port))
		e.dst = append(e.dst, 0, 0) // no rack, no tags
	}
	e.insertSize(at)
}

// insertSize puts the size of what follows at before it.
func (e *fetchEncoder) insertSize(at int) {
	size := len(e.dst) - at
	var head [binary.MaxVarintLen32]byte
	n := binary.PutUvarint(head[:], uint64(size))
	e.dst = append(e.dst, head[:n]...)
	copy(e.dst[at+n:], e.dst[at:at+size])
	copy(e.dst[at:], head[:n])
}

// reserve leaves room for the fields of a partition before its records, and returns where the
// partition begins. Whoever has the records appends them to dst, then calls finish. If there are
// about as many bytes of them as expected, they need not be moved then.
func (e *fetchEncoder) reserve(expected int) (at int) {
	at = len(e.dst)
	n := 4 + 2 + 8 + 8
	if e.version >= fetchLogStart {
		n += 8
	}
	if e.version >= fetchPreferred {
		n += 4
	}
	if e.flexible {
		var length [binary.MaxVarintLen64]byte
		n++ // no aborted transactions
		n += max(recordsGuessBytes, binary.PutUvarint(length[:], uint64(expected)+1))
	} else {
		n += 4 + 4
	}
	var zeros [64]byte
	e.dst = append(e.dst, zeros[:n]...)
	return at
}

// finish writes the fields of the partition that began at. Its records are in dst, from recordsAt
// on.
func (e *fetchEncoder) finish(at, recordsAt int, p fetchedPartition) {
	var fields [128]byte
	head := e.appendFields(fields[:0], p, len(e.dst)-recordsAt)
	if room := recordsAt - at; len(head) != room {
		records := e.dst[recordsAt:]
		if grown := len(head) - room; grown > 0 {
			e.dst = append(e.dst, head[:grown]...) // any bytes will do: they are moved over
		}
		copy(e.dst[at+len(head):], records)
		e.dst = e.dst[:at+len(head)+len(records)]
	}
	copy(e.dst[at:], head)
	e.partitionTags(p)
}

// appendFields appends everything up to the records themselves.
func (e *fetchEncoder) appendFields(dst []byte, p fetchedPartition, recordBytes int) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.index))
	dst = binary.BigEndian.AppendUint16(dst, uint16(p.code))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.highWatermark))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.lastStable))
	if e.version >= fetchLogStart {
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.logStart))
	}
	n := len(p.aborted)
	if p.aborted == nil {
		n = -1
	}
	dst = appendLength(dst, n, e.flexible)
	for _, a := range p.aborted {
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.producerID))
		dst = binary.BigEndian.AppendUint64(dst, uint64(a.firstOffset))
		if e.flexible {
			dst = append(dst, 0)
		}
	}
	if e.version >= fetchPreferred {
		dst = binary.BigEndian.AppendUint32(dst, uint32(p.preferred))
	}
	// Never null, even with an error: kafka-python cannot read null records.
	return appendLength(dst, recordBytes, e.flexible)
}

func (e *fetchEncoder) partitionTags(p fetchedPartition) {
	if !e.flexible {
		return
	}
	var tags byte
	if p.diverging != nil {
		tags++
	}
	if p.leader != nil {
		tags++
	}
	e.dst = append(e.dst, tags)
	if d := p.diverging; d != nil {
		e.dst = append(e.dst, 0, 4+8+1)
		e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(d.epoch))
		e.dst = binary.BigEndian.AppendUint64(e.dst, uint64(d.offset))
		e.dst = append(e.dst, 0)
	}
	if l := p.leader; l != nil {
		e.dst = append(e.dst, 1, 4+4+1)
		e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(l.leader))
		e.dst = binary.BigEndian.AppendUint32(e.dst, uint32(l.epoch))
		e.dst = append(e.dst, 0)
	}
}

// length appends the length of an array.
func (e *fetchEncoder) length(n int) { e.dst = appendLength(e.dst, n, e.flexible) }

func (e *fetchEncoder) noTags() {
	if e.flexible {
		e.dst = append(e.dst, 0)
	}
}

// appendLength appends the length of an array or of bytes; -1 is null.
func appendLength(dst []byte, n int, flexible bool) []byte {
	if flexible {
		return binary.AppendUvarint(dst, uint64(n+1))
	}
	return binary.BigEndian.AppendUint32(dst, uint32(int32(n)))
}

func appendString(dst []byte, s string, flexible bool) []byte {
	if flexible {
		dst = binary.AppendUvarint(dst, uint64(len(s))+1)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(s)))
	}
	return append(dst, s...)
}
