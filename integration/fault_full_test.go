package integration

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronosdb/chronosdb/integration/harness"
	"github.com/chronosdb/chronosdb/integration/history"
)

const (
	smallDiskBytes = 512 << 20
	smallDiskLeft  = 6 << 20 // when the disk begins to be filled
	fullTries      = 200     // batches that are sent to fill it
	fullRefusals   = 5       // of which so many in a row are refused
	fullValueBytes = 256 << 10
	resumeMax      = 10 * time.Second
)

// TestFullDisk fills the disk under a server: produce requests, plain and scheduled, are refused with
// an error that clients retry, reads go on, writes resume once there is room, and all of what was
// acknowledged is there, also after the next start.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	disk := harness.NewSmallDisk(t, smallDiskBytes)
	s := harness.Start(t, harness.Options{DataDir: filepath.Join(disk.Dir, "data")})
	f := &filler{t: t, conn: dial(t, s.Addr()), topic: createTopic(t, s.Addr(), 1)}
	for range 10 {
		if code := f.send(); code != 0 {
			t.Fatalf("produce with room: %v", kerr.ErrorForCode(code))
		}
	}
	disk.Leave(smallDiskLeft)
	f.fill()
	if free := disk.Free(); free > smallDiskLeft {
		t.Fatalf("the disk refuses with %d bytes free", free)
	}
	f.readBack(s.Addr())
	disk.DropBallast()
	f.resume()
	f.readBack(s.Addr())
	s.Stop()
	s.Up()
	f.conn = dial(t, s.Addr())
	f.resume()
	f.readBack(s.Addr())

	// A kill in the middle of it. A start needs a little room, so some is made first.
	disk.Leave(smallDiskLeft)
	f.fill()
	s.Kill()
	disk.DropBallast()
	s.Up()
	f.readBack(s.Addr())
	f.conn = dial(t, s.Addr())
	f.resume()
	f.readBack(s.Addr())
}

// filler is one producer that keeps what was acknowledged.
type filler struct {
	t     *testing.T
	conn  *harness.Conn
	topic string
	sent  int
	acked []history.Write
}

// send writes one batch, every other one scheduled and due, and returns the answer's code.
func (f *filler) send() int16 {
	f.t.Helper()
	w := history.Write{Key: history.Key{Number: f.sent}}
	f.sent++
	value := string(valueOf(w, strings.Repeat("x", fullValueBytes)))
	record := harness.Record(value)
	if w.Number%2 == 1 {
		record = harness.Record(value, headerTs, "1600000000000")
	}
	p := produceRaw(f.t, f.conn, f.topic, encode(f.t, harness.PlainBatch(time.Now().UnixMilli(), record)))
	if p.ErrorCode == 0 {
		f.acked = append(f.acked, w)
	}
	return p.ErrorCode
}

// fill sends until several in a row are refused; each refusal must be one that clients retry.
func (f *filler) fill() {
	f.t.Helper()
	refused := 0
	for range fullTries {
		code := f.send()
		if code == 0 {
			refused = 0
			continue
		}
		if err := kerr.ErrorForCode(code); !kerr.IsRetriable(err) {
			f.t.Fatalf("a full disk answers with %v, which clients do not retry", err)
		}
		if refused++; refused == fullRefusals {
			return
		}
	}
	f.t.Fatalf("the disk is not full after %d batches", fullTries)
}

// resume sends until both kinds of record are taken again.
func (f *filler) resume() {
	f.t.Helper()
	deadline := time.Now().Add(resumeMax)
	for taken := 0; taken < 2; {
		if code := f.send(); code == 0 {
			taken++
		} else if taken = 0; time.Now().After(deadline) {
			f.t.Fatalf("with room again, produce still fails: %v", kerr.ErrorForCode(code))
		}
	}
}

// readBack reads all that was acknowledged, no more than once. A refused one must not be there.
func (f *filler) readBack(addr string) {
	f.t.Helper()
	var reads []history.Read
	for _, r := range consume(f.t, addr, f.topic, len(f.acked)) {
		reads = append(reads, readOf(f.t, r))
	}
	judge(f.t, history.Lost(f.acked, reads), history.Duplicate(reads), history.Phantom(f.acked, reads),
		history.Dense(reads))
}
