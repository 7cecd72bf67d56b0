package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// How the server syncs: the second word of each is what its configuration file calls it.
const (
	syncDefault = "default"
	syncAlways  = "always"
)

// readyMax bounds the start: with millions of schedules it reads them all.
const readyMax = 5 * time.Minute

// serve runs a server until SIGTERM.
func serve(args []string) error {
	if len(args) != 4 {
		return fmt.Errorf("want a NATS and an HTTP address, a folder and a sync mode, got %q", args)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	s, err := start(args[0], args[2], args[3])
	if err != nil {
		return err
	}
	// The exit of the process ends this goroutine.
	go func() { _ = http.ListenAndServe(args[1], health{}) }()
	<-stop
	s.Shutdown()
	s.WaitForShutdown()
	return nil
}

// health answers OK: the server is up before it listens.
type health struct{}

func (health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, "OK\n") // the benchmark asks again
}

// start starts a server with JetStream on a folder.
func start(addr, dir, sync string) (*server.Server, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, fmt.Errorf("port: %w", err)
	}
	o := &server.Options{
		Host: host, Port: n, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	}
	switch sync {
	case syncDefault: // a server without a configuration file takes its own default
	case syncAlways:
		// These two are what "sync_interval: always" sets.
		o.SyncAlways, o.SyncInterval = true, 2*time.Minute
	default:
		return nil, fmt.Errorf("sync mode %q is neither %s nor %s", sync, syncDefault, syncAlways)
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("make a server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(readyMax) {
		return nil, errors.New("the server is not ready")
	}
	return s, nil
}
