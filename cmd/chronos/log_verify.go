package main

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const logVerifyHelp = `Read a whole data directory and check every file in it.

Of each log: the checksum and place of every batch, and both indexes, leader epochs and the
recovery-point note against the batches. Of each partition also: the decisions in the staging log,
the deliveries and the producer snapshot against both logs. And the metadata, the commit journal
with what it says of the segments, and the checksums of the schedule index.

What is wrong is printed with file and byte, and the exit code is 1. Nothing is changed:

  remark   nothing is lost, such as a tail that a crash tore before it was acknowledged
  derived  a damaged file that the server makes anew from others
  damage   bytes that were once synced are not what they were`

// errInterrupted is how a verify ends that a signal has stopped.
var errInterrupted = errors.New("interrupted: not everything was read")

func newLogVerify() *cobra.Command {
	output := outputFormat("text")
	dataDir, parallel := defaultConfig().DataDir, runtime.GOMAXPROCS(0)
	cmd := &cobra.Command{
		Use:     "verify",
		Short:   "Check every file of a data directory",
		Long:    logVerifyHelp,
		Example: "  chronos log verify --data-dir /var/lib/chronos",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if parallel < 1 || parallel > replication.VerifyParallelMax {
				return usagef("--parallel is %d; want 1 to %d", parallel, replication.VerifyParallelMax)
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, os.Interrupt)
			defer stop()
			fsys := vfs.OS()
			noteHolder(fsys, dataDir, cmd.ErrOrStderr())
			v := &verifier{out: &dumpWriter{out: cmd.OutOrStdout(), json: output == "json"}}
			if isTerminal(os.Stderr) {
				v.screen = cmd.ErrOrStderr()
			}
			return v.run(ctx, replication.VerifyOptions{FS: fsys, DataDir: dataDir, Parallel: parallel})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&dataDir, "data-dir", dataDir, "the data directory")
	flags.VarP(&output, "output", "o", "format of the output")
	flags.IntVar(&parallel, "parallel", parallel, "most folders to read at once")
	return cmd
}

// verifier prints what a Verify finds. Its functions are called by one goroutine at a time.
type verifier struct {
	out    *dumpWriter
	screen io.Writer // where the bar goes; nil when nobody watches
	bar    *progressbar.ProgressBar

	found  map[log.Grade]int
	failed error // the first error of printing
}

func (v *verifier) run(ctx context.Context, o replication.VerifyOptions) error {
	v.found = map[log.Grade]int{}
	o.OnTotal, o.OnBytes, o.OnFinding, o.OnFolder = v.total, v.read, v.finding, v.folder
	began := clock.Real().Now()
	folders, err := replication.Verify(ctx, o)
	v.clear()
	if err != nil && ctx.Err() != nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if v.failed != nil {
		return v.failed
	}
	if err := v.summary(folders, clock.Real().Now().Sub(began)); err != nil {
		return err
	}
	return damageError(v.found[log.GradeDamage] + v.found[log.GradeDerived])
}

// total begins the bar.
func (v *verifier) total(bytes int64) {
	if v.screen == nil {
		return
	}
	v.bar = progressbar.NewOptions64(bytes,
		progressbar.OptionSetWriter(v.screen), progressbar.OptionSetDescription("verifying"),
		progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
}

func (v *verifier) read(n int64) {
	if v.bar != nil {
		_ = v.bar.Add64(n) // a bar that cannot be drawn is no reason to stop
	}
}

// clear takes the bar off the screen, so that a line can be printed there.
func (v *verifier) clear() {
	if v.bar != nil {
		_ = v.bar.Clear() // as above
	}
}

func (v *verifier) finding(found log.Finding) {
	v.found[found.Grade]++
	v.clear()
	if err := v.out.finding(found); v.failed == nil {
		v.failed = err
	}
}

// folder prints a line for each folder, unless a bar says it better.
func (v *verifier) folder(f replication.VerifiedFolder) {
	if v.bar != nil && !v.out.json {
		return
	}
	var segments, bytes, batches int64
	for _, sum := range f.Logs {
		segments += int64(sum.Segments)
		bytes += sum.Bytes
		batches += sum.Batches
	}
	err := v.out.line(dumpLine{kind: "folder", fields: []dumpField{
		kv("name", f.Name), kv("dir", f.Dir), kv("segments", segments), kv("batches", batches),
		kv("bytes", bytes), kv("damaged_places", f.Damage),
	}})
	if v.failed == nil {
		v.failed = err
	}
}

// summary is the last line.
func (v *verifier) summary(folders []replication.VerifiedFolder, took time.Duration) error {
	var logs, segments int
	var batches, records, bytes int64
	for _, f := range folders {
		for _, sum := range f.Logs {
			logs++
			segments += sum.Segments
			batches += sum.Batches
			records += sum.Records
			bytes += sum.Bytes
		}
	}
	return v.out.line(dumpLine{kind: "summary", fields: []dumpField{
		kv("folders", len(folders)), kv("logs", logs), kv("segments", segments),
		kv("batches", batches), kv("records", records), kv("bytes", bytes),
		kv("damage", v.found[log.GradeDamage]), kv("derived", v.found[log.GradeDerived]),
		kv("remarks", v.found[log.GradeRemark]), kv("seconds", math.Round(10*took.Seconds())/10),
	}})
}
