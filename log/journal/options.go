package journal

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// The limits and defaults of a journal.
const (
	// FileBytesDefault is Options.FileBytes when it is 0.
	FileBytesDefault = 32 << 20
	// FilesMaxDefault is Options.FilesMax when it is 0.
	FilesMaxDefault = 8
	// RecordBytesMax bounds one commit record. A smaller file bounds it further: see
	// Journal.CommitBytesMax.
	RecordBytesMax = 16 << 20
	// LogNameBytesMax bounds the name of a log in an entry.
	LogNameBytesMax = 512

	fileBytesMin = 4 * blockBytes
	fileBytesMax = 1 << 30
	filesMin     = 2
	filesMax     = 1024
)

// Options configures a journal. The zero value of each field but FS and Dir means its default.
type Options struct {
	FS  vfs.FS // FS holds the files. Required.
	Dir string // Dir is the journal's folder; it is made when missing. Required.

	FileBytes int64 // FileBytes is the size of each file, a multiple of 4096. 32 MiB.
	FilesMax  int   // FilesMax bounds the number of files. 8.
	// Manual makes and recycles files within Commit, in no goroutine of its own: for tests.
	Manual bool
	// Salt returns a file's next salt; tests make it repeatable. Default: random.
	Salt func() uint64

	Logger *zap.Logger // Logger hears of files being made. Default: none.
}

// EnsureDefaults fills every field that is zero.
func (o *Options) EnsureDefaults() {
	if o.FileBytes == 0 {
		o.FileBytes = FileBytesDefault
	}
	if o.FilesMax == 0 {
		o.FilesMax = FilesMaxDefault
	}
	if o.Salt == nil {
		o.Salt = randomSalt
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
}

// Validate refuses what cannot work, with the rule in the text.
func (o *Options) Validate() error {
	if o.FS == nil || o.Dir == "" {
		return fmt.Errorf("journal: Options.FS and Options.Dir must be set")
	}
	if !fileBytesFit(o.FileBytes) {
		return fmt.Errorf("journal: FileBytes is %d; use a multiple of %d from %d to %d, or 0 for the"+
			" default", o.FileBytes, blockBytes, fileBytesMin, fileBytesMax)
	}
	if o.FilesMax < filesMin || o.FilesMax > filesMax {
		return fmt.Errorf("journal: FilesMax is %d; use %d to %d, or 0 for the default", o.FilesMax,
			filesMin, filesMax)
	}
	return nil
}

// fileBytesFit reports whether a file may have so many bytes.
func fileBytesFit(n int64) bool {
	return n >= fileBytesMin && n <= fileBytesMax && n%blockBytes == 0
}
