package timer

import (
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
)

// markedBytesMax bounds the neighbouring marked batches that are read together.
const markedBytesMax = 1 << 20

// eachMarked calls fn for every delivered batch of a partition log that lies in [from, to). Of all
// other batches it reads the headers only.
func eachMarked(visible *log.Log, from, to Offset, fn func(b batch.Batch) error) error {
	from = max(from, visible.Start())
	if from >= to {
		return nil
	}
	var runFrom, runTo Offset // marked batches met and not read yet
	var runBytes int
	read := func() error {
		if runFrom == runTo {
			return nil
		}
		r := log.ReadRequest{From: runFrom, Bound: runTo, MaxBytes: runBytes, MinOne: true}
		runFrom, runBytes = runTo, 0
		return readMarked(visible, r, fn)
	}
	err := visible.Headers(from, to, func(h batch.Batch, bodyLen int) error {
		base, end := h.BaseOffset(), h.LastOffset()+1
		if base < from || end > to {
			return nil
		}
		if !h.IsMarked() {
			return read()
		}
		if runBytes+batch.HeaderBytes+bodyLen > markedBytesMax || runTo != base {
			if err := read(); err != nil {
				return err
			}
			runFrom = base
		}
		runTo = end
		runBytes += batch.HeaderBytes + bodyLen
		return nil
	})
	if err != nil {
		return err
	}
	return read()
}

// readMarked reads the batches of one request, which are all marked, and calls fn for each.
func readMarked(visible *log.Log, r log.ReadRequest, fn func(b batch.Batch) error) error {
	p, err := visible.Read(nil, r)
	if err != nil {
		return fmt.Errorf("read deliveries at offset %d: %w", r.From, err)
	}
	for len(p) > 0 {
		b, rest, err := batch.Next(p)
		if err != nil {
			return fmt.Errorf("read deliveries at offset %d: %w", r.From, err)
		}
		if err := fn(b); err != nil {
			return err
		}
		p = rest
	}
	return nil
}
