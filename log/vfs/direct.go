package vfs

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DirectAlign is what the position, the length and the memory of a direct write are multiples of.
// Disks ask for their block size, 512 or 4096 bytes; the larger one suits all.
const DirectAlign = 4096

// AlignedBuffer returns n zero bytes whose memory suits WriteDirect.
func AlignedBuffer(n int) []byte {
	if n == 0 {
		return nil
	}
	p := make([]byte, n+DirectAlign)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) & (DirectAlign - 1)
	return p[skip : skip+n : skip+n]
}

// writeDirectEach writes pieces that follow each other one by one.
func writeDirectEach(f LogFile, pieces [][]byte, off int64) error {
	for _, p := range pieces {
		if err := f.WriteDirect(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return nil
}

// checkDirect refuses a direct write that a disk would refuse, on every file system alike.
func checkDirect(name string, p []byte, off int64) error {
	memory := int64(uintptr(unsafe.Pointer(unsafe.SliceData(p))))
	if off < 0 || (off|int64(len(p))|memory)&(DirectAlign-1) != 0 {
		return pathError("write", name, fmt.Errorf("direct write of %d bytes at %d: not aligned to"+
			" %d bytes: %w", len(p), off, DirectAlign, unix.EINVAL))
	}
	return nil
}
