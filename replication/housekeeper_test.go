package replication

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// TestTailsOfAllPartitionsAreBounded appends to several partitions more than a start may read, and
// wants checkpoints of the longest ones only.
func TestTailsOfAllPartitionsAreBounded(t *testing.T) {
	n := startNode(t)
	n.Manager.o.TailBytesMax = 1 << 20
	topic, err := n.CreateTopic(TopicSpec{Name: "many", Partitions: 5, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(5) {
		p, err := n.Partition(topic.ID, i)
		if err != nil {
			t.Fatal(err)
		}
		b := n.batch(-1, -1, rec{value: fmt.Sprintf("%0*d", int(i+1)*70_000, 0)})
		if _, err := p.Append(t.Context(), b, AppendOptions{Origin: NewOrigin()}); err != nil {
			t.Fatal(err)
		}
	}
	n.idle()
	k := n.Manager.keeper
	sum := k.tail.Load()
	if sum < 1<<20 {
		t.Fatalf("the tails have %d bytes together, the test needs more", sum)
	}
	select {
	case <-k.wake:
	default:
		t.Error("nobody woke the housekeeper")
	}
	k.wantLongest()
	var wanted []int32
	for p := range k.mu.wanted {
		wanted = append(wanted, p.index)
	}
	slices.Sort(wanted)
	if !slices.Equal(wanted, []int32{3, 4}) {
		t.Errorf("checkpoints of %v, want those of the two longest, 3 and 4", wanted)
	}
	k.checkpoints()
	left := int64(0)
	for _, p := range n.partitions() {
		left += p.tailBytes()
	}
	if k.tail.Load() != left || left > 1<<19+1<<18 || left == 0 {
		t.Errorf("%d bytes are counted, the partitions have %d", k.tail.Load(), left)
	}
	if k.mu.wanted = nil; k.tail.Load() < 1<<20 {
		if k.wantLongest(); len(k.mu.wanted) != 0 {
			t.Error("checkpoints of tails that are short enough")
		}
	}
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	if k.tail.Load() != 0 {
		t.Errorf("%d bytes are left when all is closed", k.tail.Load())
	}
}

// handleFS counts the open files of partition logs.
type handleFS struct {
	vfs.FS
	open *int // only one goroutine of the test's
}

func (f handleFS) OpenLog(name string) (vfs.LogFile, error) {
	file, err := f.FS.OpenLog(name)
	if err != nil || !strings.HasPrefix(name, "/data/topics/") || !strings.HasSuffix(name, ".log") {
		return file, err
	}
	*f.open++
	return handleFile{file, f.open}, nil
}

type handleFile struct {
	vfs.LogFile
	open *int
}

func (f handleFile) Close() error {
	*f.open--
	return f.LogFile.Close()
}

// TestHousekeepingClosesHandles fills many segments of a partition's two logs and reads them: two
// looks later the active ones are open.
func TestHousekeepingClosesHandles(t *testing.T) {
	n := &node{t: t, clock: clock.NewManual(time.UnixMilli(1_700_000_000_000))}
	open := 0
	n.openOver(handleFS{vfs.NewCrash(1), &open}, new([]error))
	topic, err := n.CreateTopic(TopicSpec{
		Name: "t", Partitions: 1, ReplicationFactor: -1,
		Configs: map[string]string{metadata.ConfigInternalSegmentBytes: "16384"},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	n.topic = topic
	for i := range 60 {
		n.append(n.batch(5, batch.Sequence(i), rec{fmt.Sprintf("%04000d", i), at(i)}))
		n.clock.Advance(time.Millisecond)
		n.idle()
	}
	if err := n.CheckpointAll(); err != nil {
		t.Fatal(err)
	}
	p := n.part()
	logs := []*log.Log{p.log, p.stage.Load().log}
	for _, l := range logs {
		if _, err := l.Read(nil, log.ReadRequest{Bound: l.End(), MaxBytes: 1 << 30}); err != nil {
			t.Fatal(err)
		}
		if l.Segments() < 5 {
			t.Fatalf("%d segments show nothing", l.Segments())
		}
	}
	before := open
	for range 2 {
		if err := n.Retain(); err != nil {
			t.Fatal(err)
		}
	}
	if before < 5 || open > len(logs) {
		t.Errorf("%d files are open, before it were %d; want those of %d active segments", open, before,
			len(logs))
	}
	if err := n.Manager.Close(); err != nil || open != 0 {
		t.Errorf("after the end %d files are open: %v", open, err)
	}
}
