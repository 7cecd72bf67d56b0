package journal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const testDir = "/data/journal"

// testOptions are those of a small journal whose every step is repeatable.
func testOptions(fs vfs.FS) Options {
	salt := uint64(1000)
	return Options{
		FS: fs, Dir: testDir, FileBytes: 8 * blockBytes, FilesMax: 3, Manual: true,
		Salt: func() uint64 { salt += 17; return salt },
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newFS returns an empty disk with the data directory.
func newFS(t testing.TB, seed uint64) *vfs.Crash {
	t.Helper()
	c := vfs.NewCrash(seed)
	must(t, c.MkdirAll("/data", 0o755))
	must(t, c.SyncDir("/"))
	return c
}

// start opens a journal that has nothing to replay.
func start(t testing.TB, o Options) *Journal {
	t.Helper()
	j, err := Open(o)
	must(t, err)
	must(t, j.Recovered())
	return j
}

// entry returns an inline entry of n bytes that depend on everything in it.
func entry(log string, first int64, n int) Entry {
	p := bytes.Repeat(fmt.Appendf(nil, "%s/%d.", log, first), n)[:n]
	half := n / 2
	return Entry{
		Kind: Inline, Log: log, Segment: first / 100, Position: first * 7, First: first,
		End: first + 3, Digest: uint32(first), Payload: [][]byte{p[:half], p[half:]},
	}
}

// replayed is an entry that Replay has told of.
type replayed struct {
	sequence Sequence
	text     string
}

// text tells entries apart.
func (e *Entry) text() string {
	return fmt.Sprintf("%d %s %d@%d %d-%d %d %d %q", e.Kind, e.Log, e.Segment, e.Position, e.First,
		e.End, e.Length, e.Digest, bytes.Join(e.Payload, nil))
}

// stored is the text of an entry as Replay gives it.
func stored(e Entry) string {
	if e.Kind == Inline {
		e.Length = uint32(len(bytes.Join(e.Payload, nil)))
	}
	return e.text()
}

// replayAll returns all that a journal has to tell, by log.
func replayAll(t testing.TB, j *Journal, from Sequence) map[string][]replayed {
	t.Helper()
	all := map[string][]replayed{}
	for _, name := range j.Logs() {
		must(t, j.Replay(name, from, func(s Sequence, e Entry) error {
			all[name] = append(all[name], replayed{s, e.text()})
			return nil
		}))
	}
	return all
}

// randomEntries returns a commit of one to four logs, of a few bytes or of many.
func randomEntries(rng *rand.Rand, next *int64) []Entry {
	var entries []Entry
	for range 1 + rng.IntN(4) {
		*next += 3
		n := 1 + rng.IntN(200)
		if rng.IntN(5) == 0 {
			n = rng.IntN(5000)
		}
		e := entry(fmt.Sprintf("log-%d", rng.IntN(5)), *next, n)
		if rng.IntN(4) == 0 {
			e.Kind, e.Payload, e.Length = Ref, nil, uint32(n)
		}
		entries = append(entries, e)
	}
	return entries
}
