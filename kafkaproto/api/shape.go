package api

import "encoding/binary"

// Before kmsg decodes a request, its shape is walked without keeping anything. kmsg alone would
//   - make arrays of as many elements as bytes are left before it finds the first one missing;
//   - count on through four thousand million tagged fields that are not there: a frame of twenty
//     bytes keeps a processor busy for most of a minute.
//
// The walk finds both, and counts what the decoded form will take, so that what a request was
// charged for is more than a guess. shapes.go has the shapes; a test holds them against kmsg's
// encoder in every version.

// tagsMax bounds the tagged fields of one structure. No client sends unknown ones today.
const tagsMax = 64

// What decoded parts take in memory, rounded up.
const (
	elementBytes = 160 // a structure in an array
	scalarBytes  = 48  // a number, or a string beside its bytes, in an array
	tagsBytes    = 400 // the map of a structure with unknown tagged fields
	tagBytes     = 64  // one of them
)

// Memory that requests may need beside their frames.
const (
	// decodeFactor times its size is what a request of any API but Produce is charged.
	decodeFactor = 64
	// produceFactor is the same for a Produce request, whose records stay in the frame: for its
	// first produceFactorBytes, as beyond them it has to be mostly records. A topic with one batch
	// of one small record takes nine times its size.
	produceFactor      = 12
	produceFactorBytes = 1 << 20
	memoryMin          = 8 << 10
)

// MemoryOf is how much memory a request of one API and that many bytes may need beside them. Start
// refuses those that would need more.
func MemoryOf(key int16, frameBytes int64) int64 {
	if key == produceKey {
		return memoryMin + produceFactor*min(frameBytes, produceFactorBytes)
	}
	return memoryMin + decodeFactor*frameBytes
}

// kind is how a field is encoded.
type kind uint8

const (
	fixed  kind = iota // so many bytes
	text               // a string, null or not
	blob               // bytes, null or not
	array              // a length and so many elements
	nested             // a structure, in a tagged field
)

// field is one field of a structure. The zero since and until mean every version.
type field struct {
	kind         kind
	size         int // fixed; array: size of fixed elements, 0 for structures, -1 for strings
	since, until int16
	fields       structure // array, nested
	memory       int64     // array: of one element, if not elementBytes
}

// structure is fields, and the known tagged ones.
type structure struct {
	fields []field
	tagged []field // by tag number
}

func (f field) from(version int16) field { f.since = version; return f }

func (f field) to(version int16) field { f.until = version; return f }

func (f field) in(version int16) bool {
	return version >= f.since && (f.until == 0 || version <= f.until)
}

// walk is a position in a body. Once bad it stays bad, and everything reads as zero.
type walk struct {
	p        []byte
	version  int16
	flexible bool
	bad      bool
	memory   int64 // what the decoded form takes so far
}

// checkShape walks a body. It returns ErrMalformed if the body ends too early, has too many tagged
// fields, or would take more memory than it may.
func (r row) checkShape(version int16, flexible bool, body []byte) error {
	w := walk{p: body, version: version, flexible: flexible}
	w.structure(r.shape)
	if w.bad {
		return malformed("it ends too early, or has more than %d tagged fields", tagsMax)
	}
	if may := MemoryOf(r.key, int64(len(body))); w.memory > may {
		return malformed("decoding its %d bytes takes %d; it may take %d", len(body), w.memory, may)
	}
	return nil
}

func (w *walk) structure(s structure) {
	for i := range s.fields {
		if s.fields[i].in(w.version) {
			w.field(&s.fields[i])
		}
		if w.bad {
			return
		}
	}
	if w.flexible {
		w.tags(s.tagged)
	}
}

func (w *walk) field(f *field) {
	switch f.kind {
	case fixed:
		w.skip(f.size)
	case text:
		w.skip(max(w.stringLength(), 0))
	case blob:
		w.skip(max(w.length(), 0))
	case array:
		w.array(f)
	case nested:
		w.structure(f.fields)
	}
}

func (w *walk) array(f *field) {
	n := max(w.length(), 0)
	if n > len(w.p) {
		w.fail()
		return
	}
	switch {
	case f.size > 0:
		w.memory += int64(n) * scalarBytes
		w.skip(n * f.size)
	case f.size < 0:
		w.memory += int64(n) * scalarBytes
		for range n {
			w.skip(max(w.stringLength(), 0))
			if w.bad {
				return
			}
		}
	default:
		w.memory += int64(n) * max(f.memory, elementBytes)
		for range n {
			w.structure(f.fields)
			if w.bad {
				return
			}
		}
	}
}

// tags walks a tagged field section. A known field that is longer than its number says is found by
// kmsg, which reads it within its size.
func (w *walk) tags(known []field) {
	n := w.uvarint()
	if n > tagsMax {
		w.fail()
	}
	unknown := false
	for range n {
		number, size := w.uvarint(), w.uvarint()
		if size > uint64(len(w.p)) {
			w.fail()
		}
		if w.bad {
			return
		}
		inside := walk{p: w.p[:size], version: w.version, flexible: true}
		if number < uint64(len(known)) {
			inside.field(&known[number])
			w.bad = w.bad || inside.bad
			w.memory += inside.memory
		} else {
			unknown = true
			w.memory += tagBytes
		}
		w.skip(int(size))
	}
	if unknown {
		w.memory += tagsBytes
	}
}

func (w *walk) fail() { w.p, w.bad = nil, true }

func (w *walk) skip(n int) {
	if n < 0 || n > len(w.p) {
		w.fail()
		return
	}
	w.p = w.p[n:]
}

func (w *walk) uvarint() uint64 {
	v, rest, err := uvarint(w.p)
	if err != nil {
		w.fail()
		return 0
	}
	w.p = rest
	return v
}

// stringLength reads the length of a string; negative is null.
func (w *walk) stringLength() int {
	if w.flexible {
		return int(w.uvarint()) - 1
	}
	if len(w.p) < 2 {
		w.fail()
		return 0
	}
	n := int(int16(binary.BigEndian.Uint16(w.p)))
	w.skip(2)
	return n
}

// length reads the length of bytes or of an array; negative is null.
func (w *walk) length() int {
	if w.flexible {
		return int(w.uvarint()) - 1
	}
	if len(w.p) < 4 {
		w.fail()
		return 0
	}
	n := int(int32(binary.BigEndian.Uint32(w.p)))
	w.skip(4)
	return n
}
