package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/cmd/chronos/httpapi"
	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/kafkaproto"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// drainMax is how long requests in work may take after SIGTERM. What is not answered then is given
// up: its client sees a closed connection and tries again elsewhere or later.
const drainMax = 5 * time.Second

const serveHelp = `Start the server.

Every flag has a default: without any, only this machine can connect, and the data is in ./data.

A flag can also be set by an environment variable (--tick-ms as CHRONOS_TICK_MS) and by a key of
the YAML file that --config names (tick-ms: 1). The command line goes before the environment, the
environment before the file, and an unknown name is an error.

SIGTERM and SIGINT let requests in work finish and exit with code 0; a second one ends at once,
which is safe too: what was acknowledged is on disk.`

func newServe() *cobra.Command {
	c := defaultConfig()
	cmd := &cobra.Command{
		Use:     "serve",
		Short:   "Start the server",
		Long:    serveHelp,
		Example: "  chronos serve\n  chronos serve --data-dir /var/lib/chronos --num-partitions 4",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := applySources(cmd.Flags(), os.Environ()); err != nil {
				return err
			}
			logger, err := newLogger(c.LogLevel, c.LogFormat)
			if err != nil {
				return err
			}
			defer func() { _ = logger.Sync() }() // a terminal cannot be synced; nothing is lost
			if cmd.Flags().Changed("dedup-ttl") {
				logger.Warn("dedup-ttl has no effect: this version refuses chronos-message-id")
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			// From the first signal on, the next one has its default effect: it ends the process.
			context.AfterFunc(ctx, stop)
			return serve(ctx, c, cmd.OutOrStdout(), logger)
		},
	}
	registerFlags(cmd.Flags(), &c)
	return cmd
}

// server is what serve has opened so far, in the order of its fields. Only serve's goroutine uses
// it.
type server struct {
	config   Config
	logger   *zap.Logger
	clock    clock.Clock
	health   *health
	registry *prometheus.Registry
	api      *httpapi.API

	web      *webServer
	replicas *replication.Manager
	groups   *groups.Coordinator
	kafka    *kafkaproto.Server
	served   chan error // what kafka.Serve returned
}

// serve opens the floors from the ground up, serves until ctx ends or the listener breaks, and
// closes what it has opened from the top down.
func serve(ctx context.Context, c Config, out io.Writer, logger *zap.Logger) (err error) {
	s := &server{
		config: c, logger: logger, clock: clock.Real(), health: newHealth(),
		registry: prometheus.NewRegistry(),
		api: httpapi.New(httpapi.Options{
			AllowRemoteWrites: c.HTTPRemoteWrites, Clock: clock.Real(), Logger: logger.Named("api"),
		}),
	}
	defer startCeiling(s.clock).close()
	defer func() { err = errors.Join(err, s.close()) }()
	began := s.clock.Now()
	if err := s.openWeb(); err != nil {
		return err
	}
	if err := s.openStorage(); err != nil {
		return err
	}
	if ctx.Err() != nil { // told to stop during a long recovery
		return nil
	}
	if err := s.openFrontend(); err != nil {
		return err
	}
	s.announce(out, s.clock.Now().Sub(began))
	select {
	case <-ctx.Done():
		logger.Info("stopping: told by a signal")
		return nil
	case err := <-s.served:
		s.served = nil
		return fmt.Errorf("clients can no longer connect to %s: %w", s.kafka.Addr(), err)
	}
}

// openWeb comes first, so that /health can say that the server is recovering.
func (s *server) openWeb() error {
	s.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	listener, err := net.Listen("tcp", s.config.HTTPAddr)
	if err != nil {
		// A second start on the same data directory meets the first one's port before its lock; the
		// lock is the better answer.
		if held := s.heldBy(); held != nil {
			return held
		}
		return fmt.Errorf("%w; choose another address with --http-addr", err)
	}
	s.web = startWeb(listener, webHandlers{health: s.health, metrics: s.registry, api: s.api},
		s.logger.Named("http"))
	return nil
}

// heldBy says which process has locked the data directory; nil when none has or none can be named.
func (s *server) heldBy() error {
	dir := s.config.DataDir
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); err != nil {
		return nil // nothing to ask, and nothing to create either
	}
	lock, err := vfs.LockDir(vfs.OS(), dir, vfs.Holder{Pid: os.Getpid(), Started: s.clock.Now()})
	var held *vfs.HeldError
	if errors.As(err, &held) {
		return s.dataDirError(err)
	}
	if err == nil {
		_ = lock.Close()
	}
	return nil
}

func (s *server) dataDirError(err error) error {
	return fmt.Errorf("data directory %s: %w", s.config.DataDir, err)
}

