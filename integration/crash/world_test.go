package crash

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	logCount     = 3
	segmentBytes = 2048
	indexBytes   = 256 // between two index entries
	startMs      = 1_700_000_000_000
)

func logName(i int) string { return fmt.Sprintf("topics/t/%d", i) }

func logDir(i int) string { return "/data/" + logName(i) }

// world is one node, what it was told and what it promised. One goroutine owns it, but for the hook.
type world struct {
	seed   uint64
	rng    *rand.Rand
	o      nodeOptions
	fs     *vfs.Crash
	disk   *vfs.Faulty // fs, with the hook and the faults of this life
	node   *node
	models [logCount]*model
	mark   uint64
	nowMs  int64
	epoch  int32

	hook struct { // operations of files come from several goroutines
		sync.Mutex
		class string  // the class of the operation under way
		share float64 // of the points that are tried; 0: none

		shareHere float64 // share, but for a class with too many points
		rng       *rand.Rand
		err       error // the first broken promise
	}
	totals totals
	done   []string // the operations so far
}

// newWorld makes a world without a node.
func newWorld(seed uint64) *world {
	w := &world{seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), nowMs: startMs, fs: vfs.NewCrash(seed)}
	w.hook.rng = rand.New(rand.NewPCG(seed, 2))
	w.o.mode = []log.Mode{log.Batch, log.Batch, log.EveryEvent}[w.rng.IntN(3)]
	w.o.way = []way{plain, buffered, journaled, journaled, journaled, journaled}[w.rng.IntN(6)]
	w.o.replays = w.rng.IntN(2) == 0
	salts := uint64(0)
	var mu sync.Mutex // a point within an operation opens nodes, too
	w.o.salt = func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		salts++
		return seed ^ salts*0x9e3779b97f4a7c15
	}
	w.totals = newTotals()
	for i := range w.models {
		w.models[i] = &model{promise: promise{epoch: -1}}
	}
	return w
}

// flushedTo hears of a commit.
func (w *world) flushedTo(i int, end log.Offset) {
	w.models[i].update(func(p *promise) { p.flushed = max(p.flushed, int64(end)) })
}

// open begins a process on the file system as it is.
func (w *world) open() error {
	w.disk = vfs.NewFaulty(w.fs)
	w.watch(w.disk, func(what string) { w.point(what) })
	return w.reopen()
}

// reopen opens the node in the process that there is.
func (w *world) reopen() error {
	n, err := openNode(w.disk, w.o, w.flushedTo)
	if err != nil {
		return err
	}
	w.node = n
	for i, m := range w.models {
		if err := m.snapshot().judgeOpened(n.logs[i]); err != nil {
			return fmt.Errorf("log %d: %w", i, err)
		}
		w.settle(i)
	}
	return nil
}

// settle takes what an opened log has as what there is: all of it is durable now, and may be seen.
func (w *world) settle(i int) {
	l := w.node.logs[i]
	w.models[i].update(func(p *promise) {
		for len(p.batches) > 0 && p.end() > int64(l.End()) {
			p.batches = p.batches[: len(p.batches)-1 : len(p.batches)-1]
		}
		p.flushed = int64(l.End())
		p.start, p.startTo = int64(l.Start()), int64(l.Start())
	})
}

// run runs a history and turns what goes wrong into one error with its seed.
func (w *world) run(history func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
		if w.node != nil {
			w.hook.share = 0
			w.node.abandon()
		}
		if err != nil {
			err = fmt.Errorf("seed %d, %v, mode %v: %w\nthe operations: %s\nagain: go test ./integration/crash"+
				" -run 'TestPoints$' -crash.seed=%d", w.seed, w.o.way, w.o.mode, err, strings.Join(w.done, ", "), w.seed)
		}
	}()
	return history()
}

// broken keeps the first broken promise.
func (w *world) broken(err error) {
	if err != nil && w.hook.err == nil {
		w.hook.err = err
	}
}

func (w *world) brokenPromise() error {
	w.hook.Lock()
	defer w.hook.Unlock()
	return w.hook.err
}

// do runs one operation of a class, and cuts the power after it.
func (w *world) do(c *class) error {
	w.hook.Lock()
	w.hook.class, w.hook.shareHere = c.name, w.hook.share
	if c.fewer > 0 && w.hook.share < 1 {
		w.hook.shareHere *= c.fewer
	}
	w.hook.Unlock()
	w.done = append(w.done, c.name)
	err := c.do(w)
	if err == nil {
		w.totals.ops[c.name]++
		w.point("at rest")
	}
	if broken := w.brokenPromise(); broken != nil {
		return broken
	}
	if err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// liveLogs checks what the running node serves.
func (w *world) liveLogs() error {
	for i, m := range w.models {
		p := m.snapshot()
		if end := int64(w.node.logs[i].End()); end != p.end() && len(p.batches) > 0 {
			return fmt.Errorf("log %d ends at %d, %d was written", i, end, p.end())
		}
		if err := p.judgeReads(w.node.logs[i]); err != nil {
			return fmt.Errorf("log %d: %w", i, err)
		}
	}
	return nil
}
