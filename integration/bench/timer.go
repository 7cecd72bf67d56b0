package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// timerArgument as the first argument turns this program into the floor of lateness.
const timerArgument = "timer"

// Facts of the timer. Its file is written once before it counts, as a commit journal is: blocks
// that are there already take the least time to sync.
const (
	timerFileBytes = 16 << 20
	timerAsked     = 24 // bytes of a request: first due, number of ticks, bytes of each
	timerTickMin   = 8
	timerTickMax   = 1 << 20
)

// timerServer waits for each millisecond of a request, appends that millisecond's bytes to its
// file, syncs it, and sends them: what a server cannot do without before a consumer sees a due
// record.
type timerServer struct {
	file *os.File
	at   int64
}

// timerMain runs the floor until SIGTERM. Its arguments are its address, the HTTP address and a
// folder.
func timerMain(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want two addresses and a folder, got %q", args)
	}
	file, err := os.Create(filepath.Join(args[2], "timer"))
	if err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	s := &timerServer{file: file}
	for range timerFileBytes / timerTickMax {
		if _, err := file.Write(make([]byte, timerTickMax)); err != nil {
			return fmt.Errorf("fill the file: %w", err)
		}
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync the file: %w", err)
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	answerHealth(args[1])
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	// Closing the listener ends this goroutine.
	go func() {
		<-stop
		_ = l.Close()
	}()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := s.serve(c); err != nil {
			return err
		}
	}
}

// serve answers one request.
func (s *timerServer) serve(c net.Conn) error {
	defer func() { _ = c.Close() }()
	var asked [timerAsked]byte
	if _, err := io.ReadFull(c, asked[:]); err != nil {
		return fmt.Errorf("read a request: %w", err)
	}
	first := int64(binary.BigEndian.Uint64(asked[:]))
	ticks := int64(binary.BigEndian.Uint64(asked[8:]))
	size := int(binary.BigEndian.Uint64(asked[16:]))
	if size < timerTickMin || size > timerTickMax {
		return fmt.Errorf("ticks of %d bytes", size)
	}
	for next := first; next < first+ticks; {
		if err := sleepUntil(time.UnixMilli(next)); err != nil {
			return err
		}
		// All that is due by now shares a sync.
		due := min(time.Now().UnixMilli(), first+ticks-1)
		var out []byte
		for ; next <= due; next++ {
			out = binary.BigEndian.AppendUint64(out, uint64(next))
			out = append(out, make([]byte, size-timerTickMin)...)
		}
		if err := s.write(out); err != nil {
			return err
		}
		if _, err := c.Write(out); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	return nil
}

// write appends and syncs; at the end of the file it begins again.
func (s *timerServer) write(out []byte) error {
	if s.at+int64(len(out)) > timerFileBytes {
		s.at = 0
	}
	if _, err := s.file.WriteAt(out, s.at); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	s.at += int64(len(out))
	return dataSync(s.file)
}

// startTimer starts the floor.
func (b *bench) startTimer() (*target, error) {
	dir, err := os.MkdirTemp(b.dir, "timer-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the timer: %w", err)
	}
	t, err := startSelf(timerArgument, dir)
	if err != nil {
		return nil, err
	}
	t.dir = dir
	return t, nil
}

// timerRecordBytes is about what one delivered record takes in a log.
const timerRecordBytes = 200

// timerRun asks the floor for as many bytes as the records of a load take, and measures when they
// come.
func timerRun(t *target, l dueLoad) (lates, error) {
	c, err := net.Dial("tcp", t.addr)
	if err != nil {
		return lates{}, fmt.Errorf("dial the timer: %w", err)
	}
	defer func() { _ = c.Close() }()
	ticks := l.length.Milliseconds()
	size := max(timerTickMin, min(l.rate*timerRecordBytes/1000, timerTickMax))
	first := time.Now().Add(100 * time.Millisecond).UnixMilli()
	asked := binary.BigEndian.AppendUint64(nil, uint64(first))
	asked = binary.BigEndian.AppendUint64(asked, uint64(ticks))
	asked = binary.BigEndian.AppendUint64(asked, uint64(size))
	if _, err := c.Write(asked); err != nil {
		return lates{}, fmt.Errorf("ask the timer: %w", err)
	}
	tick := make([]byte, size)
	all := make([]time.Duration, 0, ticks)
	for range ticks {
		if _, err := io.ReadFull(c, tick); err != nil {
			return lates{}, fmt.Errorf("read from the timer: %w", err)
		}
		all = append(all, time.Since(time.UnixMilli(int64(binary.BigEndian.Uint64(tick)))))
	}
	slices.Sort(all)
	return latesOf(all), nil
}
