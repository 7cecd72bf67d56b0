package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// peerArgument as the first argument turns this program into the peer.
const peerArgument = "kfake"

// peerMain runs kfake, the Kafka of franz-go for tests, until SIGTERM: on disk, with an fsync of
// segment and index for each batch. Its arguments are the Kafka address, the HTTP address and a
// folder.
func peerMain(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want a Kafka and an HTTP address and a folder, got %q", args)
	}
	_, port, err := net.SplitHostPort(args[0])
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return fmt.Errorf("port: %w", err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(n), kfake.DataDir(args[2]),
		kfake.SyncWrites())
	if err != nil {
		return fmt.Errorf("start kfake: %w", err)
	}
	defer cluster.Close()
	answerHealth(args[1])
	<-stop
	return nil
}

// startPeer starts the peer on an empty folder.
func (b *bench) startPeer() (*target, error) {
	dir, err := os.MkdirTemp(b.dir, "peer-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the peer: %w", err)
	}
	t, err := startSelf(peerArgument, dir)
	if err != nil {
		return nil, err
	}
	t.dir = dir
	return t, nil
}

// peerSection compares produce with another server that has each batch on the disk before it
// answers.
func peerSection(ctx context.Context, b *bench) error {
	const title = "Peer: produce, 1 partition, acks=all, idempotent, fsync before ack"
	t := newTable(title, "value", "drop", "kfake", "chronos", "of kfake", "kfake CPU/rec",
		"server CPU/rec", "run")
	t.note("kfake is the Kafka of franz-go for tests, on disk, with SyncWrites: segment and index " +
		"are synced for each batch.")
	runs := newRunsTable(title, "records/s")
	p, err := b.startPair()
	if err != nil {
		return err
	}
	peer, err := b.startPeer()
	if err != nil {
		return errors.Join(err, p.end())
	}
	contenders := []*target{p.drop, peer, p.chronos}
	for _, size := range []int{100, 1024} {
		c := produceCase{size: size, partitions: 1, codec: plain, schedules: true}
		var turns []contender
		for _, target := range contenders {
			turns = append(turns, contender{name: target.name, run: func() (sample, error) {
				return b.produceRun(ctx, target, c)
			}})
		}
		all, err := b.takeTurns(turns...)
		if err != nil {
			return errors.Join(err, p.end(), peer.end())
		}
		var m []sample
		for i, samples := range all {
			m = append(m, middle(samples))
			runs.addRates(bytesOf(size), contenders[i].name, samples)
		}
		t.add(bytesOf(size), count(m[0].rate())+"/s", count(m[1].rate())+"/s", count(m[2].rate())+"/s",
			ratio(m[2].rate(), m[1].rate()), micros(m[1].used.cpu, m[1].records),
			micros(m[2].used.cpu, m[2].records),
			fmt.Sprintf("%d x %.1f s", b.runs, m[2].elapsed.Seconds()))
	}
	b.print(t)
	b.print(runs.table)
	return errors.Join(p.end(), peer.end())
}

// startSelf starts this program in another role, which is also the target's name.
func startSelf(role string, more ...string) (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
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
		Binary: self, Args: append([]string{role, addr, web}, more...), HTTPAddr: web,
	}
	p, err := launch.Start()
	if err != nil {
		return nil, err
	}
	return &target{Process: p, name: role, addr: addr, web: web}, nil
}
