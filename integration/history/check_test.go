package history

import (
	"errors"
	"testing"
)

// good returns a history with nothing wrong in it: two producers, two partitions, plain records
// and scheduled ones that arrived on time.
func good() ([]Write, []Read) {
	var writes []Write
	var reads []Read
	next := map[int32]int64{}
	for number := range 10 {
		for producer := range 2 {
			w := Write{Key: Key{producer, number}, Partition: int32(number % 2)}
			if producer == 1 {
				w.DueMs = 1000 + int64(number)
			}
			writes = append(writes, w)
			r := Read{Key: w.Key, Partition: w.Partition, Offset: next[w.Partition]}
			r.DueMs, r.StampMs, r.ArrivedMs = w.DueMs, 1000+int64(number), 1001+int64(number)
			next[w.Partition]++
			reads = append(reads, r)
		}
	}
	return writes, reads
}

// all runs every check, each under its sentinel.
func all(writes []Write, reads []Read) map[error]error {
	return map[error]error{
		ErrLost:       Lost(writes, reads),
		ErrDuplicate:  Duplicate(reads),
		ErrPhantom:    Phantom(writes, reads),
		ErrOutOfOrder: OutOfOrder(reads),
		ErrEarly:      Early(reads),
		ErrDueOrder:   DueOrder(reads),
		ErrNotDense:   Dense(reads),
	}
}

func TestGoodHistoryPasses(t *testing.T) {
	for kind, err := range all(good()) {
		if err != nil {
			t.Errorf("%v: %v", kind, err)
		}
	}
}

// damages are ways to break the good history, each with the checks that must notice.
var damages = []struct {
	name  string
	spoil func(w []Write, r []Read) ([]Write, []Read)
	want  []error
}{
	{"lost in the middle", func(w []Write, r []Read) ([]Write, []Read) {
		return w, append(r[:8:8], r[9:]...)
	}, []error{ErrLost, ErrNotDense}},
	{"lost at the end", func(w []Write, r []Read) ([]Write, []Read) {
		return w, r[:len(r)-1]
	}, []error{ErrLost}},
	{"everything lost", func(w []Write, _ []Read) ([]Write, []Read) {
		return w, nil
	}, []error{ErrLost}},
	{"duplicate at the end", func(w []Write, r []Read) ([]Write, []Read) {
		last := r[len(r)-1]
		last.Offset++
		return w, append(r, last)
	}, []error{ErrDuplicate}},
	{"the same offset served twice", func(w []Write, r []Read) ([]Write, []Read) {
		return w, append(r, r[0])
	}, []error{ErrDuplicate, ErrNotDense}},
	{"phantom number", func(w []Write, r []Read) ([]Write, []Read) {
		last := r[len(r)-1]
		last.Offset++
		last.Number = 99
		return w, append(r, last)
	}, []error{ErrPhantom}},
	{"wrong partition", func(w []Write, r []Read) ([]Write, []Read) {
		r[len(r)-1].Partition, r[len(r)-1].Offset = 2, 0
		return w, r
	}, []error{ErrPhantom, ErrLost}},
	{"due time changed on the way", func(w []Write, r []Read) ([]Write, []Read) {
		r[len(r)-1].DueMs--
		return w, r
	}, []error{ErrPhantom}},
	{"two plain numbers swapped", func(w []Write, r []Read) ([]Write, []Read) {
		r[0].Number, r[4].Number = r[4].Number, r[0].Number
		return w, r
	}, []error{ErrOutOfOrder}},
	{"stamped a millisecond early", func(w []Write, r []Read) ([]Write, []Read) {
		r[5].StampMs = r[5].DueMs - 1
		return w, r
	}, []error{ErrEarly}},
	{"arrived a millisecond early", func(w []Write, r []Read) ([]Write, []Read) {
		r[5].ArrivedMs = r[5].DueMs - 1
		return w, r
	}, []error{ErrEarly}},
	{"two due times swapped", func(w []Write, r []Read) ([]Write, []Read) {
		r[1].Offset, r[5].Offset = r[5].Offset, r[1].Offset
		return w, r
	}, []error{ErrOutOfOrder, ErrDueOrder}},
	{"a gap before the last offset", func(w []Write, r []Read) ([]Write, []Read) {
		r[len(r)-1].Offset++
		return w, r
	}, []error{ErrNotDense}},
	{"a partition that starts at 1", func(w []Write, r []Read) ([]Write, []Read) {
		for i := range r {
			r[i].Offset++
		}
		return w, r
	}, []error{ErrNotDense}},
}

// TestEachCheckFails breaks the good history in one way at a time: the named check must fail with
// its own sentinel, and checks that the damage does not concern must stay silent.
func TestEachCheckFails(t *testing.T) {
	for _, test := range damages {
		t.Run(test.name, func(t *testing.T) {
			wanted := map[error]bool{}
			for _, kind := range test.want {
				wanted[kind] = true
			}
			for kind, err := range all(test.spoil(good())) {
				if got := errors.Is(err, kind); got != wanted[kind] {
					t.Errorf("%v: got %v, want failure %v", kind, err, wanted[kind])
				}
			}
		})
	}
}

func TestErrorsSpellOutFewExamples(t *testing.T) {
	writes := make([]Write, 1000)
	for i := range writes {
		writes[i].Number = i
	}
	err := Lost(writes, nil)
	if err == nil || len(err.Error()) > 500 {
		t.Fatalf("got %v, want a short error", err)
	}
}
