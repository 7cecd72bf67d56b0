package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const logHelp = `Look into the files of a data directory.

Both commands only read: they need no lock, so a server may use the directory meanwhile. What it is
just writing is not taken for damage.`

// newLog builds the commands that look into files.
func newLog() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Look into the files of a data directory: dump, verify",
		Long:  logHelp,
		Args:  cobra.ArbitraryArgs, // an unknown command is answered below, in one line
		RunE:  helpOrNearest,
	}
	cmd.AddCommand(newLogDump(), newLogVerify())
	return cmd
}

// outputFormat is what -o names.
type outputFormat string

// String returns the name.
func (f *outputFormat) String() string { return string(*f) }

// Set takes one of the names.
func (f *outputFormat) Set(text string) error {
	if text != "text" && text != "json" {
		return errors.New("want text or json")
	}
	*f = outputFormat(text)
	return nil
}

// Type is what --help calls the value.
func (f *outputFormat) Type() string { return "text|json" }

// errDamage is how a command ends that has found damage.
var errDamage = errors.New("damage was found")

// damageError counts what was found; nil when there is nothing.
func damageError(n int) error {
	switch n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("%w in one place", errDamage)
	default:
		return fmt.Errorf("%w in %d places", errDamage, n)
	}
}

// foldersAboveMax is how far above a file its data directory may be.
const foldersAboveMax = 5

// noteHolder says who uses the data directory that a path is in, if a process does.
func noteHolder(fs vfs.FS, path string, out io.Writer) {
	dir := path
	for range foldersAboveMax {
		h := vfs.HolderOf(fs, dir)
		if h.Pid != 0 {
			if alive(h.Pid) {
				fmt.Fprintf(out, "note: process %d uses %s since %s; what it is just writing may be shown"+
					" half\n", h.Pid, dir, h.Started.Format(time.RFC3339))
			}
			return
		}
		dir = fs.PathDir(dir)
	}
}

// alive says whether there is a process of that id. One that a kill left in the LOCK file is not.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}
