package api

import (
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets everything in a request to something, by reflection.
func fill(rng *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if tags, ok := v.Field(i).Addr().Interface().(*kmsg.Tags); ok {
				for range rng.IntN(3) {
					tags.Set(1000+rng.Uint32N(1<<30), make([]byte, rng.IntN(200)))
				}
			} else if name != "Version" {
				fill(rng, v.Field(i))
			}
		}
	case reflect.Pointer:
		if rng.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rng, v.Elem())
		}
	case reflect.Slice:
		n := rng.IntN(4)
		if v.Type().Elem().Kind() == reflect.Uint8 {
			n = rng.IntN(300)
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(rng, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(rng, v.Index(i))
		}
	case reflect.String:
		v.SetString(string(make([]byte, rng.IntN(200))))
	case reflect.Bool:
		v.SetBool(rng.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(rng.Uint64N(256))
	default:
		v.SetInt(int64(rng.Int32()) >> (64 - v.Type().Bits()))
	}
}

// TestShapesAgreeWithKmsg walks what kmsg encodes, in every version: to the last byte, and no
// further, wherever it is cut.
func TestShapesAgreeWithKmsg(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	for _, r := range table() {
		for version := r.served(); version <= r.max; version++ {
			for range 30 {
				request := kmsg.RequestForKey(r.key)
				request.SetVersion(version)
				fill(rng, reflect.ValueOf(request).Elem())
				body := request.AppendTo(nil)
				w := walk{p: body, version: version, flexible: request.IsFlexible()}
				w.structure(r.shape)
				if w.bad || len(w.p) != 0 {
					t.Fatalf("seed %d: %s v%d: bad %v, %d of %d bytes are left\n%+v",
						seed, r.name, version, w.bad, len(w.p), len(body), request)
				}
				if err := r.checkShape(version, request.IsFlexible(), body); err != nil {
					t.Fatalf("seed %d: %s v%d: %v", seed, r.name, version, err)
				}
				if len(body) == 0 {
					continue
				}
				cut := rng.IntN(len(body))
				if err := r.checkShape(version, request.IsFlexible(), body[:cut]); err == nil {
					t.Fatalf("seed %d: %s v%d: cut at %d of %d is not noticed",
						seed, r.name, version, cut, len(body))
				}
			}
		}
	}
}

// TestTagBombs are the frames that keep kmsg counting: a number of tagged fields, and none of them.
func TestTagBombs(t *testing.T) {
	bomb := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	for _, r := range table() {
		for version := r.served(); version <= r.max; version++ {
			request := kmsg.RequestForKey(r.key)
			request.SetVersion(version)
			if !request.IsFlexible() {
				continue
			}
			body := request.AppendTo(nil)
			body = append(body[:len(body)-1], bomb...)
			if err := r.checkShape(version, true, body); err == nil {
				t.Errorf("%s v%d takes four thousand million tagged fields", r.name, version)
			}
		}
	}
	// One hidden in a known tagged field.
	fetch := kmsg.NewPtrFetchRequest()
	fetch.Version = 15
	body := fetch.AppendTo(nil)
	hidden := append(make([]byte, 12), bomb...)
	body = append(body[:len(body)-1], 1, 1, byte(len(hidden)))
	body = append(body, hidden...)
	for _, r := range table() {
		if r.key == fetch.Key() && r.checkShape(fetch.Version, true, body) == nil {
			t.Error("a bomb in the replica state is taken")
		}
	}
	if _, err := skipTags(bomb); err == nil {
		t.Error("a bomb in the header is taken")
	}
	if rest, err := skipTags([]byte{1, 5, 2, 'x', 'y', 'z'}); err != nil || string(rest) != "z" {
		t.Errorf("a tagged field in the header: %q, %v", rest, err)
	}
}
