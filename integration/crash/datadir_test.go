package crash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	nodePath       = "/data"
	nodePartitions = 3
	nodeRounds     = 3
	nodeBatches    = 8 // of each partition in a round; every third record is scheduled
	// flipsPerFile bounds the bits that are flipped in one file.
	flipsPerFile = 16
)

// dataNode is a whole node's data directory at rest, and what it served.
type dataNode struct {
	fs      *vfs.Crash
	topic   metadata.TopicID
	served  [nodePartitions][]byte
	pending int
}

func openManager(fs vfs.FS) (*replication.Manager, error) {
	return replication.Open(replication.Options{
		DataDir: nodePath, FS: fs, Clock: clock.NewManual(time.UnixMilli(startMs)), Manual: true,
	})
}

// newDataNode makes a node with plain and pending records of producers with ids, and stops it.
func newDataNode(t *testing.T) *dataNode {
	t.Helper()
	d := &dataNode{fs: vfs.NewCrash(1)}
	m, err := openManager(d.fs)
	must(t, err)
	topic, err := m.CreateTopic(replication.TopicSpec{
		Name: "t", Partitions: nodePartitions, ReplicationFactor: -1,
	}, false)
	must(t, err)
	d.topic = topic.ID
	id, err := m.NextProducerID()
	must(t, err)
	for round := range nodeRounds {
		for i := range int32(nodePartitions) {
			p, err := m.Partition(d.topic, i)
			must(t, err)
			for n := range nodeBatches {
				must(t, appendNumbered(p, id, int32(round*nodeBatches+n)))
				must(t, m.RunUntilIdle()) // a producer that changes logs waits for what went before
			}
		}
		must(t, m.CheckpointAll())
		must(t, m.FlushIndex())
	}
	d.pending = int(m.Metrics().Pending)
	for i := range d.served {
		d.served[i], err = readPartition(m, d.topic, int32(i))
		must(t, err)
	}
	must(t, m.Close())
	return d
}

// appendNumbered appends a batch of one record, which is scheduled for much later every third time.
func appendNumbered(p *replication.Partition, id batch.ProducerID, sequence int32) error {
	r := harness.Record(fmt.Sprintf("record %d", sequence))
	if sequence%3 == 2 {
		r = harness.Record("later", "chronos-schedule-delay", "10h")
	}
	b := harness.PlainBatch(startMs, []kmsg.Record{r}...)
	b.ProducerID, b.Epoch, b.Sequence = int64(id), 0, sequence
	raw, err := b.Encode()
	if err != nil {
		return err
	}
	_, err = p.Append(context.Background(), raw, replication.AppendOptions{Origin: replication.NewOrigin()})
	return err
}

func readPartition(m *replication.Manager, id metadata.TopicID, i int32) (all []byte, err error) {
	p, err := m.Partition(id, i)
	if err != nil {
		return nil, err
	}
	for next := p.LogStart(); next < p.HighWatermark(); {
		n := len(all)
		all, _, err = p.Read(all, replication.FetchRead{
			From: next, MaxBytes: 1 << 20, MinOne: true, CurrentEpoch: p.LeaderEpoch(), LastFetchedEpoch: -1,
		})
		if err != nil || len(all) == n {
			return all, fmt.Errorf("read from %d below %d: %w", next, p.HighWatermark(), err)
		}
		for n < len(all) {
			b, err := parse(all[n:])
			if err != nil {
				return all, err
			}
			next, n = batch.Offset(b.end), n+len(b.raw)
		}
	}
	return all, nil
}

// filesBelow returns the paths of all files.
func filesBelow(t *testing.T, fs vfs.FS, dir string) (paths []string) {
	t.Helper()
	names, err := fs.List(dir)
	must(t, err)
	for _, name := range names {
		at := fs.PathJoin(dir, name)
		info, err := fs.Stat(at)
		must(t, err)
		if info.IsDir() {
			paths = append(paths, filesBelow(t, fs, at)...)
		} else {
			paths = append(paths, at)
		}
	}
	return paths
}

