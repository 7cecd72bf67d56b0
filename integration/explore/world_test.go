package explore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/chronosdb/chronosdb/integration/oracle"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	partitionCount = 2
	dataDir        = "/data"
	indexDir       = "/data/index"
	scratchDir     = "/scratch"
	startMs        = 1_700_000_000_000
	// opsKept is how many operations a failure prints.
	opsKept = 30
	// crashesPerStart bounds the power cuts during one start, so that it comes to an end.
	crashesPerStart = 3
)

// failure is how a history ends early; run recovers it.
type failure struct{ err error }

// world is one node, its producers and consumers, and the oracle that watches. One goroutine owns it.
type world struct {
	seed  uint64
	rng   *rand.Rand
	clock *clock.Manual
	fs    *vfs.Crash
	disk  *vfs.Faulty // fs with the faults of this life
	life  *life       // what the node sees of disk, until it dies
	m     *replication.Manager
	topic metadata.TopicID

	options replication.Options // of every start, but for the file system
	oracle  *oracle.Oracle
	totals  totals

	producers []*producer
	ids       map[batch.ProducerID]bool // handed out
	values    int
	next      [partitionCount]batch.Offset // where the consumer goes on
	answers   []answer                     // given and not yet told to the oracle
	buf       []byte

	maxDelayMs int64 // the topic's configs, as they were last set; 0: the default
	schedules  bool
	quiet      bool // no power cuts: the history comes to its end

	faults bool // the disk fails now and then
	dying  bool // the node met an error of the disk

	step int64
	ops  []string // ring of the last operations

	power struct { // the armed power cut; OnSync comes from several goroutines
		sync.Mutex
		in    int // syncs until the cut; 0: not armed
		match func(path string) bool
		keep  float64
		rng   *rand.Rand
		after *vfs.Crash // set once the power is cut
	}
}

// answer is an acknowledgement that the oracle has not heard of yet.
type answer struct {
	s *sent
	a oracle.Answer
}

// newWorld makes a world without a node yet.
func newWorld(seed uint64) *world {
	w := &world{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), clock: clock.NewManual(time.UnixMilli(startMs)),
		oracle: oracle.New(inflate), ids: make(map[batch.ProducerID]bool), schedules: true,
	}
	w.totals.seeds = 1
	w.options = replication.Options{
		DataDir: dataDir, Clock: w.clock, Manual: true, SegmentBytes: 16 << 10,
		JournalBytes: 512 << 10, // files of 64 KiB, so that some are recycled in every history
		FsyncMode:    []log.Mode{log.Batch, log.Batch, log.EveryEvent}[w.rng.IntN(3)],
		TickMs:       []int{1, 1, 10}[w.rng.IntN(3)],
		WheelSize:    []int{0, 256}[w.rng.IntN(2)], // 256 ticks: most of what is pending is not in memory
	}
	w.setFS(vfs.NewCrash(seed))
	return w
}

// begin opens the node for the first time and makes the topic.
func (w *world) begin() {
	w.beginLife()
	m, err := w.openManager()
	w.must(err)
	w.m = m
	topic, err := m.CreateTopic(replication.TopicSpec{
		Name: "t", Partitions: partitionCount, ReplicationFactor: -1,
		Configs: map[string]string{
			metadata.ConfigInternalSegmentBytes: "16384", metadata.ConfigRetentionBytes: "40000",
		},
	}, false)
	w.must(err)
	w.topic = topic.ID
	w.opened()
}

func (w *world) fail(err error) { panic(failure{err}) }

// nodeGone is how an operation ends that met a power cut where it expects none, for the index's own
// goroutines sync when they like, or an error of the disk. through recovers it.
type nodeGone struct{}

// judge takes a verdict of the oracle.
func (w *world) judge(err error) {
	if err != nil {
		w.fail(err)
	}
}

// must takes an error of the node. None is allowed but those of a power cut, and of a disk that
// fails: of these the process dies.
func (w *world) must(err error) {
	switch {
	case err == nil:
	case errors.Is(err, vfs.ErrCrashed) && w.cutOff() != nil:
		panic(nodeGone{})
	case w.diskFailed():
		w.note("the node fails: %v", err)
		w.dying = true
		panic(nodeGone{})
	default:
		w.fail(err)
	}
}

// through does an operation. Where the node goes, it starts again.
func (w *world) through(f func()) {
	for w.interrupted(f) {
		f = func() { w.settle(nil) }
	}
}

