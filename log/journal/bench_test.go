package journal

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// BenchmarkCommit commits records to a real disk, in files that have been used before. The folder
// for it is CHRONOS_TEST_BENCH_DIR, as the usual one may be in memory.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{4 << 10, 64 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			//nolint:usetesting // b.TempDir cannot be told where.
			dir, err := os.MkdirTemp(os.Getenv("CHRONOS_TEST_BENCH_DIR"), "journal")
			must(b, err)
			defer func() { must(b, os.RemoveAll(dir)) }()
			j := start(b, Options{FS: vfs.OS(), Dir: dir + "/journal", FilesMax: 2})
			e := entry("a", 1, n-recordHeaderBytes-EntryBytes("a", 0))
			once := func() {
				s, err := j.Commit([]Entry{e})
				if errors.Is(err, ErrFull) {
					b.Fatal(err) // Everything is released.
				}
				must(b, err)
				j.Release(s)
			}
			for j.Stats().Recycled < 2 {
				once()
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
			must(b, j.Close())
		})
	}
}
