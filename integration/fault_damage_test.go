package integration

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

const (
	damagePartitions = 3
	damageHit        = 1 // the partition that is damaged
	damageRecords    = 20
)

// TestDamagedPartition flips a bit of one partition's segment, below what was flushed, while the server
// is down after a clean stop or a kill. Only that partition is offline, the log, the metric and a
// client's answer say so, the others are served and written, and the file is left as it is.
func TestDamagedPartition(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			d := newDamaged(t)
			if end == "stopped" {
				d.s.Stop()
			} else {
				d.s.Kill()
			}
			before := d.flip(300)
			d.s.Up()
			d.readOthers()
			if code := d.fetchHit(); code != kerr.KafkaStorageError.Code {
				t.Errorf("fetch from the damaged partition: %v", kerr.ErrorForCode(code))
			}
			d.isOffline()
			after, err := os.ReadFile(d.segment)
			if err != nil || string(after) != string(before) {
				t.Errorf("%s was changed from %d to %d bytes: %v", d.segment, len(before), len(after), err)
			}
		})
	}
}

// TestReadError makes every read of one partition's segment fail. A client hears of it and gets
// nothing in place of what cannot be read; the others are served.
func TestReadError(t *testing.T) {
	t.Parallel()
	harness.NeedStrace(t)
	d := newDamaged(t)
	d.s.Restart() // so that nothing of it is in memory
	spoiled := harness.Inject(t, d.s.Process().Pid(), d.segment, "pread64,preadv:error=EIO")
	if code := d.fetchHit(); code != kerr.KafkaStorageError.Code {
		t.Errorf("fetch from the unreadable partition: %v", kerr.ErrorForCode(code))
	}
	if _, ok, err := spoiled.First(); err != nil || !ok {
		t.Fatalf("no read was spoiled: %v", err)
	}
	d.readOthers()
	d.isOffline()
}

// damaged is a server with one topic of which a partition is to be damaged.
type damaged struct {
	t       *testing.T
	s       *harness.Server
	topic   string
	segment string // of the partition that is hit
}

func newDamaged(t *testing.T) *damaged {
	t.Helper()
	d := &damaged{t: t, s: harness.Start(t, harness.Options{})}
	d.topic = createTopic(t, d.s.Addr(), damagePartitions)
	d.write(damagePartitions)
	d.s.Stop() // until then the records may be in the commit journal only
	d.s.Up()
	marker := fmt.Appendf(nil, "partition %d record 0 ", damageHit)
	err := filepath.WalkDir(d.s.DataDir(), func(path string, _ os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".log" || d.segment != "" {
			return err
		}
		raw, err := os.ReadFile(path)
		if bytes.Contains(raw, marker) {
			d.segment = path
		}
		return err
	})
	if err != nil || d.segment == "" {
		t.Fatalf("no segment holds %q: %v", marker, err)
	}
	return d
}

// write produces to the first n partitions, each record in a batch of its own.
func (d *damaged) write(partitions int) {
	d.t.Helper()
	cl := newClient(d.t, d.s.Addr(), kgo.DefaultProduceTopic(d.topic), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for i := range damageRecords {
		for p := range partitions {
			r := &kgo.Record{Partition: int32(p), Value: fmt.Appendf(nil, "partition %d record %d ", p, i)}
			produceSync(d.t, cl, r)
		}
	}
}

// flip flips a bit of the segment and returns its bytes.
func (d *damaged) flip(at int) []byte {
	d.t.Helper()
	raw, err := os.ReadFile(d.segment)
	if err != nil {
		d.t.Fatal(err)
	}
	raw[at] ^= 1
	if err := os.WriteFile(d.segment, raw, 0o600); err != nil {
		d.t.Fatal(err)
	}
	return raw
}

// fetchHit fetches from the start of the partition that is hit and returns the answer's code. It must
// hold no bytes.
func (d *damaged) fetchHit() int16 {
	d.t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(11)
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis = 1<<20, 1, fetchWaitMs
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = d.topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.PartitionMaxBytes = damageHit, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := dial(d.t, d.s.Addr()).Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	p := resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	if len(p.RecordBatches) > 0 {
		d.t.Errorf("%d bytes are served of a partition that is damaged there", len(p.RecordBatches))
	}
	return p.ErrorCode
}

// readOthers reads all of the partitions that are whole, and writes to them.
func (d *damaged) readOthers() {
	d.t.Helper()
	offsets := map[int32]kgo.Offset{}
	for p := range int32(damagePartitions) {
		if p != damageHit {
			offsets[p] = kgo.NewOffset().AtStart()
		}
	}
	cl := newClient(d.t, d.s.Addr(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{d.topic: offsets}))
	got := poll(testContext(d.t), d.t, cl, damageRecords*(damagePartitions-1))
	next := map[int32]int{}
	for _, r := range got {
		if want := fmt.Sprintf("partition %d record %d ", r.Partition, next[r.Partition]); string(r.Value) != want {
			d.t.Fatalf("partition %d holds %q, want %q", r.Partition, r.Value, want)
		}
		next[r.Partition]++
	}
	to := newClient(d.t, d.s.Addr(), kgo.DefaultProduceTopic(d.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	produceSync(d.t, to, &kgo.Record{Partition: damageHit - 1, Value: []byte("after")})
}

// isOffline demands that one partition is offline and named, and that nothing can be written to it.
func (d *damaged) isOffline() {
	d.t.Helper()
	offline, err := d.s.Metrics().Sum("chronos_offline_partitions")
	if err != nil || offline != 1 {
		d.t.Errorf("%v partitions are offline, want 1: %v", offline, err)
	}
	if logs := d.s.Logs(); !strings.Contains(logs, d.segment) || !strings.Contains(logs, d.topic) {
		d.t.Errorf("the log does not name the partition and the file")
	}
	d.isNamedInLogDirs()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	cl := newClient(d.t, d.s.Addr(), kgo.DefaultProduceTopic(d.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	err = cl.ProduceSync(ctx, &kgo.Record{Partition: damageHit, Value: []byte("lost?")}).FirstErr()
	if err == nil {
		d.t.Error("a write to an offline partition is acknowledged")
	}
}

// isNamedInLogDirs demands that DescribeLogDirs lists the partition, alone, in a log dir with an error.
func (d *damaged) isNamedInLogDirs() {
	d.t.Helper()
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.SetVersion(2)
	resp, err := dial(d.t, d.s.Addr()).Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	var named []string
	for _, dir := range resp.(*kmsg.DescribeLogDirsResponse).Dirs {
		for _, topic := range dir.Topics {
			for _, p := range topic.Partitions {
				if dir.ErrorCode == kerr.KafkaStorageError.Code {
					named = append(named, fmt.Sprintf("%s-%d", topic.Topic, p.Partition))
				}
			}
		}
	}
	if want := fmt.Sprintf("%s-%d", d.topic, damageHit); len(named) != 1 || named[0] != want {
		d.t.Errorf("DescribeLogDirs names %q as offline, want %s", named, want)
	}
}
