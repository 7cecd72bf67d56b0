package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// natsMode is one way in which NATS is run.
type natsMode struct {
	name   string
	sync   string // as integration/nats calls it
	window int    // messages in flight; with a sync for each, more make its client give up
	rate   int    // records due per second that it is asked for at most
}

// natsModes are both: as it comes, acknowledging what the disk gets within two minutes, and with a
// sync before each acknowledgement, as chronos does it.
var natsModes = []natsMode{
	{name: "NATS default", sync: "default", window: 4000, rate: 50_000},
	{name: "NATS always", sync: "always", window: 1000, rate: 1_000},
}

// natsAccepted and natsDelivered are answers of integration/nats.
type natsAccepted struct {
	Records int64         `json:"records"`
	Elapsed time.Duration `json:"elapsed"`
	Total   int64         `json:"total"`
}

type natsDelivered struct {
	Records int           `json:"records"`
	Min     time.Duration `json:"min"`
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	P999    time.Duration `json:"p999"`
	Max     time.Duration `json:"max"`
	Took    time.Duration `json:"took"`
	Overran time.Duration `json:"overran"`
}

// natsBinary builds integration/nats, once.
func (b *bench) natsBinary() (string, error) {
	if b.nats != "" {
		return b.nats, nil
	}
	root, err := harness.ModuleRoot()
	if err != nil {
		return "", fmt.Errorf("find integration/nats (-nats=false leaves NATS out): %w", err)
	}
	path := filepath.Join(b.dir, "nats")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join(root, "integration", "nats")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s (-nats=false leaves NATS out): %w\n%s", cmd.Dir, err, out)
	}
	b.nats = path
	return path, nil
}

// startNats starts NATS on an empty folder.
func (b *bench) startNats(m natsMode) (*target, error) {
	dir, err := os.MkdirTemp(b.dir, "nats-data-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for NATS: %w", err)
	}
	return b.startNatsOn(m, dir)
}

// startNatsOn starts NATS on a folder.
func (b *bench) startNatsOn(m natsMode, dir string) (*target, error) {
	binary, err := b.natsBinary()
	if err != nil {
		return nil, err
	}
	addr, err := harness.FreeAddr()
	if err != nil {
		return nil, err
	}
	web, err := harness.FreeAddr()
	if err != nil {
		return nil, err
	}
	launch := harness.Launch{
		Binary: binary, Args: []string{"serve", addr, web, dir, m.sync}, HTTPAddr: web,
	}
	p, err := launch.Start()
	if err != nil {
		return nil, err
	}
	return &target{Process: p, name: m.name, addr: addr, web: web, dir: dir}, nil
}

// askNats runs one client command against a server, decodes its answer, and returns what CPU the
// two of them took.
func (b *bench) askNats(
	ctx context.Context, t *target, into any, command string, args ...string,
) (usage, error) {
	before, err := harness.CPU(t.Pid())
	if err != nil {
		return usage{}, err
	}
	cmd := exec.CommandContext(ctx, b.nats, append([]string{command, t.addr}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return usage{}, fmt.Errorf("nats %s: %w\n%s", command, err, &said)
	}
	if err := json.Unmarshal(out, into); err != nil {
		return usage{}, fmt.Errorf("answer of nats %s: %w", command, err)
	}
	after, err := harness.CPU(t.Pid())
	return usage{
		cpu:    after - before,
		client: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(),
	}, err
}

// part is the usage that goes to some of all records.
func (u usage) part(some, all int64) usage {
	of := float64(some) / float64(max(all, 1))
	return usage{
		cpu: time.Duration(float64(u.cpu) * of), client: time.Duration(float64(u.client) * of),
	}
}

// natsAccept lets NATS accept schedules for the length of a run.
func (b *bench) natsAccept(ctx context.Context, t *target, m natsMode) (sample, error) {
	flushDisk()
	var a natsAccepted
	u, err := b.askNats(ctx, t, &a, "accept", "-window", strconv.Itoa(m.window),
		"-seconds", fmt.Sprint(b.seconds), "-warm", fmt.Sprint(b.warmUp().Seconds()))
	if err != nil {
		return sample{}, err
	}
	return sample{
		records: float64(a.Records), elapsed: a.Elapsed, used: u.part(a.Records, a.Total),
	}, nil
}
