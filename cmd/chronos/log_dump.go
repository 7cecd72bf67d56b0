package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

const logDumpHelp = `Print files of a data directory as text.

PATH is a segment (*.log, *.swap), an index (*.index, *.timeindex), a recovery-point note, a
leader-epochs file, the state of a compaction, a producer snapshot (producers), a metadata snapshot,
a file of the commit journal or what was put aside of it (unreplayed), or a folder with such files:
a partition, its staging log, metadata, the journal, or a whole data directory.

Every batch is checked while it is read. What is damaged is printed with file and byte, what follows
it is printed all the same, and the exit code is 1.`

// dumpOptions are the flags of log dump.
type dumpOptions struct {
	output     outputFormat
	records    bool
	verify     bool
	from       int64
	limit      int
	valueBytes int
}

func newLogDump() *cobra.Command {
	o := dumpOptions{output: "text"}
	cmd := &cobra.Command{
		Use:   "dump PATH",
		Short: "Print segments, indexes, notes and snapshots as text",
		Long:  logDumpHelp,
		Example: "  chronos log dump data/topics/0b5e...-0\n" +
			"  chronos log dump --records --from 100 --limit 5 data/topics/0b5e...-0",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s takes one path, %d were given", cmd.CommandPath(), len(args))
			}
			fsys := vfs.OS()
			noteHolder(fsys, args[0], cmd.ErrOrStderr())
			d := &dumper{
				o: o, fs: fsys, out: &dumpWriter{out: cmd.OutOrStdout(), json: o.output == "json"},
				notes: cmd.ErrOrStderr(), shown: map[string]bool{},
			}
			return d.dump(args[0])
		},
	}
	flags := cmd.Flags()
	flags.VarP(&o.output, "output", "o", "format of the output")
	flags.BoolVar(&o.records, "records", false, "print keys, values and headers, too")
	flags.BoolVar(&o.verify, "verify", false, "check the files against each other, too")
	flags.Int64Var(&o.from, "from", 0, "first offset of batches to print")
	flags.IntVar(&o.limit, "limit", 0, "most batches or entries to print of a file; 0 means all")
	flags.IntVar(&o.valueBytes, "value-bytes", 64, "most bytes of a key or value to print")
	return cmd
}

// dumper is one log dump.
type dumper struct {
	o     dumpOptions
	fs    vfs.FS
	out   *dumpWriter
	notes io.Writer // of what is not printed

	damages int
	shown   map[string]bool // findings, by file and byte
}

// errDumpLimit ends the reading of one file, and is no error.
var errDumpLimit = errors.New("limit reached")

// removedError says that a server has removed what was to be printed.
type removedError struct{ path string }

// Error says so.
func (e *removedError) Error() string { return e.path + " was removed while it was read" }

// Unwrap returns fs.ErrNotExist.
func (e *removedError) Unwrap() error { return fs.ErrNotExist }

// isRemoved says whether a folder is gone, or half gone because its topic was deleted. A file that
// is missing from one that stays is damage.
func (d *dumper) isRemoved(dir string) bool {
	_, err := d.fs.Stat(dir)
	return errors.Is(err, fs.ErrNotExist) || replication.IsDeleted(d.fs, dir)
}

func (d *dumper) dump(path string) error {
	info, err := d.fs.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = d.folder(path)
	} else {
		err = d.file(path)
	}
	if err == nil && d.o.verify {
		err = d.verify(path, info.IsDir())
	}
	if err == nil {
		err = damageError(d.damages)
	}
	if err != nil && d.isRemoved(path) {
		return &removedError{path}
	}
	return err
}

// finding prints what is wrong, once.
func (d *dumper) finding(found log.Finding) error {
	at := fmt.Sprintf("%s:%d", found.File, found.Position)
	if d.shown[at] {
		return nil
	}
	d.shown[at] = true
	if found.Grade != log.GradeRemark {
		d.damages++
	}
	return d.out.finding(found)
}

func (d *dumper) header(kind, path string, fields ...dumpField) error {
	return d.out.line(dumpLine{kind: kind, fields: append([]dumpField{kv("file", path)}, fields...)})
}

// exists says whether a folder holds something of that name.
func (d *dumper) exists(dir, name string) bool {
	_, err := d.fs.Stat(d.fs.PathJoin(dir, name))
	return err == nil
}

// folder dumps what a folder holds: a data directory, the metadata, or a log with what lies in it.
func (d *dumper) folder(dir string) error {
	names, err := d.fs.List(dir)
	if err != nil {
		return err
	}
	slices.Sort(names)
	if d.fs.PathBase(dir) == replication.JournalName {
		return d.journal(dir, "")
	}
	known, gone := 0, 0
	for _, name := range names {
		path := d.fs.PathJoin(dir, name)
		info, err := d.fs.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // A server has just deleted it.
			gone++
			continue
		case err != nil:
			return err
		case info.IsDir() && d.isPartOfDataDir(dir, name):
			err = d.partOf(path)
		case !info.IsDir() && dumperOf(d.fs, path) != nil && !log.IsIndexName(name):
			err = d.file(path)
		default:
			continue
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // as above
			gone++
		case err != nil:
			return err
		default:
			known++
		}
	}
	if known == 0 && gone > 0 {
		return &removedError{dir}
	}
	if known == 0 && len(names) > 0 {
		return fmt.Errorf("%s holds no file that can be printed", dir)
	}
	return nil
}

