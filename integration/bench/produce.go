package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// valueKinds is how many different contents a run cycles through: enough that a codec cannot win
// by seeing the same record again at once.
const valueKinds = 1024

// produceCase is one row of a produce table.
type produceCase struct {
	size      int // bytes of each value
	codec     string
	kgo       kgo.CompressionCodec
	schedules bool              // the topic has schedules enabled
	headers   func() headerList // of each record; nil: none
}

type headerList = []kgo.RecordHeader

// sample is what one run measured.
type sample struct {
	records float64
	elapsed time.Duration
	used    usage
}

func (s sample) rate() float64 { return s.records / s.elapsed.Seconds() }

var benchCodecs = []struct {
	name string
	kgo  kgo.CompressionCodec
}{
	{"plain", kgo.NoCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
}

// produceSection measures one idempotent producer with acks=all on one partition.
func produceSection(ctx context.Context, b *bench) error {
	t := newTable("Produce: 1 partition, acks=all, idempotent, fsync before ack",
		"value", "codec", "schedules", "drop", "chronos", "of drop", "value bytes/s",
		"server CPU/rec", "client CPU/rec", "fdatasyncs", "written", "run")
	chronos, err := b.startChronos()
	if err != nil {
		return err
	}
	drop, err := startDrop()
	if err != nil {
		return err
	}
	for _, size := range []int{100, 1024} {
		for _, codec := range benchCodecs {
			if err := b.produceRows(ctx, t, []*target{drop, chronos}, produceCase{
				size: size, codec: codec.name, kgo: codec.kgo,
			}); err != nil {
				return err
			}
		}
	}
	t.print(b.out)
	if err := drop.end(); err != nil {
		return err
	}
	return chronos.end()
}

// produceRows adds the rows of one size and codec: with schedules enabled and disabled, against
// one series of the reference, all runs alternating.
func (b *bench) produceRows(
	ctx context.Context, t *table, targets []*target, c produceCase,
) error {
	drop, chronos := targets[0], targets[1]
	var reference []sample
	byEnabled := map[bool][]sample{}
	for range b.runs {
		s, err := b.produceRun(ctx, drop, c)
		if err != nil {
			return err
		}
		reference = append(reference, s)
		for _, enabled := range []bool{true, false} {
			c.schedules = enabled
			if s, err = b.produceRun(ctx, chronos, c); err != nil {
				return err
			}
			byEnabled[enabled] = append(byEnabled[enabled], s)
		}
	}
	floorRate := middle(reference).rate()
	for _, enabled := range []bool{true, false} {
		m := middle(byEnabled[enabled])
		t.add(strconv.Itoa(c.size)+" B", c.codec, map[bool]string{true: "on", false: "off"}[enabled],
			count(floorRate)+"/s", count(m.rate())+"/s", ratio(m.rate(), floorRate),
			megabytes(m.rate()*float64(c.size)), micros(m.used.cpu, m.records),
			micros(m.used.client, m.records), count(m.used.fsyncs), megabytes(float64(m.used.written)),
			fmt.Sprintf("%d x %.1f s", b.runs, m.elapsed.Seconds()))
		if c.codec == "plain" && enabled {
			b.addFloor(m.rate() >= 100_000, fmt.Sprintf("produce %d B, fsync before ack: 100 k/s", c.size),
				"%s/s", count(m.rate()))
		}
	}
	return nil
}

// middle returns the run with the median rate.
func middle(samples []sample) sample {
	rates := make([]float64, len(samples))
	for i, s := range samples {
		rates[i] = s.rate()
	}
	// With an even number of runs the median lies between two; the nearest one stands for it.
	want, best := medianFloat(rates), samples[0]
	for _, s := range samples {
		if diff(s.rate(), want) < diff(best.rate(), want) {
			best = s
		}
	}
	return best
}

func diff(a, b float64) float64 { return max(a-b, b-a) }

// produceRun writes to a new topic for the length of a run, after a warm-up.
func (b *bench) produceRun(ctx context.Context, t *target, c produceCase) (sample, error) {
	topic, err := t.newTopic(ctx, c.schedules)
	if err != nil {
		return sample{}, err
	}
	flushDisk()
	s, err := b.produceInto(ctx, t, topic, c)
	if err != nil {
		return s, fmt.Errorf("%s, %d B, %s: %w", t.name, c.size, c.codec, err)
	}
	return s, t.dropTopic(ctx, topic)
}

func (b *bench) produceInto(
	ctx context.Context, t *target, topic string, c produceCase,
) (sample, error) {
	cl, err := t.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(c.kgo))
	if err != nil {
		return sample{}, err
	}
	defer cl.Close()
	p := &producing{cl: cl, values: b.contents(c.size), headers: c.headers}
	var done sync.WaitGroup
	// Setting p.stop ends this goroutine; the wait group waits for it.
	done.Go(func() { p.run(ctx) })
	s, err := b.measure(ctx, t, func() float64 { return float64(p.acked.Load()) })
	p.stop.Store(true)
	done.Wait()
	if flushErr := cl.Flush(ctx); err == nil {
		err = flushErr
	}
	if failed := p.failed.Load(); err == nil && failed != nil {
		err = *failed
	}
	return s, err
}

// measure waits for the warm-up, then takes the difference of a counter and of all usage over the
// length of a run.
func (b *bench) measure(
	ctx context.Context, t *target, counter func() float64,
) (sample, error) {
	if err := wait(ctx, b.warmUp()); err != nil {
		return sample{}, err
	}
	before, err := t.usage()
	if err != nil {
		return sample{}, err
	}
	begun, first := time.Now(), counter()
	if err := wait(ctx, b.length()); err != nil {
		return sample{}, err
	}
	s := sample{records: counter() - first, elapsed: time.Since(begun)}
	after, err := t.usage()
	s.used = after.minus(before)
	return s, err
}

// wait lets the measured processes work for a while.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// producing is one goroutine that produces as fast as the client takes records.
type producing struct {
	cl      *kgo.Client
	values  [][]byte
	headers func() headerList
	limit   int // records in all; 0: until stop
	stop    atomic.Bool
	acked   atomic.Int64
	failed  atomic.Pointer[error]
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
		if p.headers != nil {
			r.Headers = p.headers()
		}
		p.cl.Produce(ctx, r, promise)
	}
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
