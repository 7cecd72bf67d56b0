package api

import (
	"encoding/binary"
	"fmt"
)

// HeaderBytesMin is the shortest request that can be: key, version and correlation id.
const HeaderBytesMin = 8

// Header is what every request begins with.
type Header struct {
	Key           int16
	Version       int16
	CorrelationID int32
	ClientID      string // empty if null
}

// parsePrefix reads the fixed part, which is the same in every version of every request. The
// caller has made sure that there are HeaderBytesMin bytes.
func parsePrefix(frame []byte) Header {
	return Header{
		Key:           int16(binary.BigEndian.Uint16(frame)),
		Version:       int16(binary.BigEndian.Uint16(frame[2:])),
		CorrelationID: int32(binary.BigEndian.Uint32(frame[4:])),
	}
}

// parseRest reads the client id and, in a flexible version, the tagged fields, which are
// skipped. It returns the body.
func (h *Header) parseRest(frame []byte, flexible bool) ([]byte, error) {
	p := frame[HeaderBytesMin:]
	if len(p) < 2 {
		return nil, malformed("request header ends before the client id")
	}
	n := int(int16(binary.BigEndian.Uint16(p)))
	p = p[2:]
	if n >= 0 {
		if n > len(p) {
			return nil, malformed("client id of %d bytes, %d are left", n, len(p))
		}
		h.ClientID = string(p[:n])
		p = p[n:]
	}
	if !flexible {
		return p, nil
	}
	return skipTags(p)
}

// skipTags steps over a tagged field section.
func skipTags(p []byte) ([]byte, error) {
	w := walk{p: p, flexible: true}
	w.tags(nil)
	if w.bad {
		return nil, malformed("tagged fields of the request header")
	}
	return w.p, nil
}

// uvarint reads one unsigned varint of at most 32 bits.
func uvarint(p []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(p)
	if n <= 0 || n > 5 || v > 1<<32-1 {
		return 0, nil, malformed("broken variable-length number")
	}
	return v, p[n:], nil
}

// malformed returns an ErrMalformed with what is wrong.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}
