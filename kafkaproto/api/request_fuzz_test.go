package api_test

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
)

// fuzzed is a bench whose waits end at once.
func fuzzed(t testing.TB) (*bench, [16]byte) {
	b := newBench(t)
	id := b.topic("t", 2)
	close(b.drain)
	return b, id
}

// run sends a frame through both stages; whatever comes back, nothing may panic.
func (b *bench) run(frame []byte) {
	answer, err := b.service.Start(b.t.Context(), b.session, frame)
	if err != nil || answer.Silent() {
		return
	}
	raw, err := answer.AppendTo(&b.waiter, nil)
	if err == nil && len(raw) < 4 {
		b.t.Fatalf("an answer of %d bytes", len(raw))
	}
}

// FuzzRequest is a whole request of any API and version.
func FuzzRequest(f *testing.F) {
	b, id := fuzzed(f)
	for _, a := range b.service.List() {
		for version := a.ServedFrom; version <= a.Max; version++ {
			f.Add(frameOf(populated(f, a.Key, version, id)))
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < api.HeaderBytesMin {
			return
		}
		b, _ := fuzzed(t)
		b.run(frame)
		// The same body in every other version of its API: the fuzzer finds bodies, not numbers.
		key := int16(binary.BigEndian.Uint16(frame))
		for _, a := range b.service.List() {
			if a.Key != key {
				continue
			}
			for version := a.ServedFrom; version <= a.Max; version++ {
				binary.BigEndian.PutUint16(frame[2:], uint16(version))
				b.run(frame)
			}
		}
	})
}

// hostile are bodies that make a decoder allocate much for little: as many elements as can be.
func hostile(key, version int16, size int) [][]byte {
	head := binary.BigEndian.AppendUint16(nil, uint16(key))
	head = binary.BigEndian.AppendUint16(head, uint16(version))
	head = append(head, 0, 0, 0, 1, 0xff, 0xff)
	r := kmsg.RequestForKey(key)
	r.SetVersion(version)
	if r.IsFlexible() {
		head = append(head, 0)
	}
	var out [][]byte
	// Each byte value repeated: as a compact length 1 is "none" and 2 is "one element".
	for _, fill := range []byte{0, 1, 2, 3} {
		body := append([]byte{}, head...)
		for len(body) < size {
			body = append(body, fill)
		}
		out = append(out, body)
	}
	// A length as large as the rest allows, at every place where one may stand.
	for at := len(head); at < len(head)+24; at++ {
		body := append([]byte{}, head...)
		for len(body) < size {
			body = append(body, 1)
		}
		if r.IsFlexible() {
			binary.PutUvarint(body[at:], uint64(size-at-4))
		} else {
			binary.BigEndian.PutUint32(body[at:], uint32(size-at-4))
		}
		out = append(out, body)
	}
	return out
}

// TestDecodeAmplification measures what hostile requests allocate: no more than they are charged.
func TestDecodeAmplification(t *testing.T) {
	const size = 32 << 10
	b, _ := fuzzed(t)
	worst, of := 0.0, ""
	for _, a := range b.service.List() {
		for version := a.ServedFrom; version <= a.Max; version++ {
			for _, frame := range hostile(a.Key, version, size) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, _ = b.service.Start(t.Context(), b.session, frame)
				runtime.ReadMemStats(&after)
				factor := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(frame))
				limit := float64(api.MemoryOf(a.Key, int64(len(frame)))) / float64(len(frame))
				if factor > limit {
					t.Errorf("%s v%d allocates %.1f times its size, it is charged %.1f", a.Name, version, factor, limit)
				}
				if factor > worst {
					worst, of = factor, a.Name
				}
			}
		}
	}
	t.Logf("at worst %.1f bytes for each byte, in %s", worst, of)
	if worst < 5 {
		t.Error("the hostile requests are not hostile; the test measures nothing")
	}
}