func (w *world) interrupted(f func()) (yes bool) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case nodeGone:
			yes = true
		default:
			panic(r)
		}
	}()
	f()
	return false
}

func (w *world) now() int64 { return int64(clock.ToMs(w.clock.Now())) }

// note keeps an operation for the report of a failure.
func (w *world) note(format string, args ...any) {
	line := fmt.Sprintf("%5d @%d ", w.step, w.now()-startMs) + fmt.Sprintf(format, args...)
	if len(w.ops) == opsKept {
		copy(w.ops, w.ops[1:])
		w.ops = w.ops[:opsKept-1]
	}
	w.ops = append(w.ops, line)
}

// run runs a history and turns whatever goes wrong into one error with its seed and its end.
func (w *world) run(history func()) (err error) {
	defer func() {
		var cause error
		switch r := recover().(type) {
		case nil:
			return
		case failure:
			cause = r.err
		default:
			cause = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		err = fmt.Errorf("seed %d: %w\nthe last operations:\n%s\nagain: "+
			"go test ./integration/explore -run 'TestHistories$' -explore.seed=%d -explore.ops=%d -explore.faults=%v",
			w.seed, cause, strings.Join(w.ops, "\n"), w.seed, *opsFlag, w.faults)
	}()
	defer func() {
		if w.m != nil {
			_ = w.m.Close()
		}
	}()
	history()
	return nil
}

// do makes one step: an operation during which the clock stands still. It reports whether the power
// went; then the node has been started again.
func (w *world) do(f func() error) (crashed bool) {
	w.step = w.oracle.Step()
	err := f()
	return w.settle(err)
}

// settle ends a step.
func (w *world) settle(err error) (crashed bool) {
	w.observe()
	w.collect()
	if after := w.cutOff(); after != nil {
		w.totals.armed++
		w.note("the power went between two syncs")
		w.crashed(after)
		return true
	}
	if w.dying {
		w.dying = false
		w.killed()
		return true
	}
	w.must(err)
	w.tellAnswers()
	return false
}

// partition returns a partition that must be in service.
func (w *world) partition(i int32) *replication.Partition {
	p, err := w.m.Partition(w.topic, i)
	w.must(err)
	return p
}

func (w *world) marks(p *replication.Partition) oracle.Marks {
	return oracle.Marks{
		Start: int64(p.LogStart()), HighWatermark: int64(p.HighWatermark()), End: int64(p.LogEnd()),
		NowMs: w.now(),
	}
}

// observe tells the oracle where the partitions stand.
func (w *world) observe() {
	for i := range int32(partitionCount) {
		p, err := w.m.Partition(w.topic, i)
		if err != nil && (w.dying || w.cutOff() != nil) {
			continue // out of service: a read met the end
		}
		w.must(err)
		w.judge(w.oracle.Observe(i, w.marks(p)))
	}
}

// collect gathers acknowledgements.
func (w *world) collect() {
	for _, p := range w.alive() {
		for i := range p.boxes {
			p.boxes[i].collect(w, int32(i))
		}
	}
}

// tellAnswers reads what the answers promise and tells the oracle of them.
func (w *world) tellAnswers() {
	if len(w.answers) == 0 {
		return
	}
	for i := range int32(partitionCount) {
		w.readAll(i)
	}
	for _, a := range w.answers {
		w.judge(w.oracle.Ack(a.s.b, a.a))
		w.totals.acked++
	}
	w.answers = w.answers[:0]
}

// readAll reads a partition up to its high watermark.
func (w *world) readAll(i int32) {
	p := w.partition(i)
	w.next[i] = max(w.next[i], p.LogStart())
	for w.next[i] < p.HighWatermark() {
		w.next[i] = w.read(i, w.next[i], 1<<16)
	}
}

// read makes one fetch.
func (w *world) read(i int32, from batch.Offset, maxBytes int) batch.Offset {
	p := w.partition(i)
	out, state, err := p.Read(w.buf[:0], replication.FetchRead{
		From: from, MaxBytes: maxBytes, MinOne: true, CurrentEpoch: p.LeaderEpoch(), LastFetchedEpoch: -1,
	})
	w.must(err)
	w.buf = out
	if state.HighWatermark != p.HighWatermark() {
		w.fail(errors.New("a fetch told of another high watermark than the partition"))
	}
	next, err := w.oracle.Read(i, int64(from), out)
	w.judge(err)
	return batch.Offset(next)
}