// kindOf names the kind of a file of a data directory.
func kindOf(name string) string {
	switch rest := strings.TrimPrefix(name, nodePath+"/"); {
	case strings.HasPrefix(rest, "index/"):
		return "index " + strings.TrimRight(strings.TrimSuffix(path.Base(rest), path.Ext(rest)), "-0123456789") +
			path.Ext(rest)
	case strings.HasPrefix(rest, "topics/"):
		return "topics " + strings.TrimLeft(path.Base(rest), "0123456789")
	default:
		return strings.TrimRight(rest, "-0123456789")
	}
}

// TestDataDirDamage zeroes blocks and flips bits in each file of a whole data directory, but those that
// only a log reads. The node refuses to start and names the file, or takes one partition offline, or
// serves all that it served, with the same records pending. Nothing else is ever served.
func TestDataDirDamage(t *testing.T) {
	d := newDataNode(t)
	kinds := map[string]*damages{}
	for _, name := range filesBelow(t, d.fs, nodePath) {
		kind := kindOf(name)
		if strings.HasPrefix(kind, "journal") || path.Base(name) == "LOCK" {
			continue // TestJournalDamage; a lock holds nothing
		}
		if kinds[kind] == nil {
			kinds[kind] = &damages{}
		}
		d.damageFile(t, name, kinds[kind])
	}
	for kind, n := range kinds {
		t.Logf("%s: %d unharmed, %d refused", kind, n.unharmed, n.refused)
		if n.refused > 0 && strings.HasPrefix(kind, "index") {
			t.Errorf("%s: %d refused; the index is derived", kind, n.refused)
		}
	}
	if len(kinds) < kindsMin {
		t.Errorf("%d kinds of file, at least %d must be", len(kinds), kindsMin)
	}
}

// kindsMin is how many kinds of file a data directory has, at least.
const kindsMin = 8

func (d *dataNode) damageFile(t *testing.T, name string, n *damages) {
	t.Helper()
	p, err := readFile(d.fs, name)
	must(t, err)
	try := func(what string, do func(fs vfs.FS) error) {
		fs := d.fs.CrashClone(1, nil)
		must(t, do(fs))
		refused, err := d.judge(fs, name)
		if err != nil {
			t.Errorf("%s in %s: %v", what, name, err)
		}
		if refused {
			n.refused++
		} else {
			n.unharmed++
		}
	}
	for at := 0; at < len(p) && at < 4*blockBytes; at += blockBytes {
		try(fmt.Sprintf("zeros from byte %d", at), func(fs vfs.FS) error {
			return overwrite(fs, name, make([]byte, min(blockBytes, len(p)-at)), int64(at))
		})
	}
	for k := range min(len(p), flipsPerFile) {
		at := int64(k * len(p) / flipsPerFile)
		if strings.HasSuffix(name, segmentSuffix) && strings.Contains(name, "/topics/") && inEpochField(p, int(at)) {
			continue
		}
		try(fmt.Sprintf("bit %d of byte %d flipped", k%8, at), func(fs vfs.FS) error { return flip(fs, name, at, k%8) })
	}
}

// judge opens a node of which a file is damaged, and reads all of it. Where the start finds damage in
// the index, which is derived, the next one must have made it anew.
func (d *dataNode) judge(fs *vfs.Crash, name string) (refused bool, err error) {
	m, err := openManager(fs)
	if errors.Is(err, timer.ErrIndex) && strings.Contains(err.Error(), path.Base(name)) {
		m, err = openManager(fs.CrashClone(1, nil))
	}
	if err != nil {
		if !strings.Contains(err.Error(), path.Base(name)) {
			return true, fmt.Errorf("the start fails without naming the file: %w", err)
		}
		return true, nil
	}
	defer func() { _ = m.Close() }() // it is looked at no more
	offline := 0
	for i := range d.served {
		got, err := readPartition(m, d.topic, int32(i))
		switch {
		case errors.Is(err, replication.ErrOffline) && strings.Contains(err.Error(), path.Base(name)):
			offline++
		case err != nil:
			return true, err
		case !bytes.Equal(got, d.served[i]):
			return false, fmt.Errorf("partition %d served %d bytes, and %d before", i, len(got), len(d.served[i]))
		}
	}
	if offline > 1 {
		return true, fmt.Errorf("%d partitions are offline", offline)
	}
	if n := int(m.Metrics().Pending); offline == 0 && n != d.pending {
		return false, fmt.Errorf("%d records are pending, %d were", n, d.pending)
	}
	return offline > 0, nil
}
