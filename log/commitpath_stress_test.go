package log

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

var stressTime = flag.Duration("stress.time", 1500*time.Millisecond, "how long each stress test runs")

// stressLog is one log of the stress test with what its appender knows.
type stressLog struct {
	i    int
	l    *Log
	m    *Member
	told atomic.Int64

	mu struct {
		sync.Mutex
		at   []Offset
		data [][]byte
	}
}

// note remembers an append; the newest few hundred are enough.
func (o *stressLog) note(at Offset, p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.at, o.mu.data = append(o.mu.at, at), append(o.mu.data, bytes.Clone(p))
	if len(o.mu.at) > 400 {
		o.mu.at, o.mu.data = o.mu.at[100:], o.mu.data[100:]
	}
}

// pick returns one of the appends, most often a new one.
func (o *stressLog) pick(rng *rand.Rand) (Offset, []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.mu.at)
	if n == 0 {
		return noOffset, nil
	}
	x := rng.IntN(n)
	if rng.IntN(2) == 0 {
		x = n - 1 - rng.IntN(min(5, n))
	}
	return o.mu.at[x], o.mu.data[x]
}

// stress is everything at once: appenders, readers and owners of several logs, a journal of small
// files, little memory, and drains by whoever comes.
type stress struct {
	t    *testing.T
	fs   *vfs.Crash
	b    *Buffers
	logs []*stressLog
	over chan struct{}
}

func (s *stress) running() bool {
	select {
	case <-s.over:
		return false
	default:
		return !s.t.Failed()
	}
}

// fail reports a failure, unless it is retention that was faster.
func (s *stress) fail(format string, args ...any) { s.t.Errorf(format, args...) }

func (s *stress) appendTo(o *stressLog) {
	rng := rand.New(rand.NewPCG(uint64(o.i), 7))
	for n := uint64(0); s.running(); n++ {
		p := buildBatch(s.t, n*10+uint64(o.i), 1+rng.IntN(2), rng.IntN([]int{100, 3000, 200}[rng.IntN(3)]), 1000)
		done, err := s.b.Reserve(s.t.Context(), len(p))
		if err != nil {
			s.fail("p%d: reserve: %v", o.i, err)
			return
		}
		first, _, err := o.l.Append(p, 1)
		done()
		if err != nil {
			s.fail("p%d: append: %v", o.i, err)
			return
		}
		o.note(first, p)
		o.m.Dirty()
	}
}

func (s *stress) readFrom(o *stressLog, seed uint64) {
	rng := rand.New(rand.NewPCG(uint64(o.i), seed))
	for s.running() {
		at, want := o.pick(rng)
		if want == nil {
			continue
		}
		got, err := o.l.Read(nil, ReadRequest{
			From: at, Bound: o.l.End(), MaxBytes: len(want) + batch61, MinOne: true,
		})
		if errors.Is(err, ErrOffsetOutOfRange) {
			continue
		}
		if err != nil || !bytes.HasPrefix(got, want) {
			s.fail("p%d: read at %d: %d bytes, %v", o.i, at, len(got), err)
			return
		}
		from := rng.IntN(len(want))
		got, err = o.l.ReadWithin(nil, at, from, len(want)-from)
		if err != nil && !errors.Is(err, ErrOffsetOutOfRange) || err == nil && !bytes.Equal(got, want[from:]) {
			s.fail("p%d: read within %d: %d bytes, %v", o.i, at, len(got), err)
			return
		}
	}
}

// batch61 is the length of a batch header, with which a read ends in the middle of a batch.
const batch61 = 61

func (s *stress) own(o *stressLog) {
	rng := rand.New(rand.NewPCG(uint64(o.i), 99))
	for s.running() {
		var err error
		o.l.CloseUnused()
		switch rng.IntN(5) {
		case 0:
			_, err = o.l.Flush()
		case 1:
			err = o.l.Checkpoint()
		case 2:
			err = o.l.Roll()
		case 3:
			err = o.l.AdvanceStart(max(o.l.Start(), o.l.FlushedEnd()-Offset(50+rng.IntN(300))))
		case 4:
			_, err = o.l.flush(drainHow{})
		}
		if err != nil {
			s.fail("p%d: %v", o.i, err)
			return
		}
	}
}

