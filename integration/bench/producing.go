package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// valueKinds is how many different contents a run cycles through: enough that a codec cannot win
// by seeing the same record again at once.
const valueKinds = 1024

type headerList = []kgo.RecordHeader

// producing is one goroutine that produces as fast as the client takes records.
type producing struct {
	cl      *kgo.Client
	values  [][]byte
	headers func() headerList
	topic   atomic.Pointer[string] // nil: the client's own
	limit   int                    // records in all; 0: until stop
	stop    atomic.Bool
	done    sync.WaitGroup
	acked   atomic.Int64
	failed  atomic.Pointer[error]
}

// start runs it on a goroutine of its own, which finish ends and waits for.
func (p *producing) start(ctx context.Context) { p.done.Go(func() { p.run(ctx) }) }

// finish stops producing and waits for the last acknowledgement.
func (p *producing) finish(ctx context.Context) error {
	p.stop.Store(true)
	p.done.Wait()
	if err := p.cl.Flush(ctx); err != nil {
		return err
	}
	if failed := p.failed.Load(); failed != nil {
		return *failed
	}
	return nil
}

func (p *producing) run(ctx context.Context) {
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			p.failed.CompareAndSwap(nil, &err)
			return
		}
		p.acked.Add(1)
	}
	// Records are made by the slab: one allocation for many, as a fast client does it.
	const slabRecords = 512
	var slab []kgo.Record
	for i := 0; (p.limit == 0 || i < p.limit) && !p.stop.Load() && ctx.Err() == nil; i++ {
		if len(slab) == 0 {
			slab = make([]kgo.Record, slabRecords)
		}
		r := &slab[0]
		slab = slab[1:]
		r.Value = p.values[i%len(p.values)]
		if topic := p.topic.Load(); topic != nil {
			r.Topic = *topic
		}
		if p.headers != nil {
			r.Headers = p.headers()
		}
		p.cl.Produce(ctx, r, promise)
	}
}

// count is how many records have been acknowledged.
func (p *producing) count() float64 { return float64(p.acked.Load()) }

// filling says what to write into a topic.
type filling struct {
	records int
	size    int
	headers func() headerList
}

// fill writes a number of records and waits for all acknowledgements.
func (b *bench) fill(ctx context.Context, t *target, topic string, f filling) error {
	cl, err := t.client(kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	p := &producing{cl: cl, values: b.contents(f.size), headers: f.headers, limit: f.records}
	p.run(ctx)
	if err := p.finish(ctx); err != nil {
		return fmt.Errorf("fill %s: %w", topic, err)
	}
	if n := int(p.acked.Load()); n != f.records {
		return fmt.Errorf("fill %s: %d of %d acknowledged", topic, n, f.records)
	}
	return nil
}

// contents returns values of one size that look like small JSON documents: a codec makes them
// about three times smaller.
func (b *bench) contents(size int) [][]byte {
	if b.values[size] == nil {
		rng := rand.New(rand.NewPCG(1, uint64(size)))
		for range valueKinds {
			b.values[size] = append(b.values[size], []byte(content(rng, size)))
		}
	}
	return b.values[size]
}

func content(rng *rand.Rand, size int) string {
	names := []string{"order", "customer", "amount", "currency", "created", "status", "region"}
	var s strings.Builder
	s.WriteByte('{')
	for s.Len() < size {
		fmt.Fprintf(&s, "%q:%d,", names[rng.IntN(len(names))], rng.IntN(100_000_000))
	}
	return s.String()[:size-1] + "}"
}
