package vfs

import (
	"fmt"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chronosdb/chronosdb/log/mutant"
)

// tmpSuffix ends the name under which WriteFileAtomic writes. A crash can leave such a file
// behind; the next WriteFileAtomic of the same name replaces it.
const tmpSuffix = ".tmp"

// syncDir is SyncDir for every FS.
func syncDir(fs pebblevfs.FS, dir string) error {
	if mutant.On(mutant.NoDirSync) {
		return nil
	}
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	err = d.Sync()
	if closeErr := d.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// writeFileAtomic is WriteFileAtomic for every FS.
func writeFileAtomic(fs pebblevfs.FS, name string, data []byte) error {
	tmp := name + tmpSuffix
	if err := writeSynced(fs, tmp, data); err != nil {
		// The name must not keep half a file, nor its space on a full disk. When even this fails,
		// the file is harmless: the next call replaces it.
		_ = fs.Remove(tmp)
		return fmt.Errorf("replace %s: %w", name, err)
	}
	if err := fs.Rename(tmp, name); err != nil {
		_ = fs.Remove(tmp)
		return fmt.Errorf("replace %s: %w", name, err)
	}
	return syncDir(fs, fs.PathDir(name))
}

// writeSynced makes a new file with the given content and syncs it. The sync comes before the
// rename: a crash could keep the new name and lose the bytes behind it.
func writeSynced(fs pebblevfs.FS, name string, data []byte) error {
	f, err := fs.Create(name, pebblevfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}