// crash looks at power cuts of the running node: what was told before is there after.
func (s *stress) crash() {
	rng := rand.New(rand.NewPCG(5, 99))
	for s.running() {
		var told []Offset
		for _, o := range s.logs {
			told = append(told, max(Offset(o.told.Load()), o.l.FlushedEnd()))
		}
		keep := []float64{0, 0.5, 1}[rng.IntN(3)]
		s.checkCrash(s.fs.CrashClone(keep, rng), told, keep, rng)
	}
}

// checkCrash opens what a power cut has left, and once more what a second one leaves of that.
func (s *stress) checkCrash(fs *vfs.Crash, told []Offset, keep float64, rng *rand.Rand) {
	for life := range 2 {
		j, err := journal.Open(journal.Options{
			FS: fs, Dir: "/data/journal", FileBytes: 128 << 10, FilesMax: 3, Manual: true,
		})
		if err != nil {
			s.fail("keep %v life %d: %v", keep, life, err)
			return
		}
		b := testBuffers(s.t, 0)
		ends := make([]Offset, len(told))
		for i, want := range told {
			name := fmt.Sprintf("topics/p%d", i)
			l, err := Open("/data/"+name, Options{
				FS: fs, Journal: j, Buffers: b, Name: name, SegmentBytes: 60_000, IndexIntervalBytes: 300,
			})
			if err != nil || l.End() < want {
				s.fail("keep %v life %d p%d: told %d, opened %v, %v", keep, life, i, want, l, err)
				return
			}
			checkDense(s.t, l)
			ends[i] = l.End()
		}
		if err := j.Recovered(); err != nil {
			s.fail("%v", err)
			return
		}
		told, keep, fs = ends, 0, fs.Crash(0, rng)
	}
}

// TestCommitPathStress runs the commit path with goroutines, in both modes that use a journal.
func TestCommitPathStress(t *testing.T) {
	for _, mode := range []Mode{Batch, EveryEvent} {
		t.Run(mode.String(), func(t *testing.T) { runStress(t, mode) })
	}
}

func runStress(t *testing.T, mode Mode) {
	s := &stress{t: t, fs: vfs.NewCrash(1), over: make(chan struct{})}
	if err := makeDir(s.fs, "/data"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{FS: s.fs, Dir: "/data/journal", FileBytes: 128 << 10, FilesMax: 3})
	if err == nil {
		err = j.Recovered()
	}
	if err == nil {
		s.b, err = NewBuffers(BuffersOptions{UndrainedBytesMax: 256 << 10, RecentBytesMax: 40 << 10})
	}
	if err != nil {
		t.Fatal(err)
	}
	c := NewCommitter(CommitterOptions{
		Mode: mode, Journal: j, Buffers: s.b, DirectBytes: 4000,
		OnFailure: func(err error) { t.Errorf("failure: %v", err) },
	})
	for i := range 6 {
		o := &stressLog{i: i, l: journaledLog(t, s.fs, j, s.b, fmt.Sprintf("topics/p%d", i), 60_000)}
		o.m = c.Join(o.l, func(end Offset) { o.told.Store(max(o.told.Load(), int64(end))) })
		s.logs = append(s.logs, o)
	}
	var wg sync.WaitGroup
	for _, o := range s.logs {
		wg.Go(func() { s.appendTo(o) })
		wg.Go(func() { s.readFrom(o, 0) })
		wg.Go(func() { s.readFrom(o, 1) })
		wg.Go(func() { s.own(o) })
	}
	wg.Go(s.crash)
	<-time.After(*stressTime)
	close(s.over)
	wg.Wait()
	for _, o := range s.logs {
		o.m.Leave()
		if err := o.l.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := errors.Join(c.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}
