package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// serverArgs make what takes hours in production happen within a soak.
var serverArgs = []string{"--retention-check-interval", "1s", "--log-level", "warn"}

func main() {
	minutes := flag.Float64("minutes", 10, "how long the load lasts")
	dir := flag.String("dir", "", "where the server's data goes; a temporary folder unless set")
	rate := flag.Int("rate", 1500, "records a second, of all producers together")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	lasts := time.Duration(*minutes * float64(time.Minute))
	err := run(ctx, *dir, lasts, *rate)
	if cleanErr := harness.RemoveBinary(); err == nil {
		err = cleanErr
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
	fmt.Println("soak: nothing grew, nothing was lost")
}

// run soaks a server of its own.
func run(ctx context.Context, dir string, lasts time.Duration, rate int) (err error) {
	if dir == "" {
		if dir, err = os.MkdirTemp("", "chronos-soak-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	data := filepath.Join(dir, "data")
	launch, addr, err := harness.ServeLaunch(data, serverArgs...)
	if err != nil {
		return err
	}
	p, err := launch.Start()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			fmt.Fprintln(os.Stderr, p.Logs())
			p.Kill()
		}
	}()
	l, err := newLoad(ctx, addr, rate)
	if err != nil {
		return err
	}
	defer l.close()
	w := &watch{
		pid: p.Pid(), httpAddr: launch.HTTPAddr, dataDir: data, began: time.Now(), lasts: lasts,
	}
	loadErr := l.during(ctx, lasts, func() error {
		select {
		case <-p.Exited():
			return harness.ErrExited
		default:
			return w.sample(os.Stdout)
		}
	})
	if err := errors.Join(loadErr, ctx.Err()); err != nil {
		return err
	}
	if err := errors.Join(w.judge(os.Stdout), l.judge(ctx)); err != nil {
		return err
	}
	return p.Stop()
}