// partOf dumps a folder in a folder. One that is removed meanwhile is left out.
func (d *dumper) partOf(dir string) error {
	before := d.damages
	err := d.folder(dir)
	if err == nil && d.damages == before || !d.isRemoved(dir) {
		return err
	}
	d.damages = before
	if _, err := fmt.Fprintf(d.notes, "note: %v\n", &removedError{dir}); err != nil {
		return fmt.Errorf("%w: %w", errDumpWrite, err)
	}
	return nil
}

// isPartOfDataDir leaves out what is no folder of logs, such as the index.
func (d *dumper) isPartOfDataDir(dir, name string) bool {
	if d.exists(dir, "FORMAT") {
		return name != "index"
	}
	return name == replication.StagingName || name == metadata.LogName ||
		d.fs.PathBase(dir) == "topics"
}

// file dumps one file by what its name says it is.
func (d *dumper) file(path string) error {
	dump := dumperOf(d.fs, path)
	if dump == nil {
		return fmt.Errorf("%s is of no kind that can be printed; see --help", path)
	}
	err := dump(d, path)
	if errors.Is(err, errDumpLimit) {
		return nil
	}
	return err
}

// dumperOf returns how a file is dumped; nil if its name is not known.
func dumperOf(fsys vfs.FS, path string) func(d *dumper, path string) error {
	name := fsys.PathBase(path)
	switch {
	case log.IsSegmentName(name), log.IsSwapName(name):
		return (*dumper).segment
	case log.IsIndexName(name):
		return (*dumper).index
	case name == log.NoteName:
		return (*dumper).note
	case name == log.EpochsName:
		return (*dumper).epochs
	case name == log.CompactionName:
		return (*dumper).compaction
	case name == log.AsideName:
		return (*dumper).aside
	case name == replication.ProducersName:
		return (*dumper).producers
	case name == metadata.SnapshotName:
		return (*dumper).snapshot
	case fsys.PathBase(fsys.PathDir(path)) == replication.JournalName:
		return func(d *dumper, path string) error { return d.journal(d.fs.PathDir(path), path) }
	default:
		return nil
	}
}

// limited counts one more item of a file and ends the file at the limit.
func (d *dumper) limited(n *int) error {
	*n++
	if d.o.limit > 0 && *n > d.o.limit {
		return errDumpLimit
	}
	return nil
}

// damaged reports a file that cannot be decoded at all.
func (d *dumper) damaged(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return err
	}
	return d.finding(log.Finding{Grade: log.GradeDamage, File: path, Err: err})
}

func (d *dumper) index(path string) error {
	if err := d.header("index", path); err != nil {
		return err
	}
	n := 0
	return log.InspectIndex(d.fs, path, func(e log.IndexEntry) error {
		if err := d.limited(&n); err != nil {
			return err
		}
		if e.Err != nil {
			return d.finding(log.Finding{
				Grade: log.GradeDerived, File: path, Position: e.Position, Err: e.Err,
			})
		}
		return d.out.line(dumpLine{kind: "entry", depth: 1, fields: []dumpField{
			kv("byte", e.Position), kv("key", e.Key), kv("value", e.Value),
		}})
	})
}

func (d *dumper) note(path string) error {
	slots, err := log.InspectNote(d.fs, path)
	if err != nil {
		return d.damaged(path, err)
	}
	if err := d.header("note", path); err != nil {
		return err
	}
	for _, s := range slots {
		line := dumpLine{kind: "slot", depth: 1, fields: []dumpField{
			kv("byte", s.Position), kv("written", s.Kind), kv("newest", s.Newest), kv("intact", s.Intact),
		}}
		if s.Intact {
			line.fields = append(line.fields, kv("sequence", s.Sequence), kv("start", s.Start),
				kv("flushed_end", s.FlushedEnd), kv("recovery_point", s.RecoveryPoint),
				kv("segment", s.RecoverySegment), kv("position", s.RecoveryPosition),
				kv("max_time", moment(s.MaxTime)), kv("first_time", moment(s.FirstTime)),
				kv("index_entries", s.IndexEntries), kv("time_entries", s.TimeEntries),
				kv("vouched", s.Vouched), kv("journal_from", s.JournalFrom))
		}
		if err := d.out.line(line); err != nil {
			return err
		}
		if s.Err == nil {
			continue
		}
		err := d.finding(log.Finding{
			Grade: log.GradeDerived, File: path, Position: s.Position, Err: s.Err,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) epochs(path string) error {
	epochs, err := log.InspectEpochs(d.fs, path)
	if err != nil {
		return d.damaged(path, err)
	}
	if err := d.header("leader-epochs", path); err != nil {
		return err
	}
	n := 0
	for _, e := range epochs {
		if err := d.limited(&n); err != nil {
			return err
		}
		err := d.out.line(dumpLine{kind: "epoch", depth: 1, fields: []dumpField{
			kv("epoch", e.Epoch), kv("start", e.Start),
		}})
		if err != nil {
			return err
		}
	}
	return nil
}
