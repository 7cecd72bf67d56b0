package api

import "encoding/binary"

// Memory of a produce request beside its records: what kmsg decodes each topic and partition to,
// and what its answer and its Ack take.
const (
	produceTopicBytes     = 160
	producePartitionBytes = 400
)

const (
	// produceFactor is how much memory a produce request may need beside its frame, for each of
	// the frame's first produceFactorBytes. A batch of one small record needs five times its size.
	produceFactor      = 7
	produceFactorBytes = 1 << 20
	produceMemoryMin   = 8 << 10
	// bodyTagsMax bounds the unknown tagged fields of one structure in a produce request.
	bodyTagsMax = 64
)

// ProduceMemory is how much memory a produce request of that many bytes may need beside them.
func ProduceMemory(frameBytes int64) int64 {
	return produceMemoryMin + produceFactor*min(frameBytes, produceFactorBytes)
}

// checkProduceShape walks a produce request without keeping anything, and refuses one whose
// decoded form would be larger than it was charged for. Produce alone may have large frames, and
// kmsg would make an array of as many elements as bytes are left before it finds the first missing.
func checkProduceShape(version int16, body []byte) error {
	s := shape{p: body, flexible: version >= 9}
	s.nullable(s.stringLength()) // transactional id
	s.skip(2 + 4)                // acks, timeout
	topics, partitions := s.arrayLength(), 0
	for i := 0; i < topics && !s.bad; i++ {
		if version >= 13 {
			s.skip(16)
		} else {
			s.nullable(s.stringLength())
		}
		n := s.arrayLength()
		partitions += n
		for j := 0; j < n && !s.bad; j++ {
			s.skip(4)
			s.nullable(s.bytesLength())
			s.tags()
		}
		s.tags()
	}
	s.tags()
	if s.bad {
		return malformed("it ends too early, or has too many tagged fields")
	}
	need := int64(topics)*produceTopicBytes + int64(partitions)*producePartitionBytes
	if most := ProduceMemory(int64(len(body))); need > most {
		return malformed("%d topics and %d partitions in %d bytes", topics, partitions, len(body))
	}
	return nil
}

// shape walks encoded fields. Once bad it stays bad, and everything reads as zero.
type shape struct {
	p        []byte
	flexible bool
	bad      bool
}

func (s *shape) skip(n int) {
	if n < 0 || n > len(s.p) {
		s.p, s.bad = nil, true
		return
	}
	s.p = s.p[n:]
}

// nullable skips n bytes, of which a negative number means null.
func (s *shape) nullable(n int) {
	if n > 0 {
		s.skip(n)
	}
}

func (s *shape) uvarint() uint64 {
	v, rest, err := uvarint(s.p)
	if err != nil {
		s.p, s.bad = nil, true
		return 0
	}
	s.p = rest
	return v
}

func (s *shape) stringLength() int {
	if s.flexible {
		return int(s.uvarint()) - 1
	}
	if len(s.p) < 2 {
		s.bad = true
		return 0
	}
	n := int(int16(binary.BigEndian.Uint16(s.p)))
	s.skip(2)
	return n
}

func (s *shape) bytesLength() int {
	if s.flexible {
		return int(s.uvarint()) - 1
	}
	if len(s.p) < 4 {
		s.bad = true
		return 0
	}
	n := int(int32(binary.BigEndian.Uint32(s.p)))
	s.skip(4)
	return n
}

// arrayLength reads a length that the bytes left could hold; null is 0.
func (s *shape) arrayLength() int {
	n := s.bytesLength()
	if n > len(s.p) {
		s.p, s.bad = nil, true
	}
	if s.bad {
		return 0
	}
	return max(n, 0)
}

func (s *shape) tags() {
	if !s.flexible || s.bad {
		return
	}
	rest, err := skipTags(s.p, bodyTagsMax)
	if err != nil {
		s.p, s.bad = nil, true
		return
	}
	s.p = rest
}