// openStorage recovers the data directory and the groups in it.
func (s *server) openStorage() error {
	s.health.notReady("recovering")
	mode, err := log.ParseMode(s.config.FsyncMode)
	if err != nil {
		return err
	}
	s.replicas, err = replication.Open(replication.Options{
		DataDir:                  s.config.DataDir,
		NodeID:                   int32(s.config.NodeID),
		FS:                       vfs.OS(),
		Clock:                    s.clock,
		FsyncMode:                mode,
		FsyncInterval:            s.config.FsyncInterval,
		SegmentBytes:             s.config.SegmentBytes,
		JournalBytes:             s.config.JournalBytes,
		TickMs:                   int(s.config.TickMs),
		WheelSize:                int(s.config.WheelSize),
		MaxClockJump:             s.config.MaxClockJump,
		NumPartitions:            int32(s.config.NumPartitions),
		RetentionInterval:        s.config.RetentionCheck,
		CompactionInterval:       s.config.CompactionCheck,
		CompactionMapBytes:       s.config.CompactionMemory,
		CompactionBytesPerSecond: s.config.CompactionRate,

		Logger:         s.logger.Named("replication"),
		OnFailure:      s.storageFailed,
		OnOpenProgress: s.recovering,
	})
	if err != nil {
		return s.dataDirError(err)
	}
	s.health.notReady("recovering: consumer groups")
	offsets := newOffsetsTopic(s.replicas)
	s.groups, err = groups.Open(groups.Options{
		Partitions: offsets.partitions(),
		OpenLog:    offsets.open,
		Clock:      s.clock,
		Logger:     s.logger,
	})
	return err
}

// recovering lets /health say how far a long recovery is.
func (s *server) recovering(p replication.OpenProgress) {
	s.health.notReady("recovering: " + p.String())
}

// storageFailed ends the process at once. After a failed write or fsync nobody knows what is on
// disk, so nothing may be acknowledged any more, and an orderly way out would only write more.
func (s *server) storageFailed(err error) {
	err = fmt.Errorf("%w; check the disk, then start again: what was acknowledged is recovered", err)
	fmt.Fprintf(os.Stderr, "chronos: %s\n", oneLine(s.dataDirError(err)))
	os.Exit(exitFailed)
}

// openFrontend listens last: until then a client is refused and tries again, which beats waiting
// for an answer that may take a recovery.
func (s *server) openFrontend() error {
	listener, err := net.Listen("tcp", s.config.KafkaAddr)
	if err != nil {
		return fmt.Errorf("%w; choose another address with --kafka-addr", err)
	}
	s.kafka, err = kafkaproto.NewServer(kafkaproto.Options{
		Listener:        listener,
		Replicas:        s.replicas,
		Groups:          s.groups,
		Advertised:      advertisedFor(s.config.AdvertisedAddr, s.config.KafkaAddr, listener.Addr()),
		MaxRequestBytes: int(s.config.MaxRequestBytes),
		NoAutoCreate:    !s.config.AutoCreateTopics,
		BrokerConfigs:   brokerConfigs(s.config),
		Clock:           s.clock,
		Logger:          s.logger,
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	s.registry.MustRegister(newExporter(s.kafka, s.replicas, s.groups, s.clock))
	s.served = make(chan error, 1)
	// close stops it through Drain and waits for what it sends.
	go func() { s.served <- s.kafka.Serve() }()
	s.api.Open(s.replicas)
	s.health.ready.Store(true)
	return nil
}

// announce tells the person at the terminal, and the log, that the server serves.
func (s *server) announce(out io.Writer, took time.Duration) {
	b := banner{
		kafka: s.kafka.Addr(), web: s.web.addr(), dataDir: s.config.DataDir,
		remoteWrites: s.config.HTTPRemoteWrites,
		advertised:   advertisedFor(s.config.AdvertisedAddr, s.config.KafkaAddr, s.kafka.Addr()),
	}
	b.print(out)
	s.logger.Info("serving",
		zap.String("version", versionText()), zap.String("data_dir", s.config.DataDir),
		zap.String("kafka_addr", b.kafka.String()), zap.String("http_addr", b.web.String()),
		zap.String("advertised_addr", b.advertised), zap.String("cluster_id", s.replicas.ClusterID()),
		zap.String("fsync_mode", s.config.FsyncMode), zap.Duration("took", took))
	for _, warning := range b.warnings() {
		s.logger.Warn(warning)
	}
}

// close closes what is open, from the top down, so that nothing is used after it has gone.
func (s *server) close() error {
	s.health.notReady("draining")
	s.api.Close()
	var errs []error
	if s.kafka != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainMax)
		if err := s.kafka.Drain(ctx); err != nil {
			s.logger.Warn("not every request could be answered", zap.Error(err))
		}
		cancel()
		if s.served != nil {
			errs = append(errs, <-s.served)
		}
	}
	if s.groups != nil {
		errs = append(errs, s.groups.Close())
	}
	if s.replicas != nil {
		errs = append(errs, s.replicas.Close())
	}
	if s.web != nil {
		s.web.close()
	}
	err := errors.Join(errs...)
	if err == nil && s.kafka != nil {
		s.logger.Info("stopped")
	}
	return err
}
