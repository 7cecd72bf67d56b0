package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// clientBuffered bounds what a producing client holds: enough for several full requests in flight.
const (
	clientBufferedBytes = 64 << 20
	clientBatchBytes    = 1_000_000
	// clientRequestBytes bounds a request for many partitions, so that several are in flight.
	clientRequestBytes = 16 << 20
	configSchedules    = "chronos.schedule.enable"
	configRetention    = "retention.ms"
)

// chronosName is the name of the target that is measured, not compared with.
const chronosName = "chronos"

// target is one server process under measurement.
type target struct {
	*harness.Process
	name  string
	addr  string
	web   string
	dir   string // its data; empty for the reference
	topic int    // counts the topics made on it
}

// startChronos starts a server on an empty data directory.
func (b *bench) startChronos(args ...string) (*target, error) {
	dir, err := os.MkdirTemp(b.dir, "data-")
	if err != nil {
		return nil, fmt.Errorf("make a data directory: %w", err)
	}
	launch, addr, err := harness.ServeLaunch(dir, args...)
	if err != nil {
		return nil, err
	}
	p, err := launch.Start()
	if err != nil {
		return nil, err
	}
	return &target{Process: p, name: chronosName, addr: addr, web: launch.HTTPAddr, dir: dir}, nil
}

// startDrop starts the reference server, which is this program.
func startDrop() (*target, error) { return startSelf(dropArgument) }

// end stops the server and deletes its data.
func (t *target) end() error {
	err := t.Stop()
	if t.dir != "" {
		if rmErr := os.RemoveAll(t.dir); err == nil && rmErr != nil {
			err = fmt.Errorf("delete the data: %w", rmErr)
		}
	}
	return err
}

// client returns a kgo client with settings for throughput.
func (t *target) client(opts ...kgo.Opt) (*kgo.Client, error) {
	all := []kgo.Opt{
		kgo.SeedBrokers(t.addr),
		kgo.ProducerBatchMaxBytes(clientBatchBytes),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedBytes(clientBufferedBytes),
		kgo.BrokerMaxWriteBytes(clientRequestBytes),
		kgo.MaxBufferedRecords(1 << 20), // the bound in bytes counts
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.FetchMaxBytes(64 << 20),
		kgo.FetchMaxPartitionBytes(8 << 20),
	}
	cl, err := kgo.NewClient(append(all, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("make a client: %w", err)
	}
	return cl, nil
}

// topicSpec says what a topic is like.
type topicSpec struct {
	partitions int
	schedules  bool
	forever    bool // nothing is deleted by age
}

// newTopic creates a topic. The reference has every topic already, and knows the number of its
// partitions from the name.
func (t *target) newTopic(ctx context.Context, spec topicSpec) (string, error) {
	t.topic++
	topic := fmt.Sprintf("bench-%d%s%d", t.topic, partitionsMark, spec.partitions)
	if t.dir == "" {
		return topic, nil
	}
	cl, err := t.client()
	if err != nil {
		return "", err
	}
	defer cl.Close()
	enabled, never := strconv.FormatBool(spec.schedules), "-1"
	configs := map[string]*string{}
	if spec.forever {
		configs[configRetention] = &never
	}
	if t.name == chronosName {
		configs[configSchedules] = &enabled
	}
	_, err = kadm.NewClient(cl).CreateTopic(ctx, int32(spec.partitions), 1, configs, topic)
	if err != nil {
		return "", fmt.Errorf("create %s: %w", topic, err)
	}
	return topic, nil
}

// dropTopic deletes a topic, so that the next run finds the disk as this one did.
func (t *target) dropTopic(ctx context.Context, topic string) error {
	if t.dir == "" {
		return nil
	}
	cl, err := t.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).DeleteTopic(ctx, topic); err != nil {
		return fmt.Errorf("delete %s: %w", topic, err)
	}
	return nil
}

// usage is what a server has used up to now.
type usage struct {
	cpu     time.Duration // of the server
	client  time.Duration // CPU of this process
	fsyncs  float64
	written int64 // bytes that it caused to be written to the disk
}

// usage reads what the server and this process used. The reference has no metrics.
func (t *target) usage() (usage, error) {
	var u usage
	var err error
	if u.cpu, err = harness.CPU(t.Pid()); err != nil {
		return u, err
	}
	if u.client, err = harness.CPU(os.Getpid()); err != nil {
		return u, err
	}
	if t.name != chronosName {
		return u, nil
	}
	if u.written, err = harness.Written(t.Pid()); err != nil {
		return u, err
	}
	m, err := harness.Scrape(t.web)
	if err != nil {
		return u, err
	}
	u.fsyncs, err = m.Sum("chronos_fsyncs_total")
	return u, err
}

func (u usage) minus(before usage) usage {
	return usage{
		cpu: u.cpu - before.cpu, client: u.client - before.client,
		fsyncs: u.fsyncs - before.fsyncs, written: u.written - before.written,
	}
}

// diskBytes adds up the files of the data directory.
func (t *target) diskBytes() (int64, error) { return folderBytes(t.dir) }

// folderBytes adds up the files below a folder.
func folderBytes(dir string) (int64, error) {
	if _, err := os.Stat(dir); err != nil {
		return 0, err
	}
	var sum int64
	err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if os.IsNotExist(err) {
			return nil // deleted meanwhile, such as a compacted table
		}
		if err == nil && info.Mode().IsRegular() {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("add up %s: %w", dir, err)
	}
	return sum, nil
}
