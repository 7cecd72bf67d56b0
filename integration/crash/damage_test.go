package crash

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	blockBytes = 4096
	// flipStep is the distance of the bytes whose bits are flipped, one bit after the other.
	flipStep = 3
)

// damages counts what came of the damage of a kind of file.
type damages struct{ unharmed, refused int }

// TestDamage zeroes each block and flips bits all over each file of a log that is not open. What was
// acknowledged is served as it was, or the damage is named; nothing is cut, and nothing else served.
func TestDamage(t *testing.T) {
	for _, closed := range []bool{true, false} {
		t.Run(map[bool]string{true: "stopped", false: "killed"}[closed], func(t *testing.T) {
			r := restedLog(t, closed)
			all := make(map[string]*damages)
			for _, name := range r.files(t) {
				kind := name[strings.LastIndexAny(name, "/.")+1:]
				if all[kind] == nil {
					all[kind] = &damages{}
				}
				r.damageFile(t, name, all[kind])
			}
			for kind, d := range all {
				t.Logf("%s: %d unharmed, %d refused", kind, d.unharmed, d.refused)
			}
			for _, kind := range []string{"log", "index", "timeindex", "recovery-point", "leader-epochs"} {
				d := all[kind]
				if d == nil || d.unharmed+d.refused < 10 {
					t.Fatalf("%s: hardly damaged: %+v", kind, d)
				}
				if kind == "log" && d.refused < d.unharmed || kind != "log" && d.refused > 0 {
					t.Errorf("%s: %d unharmed, %d refused", kind, d.unharmed, d.refused)
				}
			}
		})
	}
}

func (r *atRest) damageFile(t *testing.T, name string, d *damages) {
	t.Helper()
	p, err := readFile(r.fs, name)
	must(t, err)
	for at := 0; at < len(p); at += blockBytes {
		n := min(blockBytes, len(p)-at)
		r.damage(t, d, fmt.Sprintf("zeros in %s at byte %d", name, at), name, func(fs vfs.FS) error {
			return overwrite(fs, name, make([]byte, n), int64(at))
		})
	}
	for at := 0; at < len(p); at += flipStep {
		if strings.HasSuffix(name, segmentSuffix) && inEpochField(p, at) {
			continue
		}
		r.damage(t, d, fmt.Sprintf("bit %d flipped in %s at byte %d", at%8, name, at), name, func(fs vfs.FS) error {
			return flip(fs, name, int64(at), at%8)
		})
	}
	r.damage(t, d, name+" is gone", "", func(fs vfs.FS) error { return fs.Remove(name) })
}

// inEpochField reports whether a byte of a segment is one of a leader epoch: the one field of a batch
// that nothing covers, neither the CRC nor the order of offsets.
func inEpochField(p []byte, at int) bool {
	for pos := 0; pos < len(p); {
		b, err := parse(p[pos:])
		if err != nil || b == nil {
			return false
		}
		if at < pos+len(b.raw) {
			return at >= pos+epochAt && at < pos+magicAt
		}
		pos += len(b.raw)
	}
	return false
}

func (r *atRest) damage(t *testing.T, d *damages, what, name string, do func(fs vfs.FS) error) {
	t.Helper()
	fs := r.copy()
	must(t, do(fs))
	before := fs.CrashClone(1, nil)
	refused, err := r.judgeDamaged(fs, name)
	if err == nil && refused {
		err = r.segmentsAlike(before, fs)
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if refused {
		d.refused++
	} else {
		d.unharmed++
	}
}

// judgeDamaged opens and reads a log of which one file is damaged; without a name it is gone.
func (r *atRest) judgeDamaged(fs vfs.FS, name string) (refused bool, err error) {
	l, err := log.Open(r.dir, r.options(fs))
	if err != nil {
		return true, named(err, name)
	}
	defer func() { _ = l.Close() }() // it is looked at no more
	p := r.promise
	if int64(l.Start()) < p.start && (name == "" || name == fs.PathJoin(r.dir, noteName)) {
		// Without a note the log begins where its first segment does, as DESIGN.md says.
		p.start, p.startTo = int64(l.Start()), int64(l.Start())
		for len(p.batches) > 0 && p.batches[0].end <= p.start {
			p.batches = p.batches[1:]
		}
	}
	p.epoch = -1
	if err := p.judgeOpened(l); err != nil {
		return true, named(err, name)
	}
	return false, nil
}

const noteName = "recovery-point"

// named makes sure that an error is damage that names the file, or some file for one that is gone.
func named(err error, name string) error {
	var corrupt *log.CorruptError
	if !errors.As(err, &corrupt) || name != "" && corrupt.File != name {
		return err
	}
	return nil
}
