package log

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"sort"
	"strconv"
	"strings"

	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	epochsName   = "leader-epochs"
	epochsHeader = "chronosdb leader-epochs 1"
	// epochsMax bounds the file: a partition that has seen more leaders forgets the oldest.
	epochsMax = 1 << 16
)

// epochStart is a leader epoch and the log's end when it began.
type epochStart struct {
	epoch LeaderEpoch
	start Offset
}

// epochs is the history of leader epochs, oldest first: epochs rise, starts never fall. It is
// immutable; Log.mu owns the pointer to it. An epoch without records stays in it (KAFKA-15608).
type epochs []epochStart

// last returns the newest epoch, or -1.
func (e epochs) last() LeaderEpoch {
	if len(e) == 0 {
		return -1
	}
	return e[len(e)-1].epoch
}

// with returns the history with one more epoch.
func (e epochs) with(epoch LeaderEpoch, start Offset) epochs {
	from := max(0, len(e)+1-epochsMax)
	return append(append(make(epochs, 0, len(e)+1-from), e[from:]...), epochStart{epoch, start})
}

// endOf answers OffsetForLeaderEpoch as Kafka does: the newest epoch not above the asked one, and
// where it ends. Both are -1 when the epoch is unknown.
func (e epochs) endOf(asked LeaderEpoch, end Offset) (LeaderEpoch, Offset) {
	if asked < 0 || asked > e.last() {
		return -1, noOffset
	}
	if asked == e.last() {
		return asked, end
	}
	next := sort.Search(len(e), func(i int) bool { return e[i].epoch > asked })
	if next == 0 {
		return asked, e[0].start
	}
	return e[next-1].epoch, e[next].start
}

// cutFrom drops the epochs that began at or after an offset: Truncate has removed their records.
func (e epochs) cutFrom(o Offset) epochs {
	n := sort.Search(len(e), func(i int) bool { return e[i].start >= o })
	return e[:n:n]
}

// lowerTo lowers starts beyond the end to the end. A crash took the records; the epochs stay, so
// that their numbers are never given to other records.
func (e epochs) lowerTo(end Offset) epochs {
	out := make(epochs, len(e))
	for i, s := range e {
		out[i] = epochStart{s.epoch, min(s.start, end)}
	}
	return out
}

// since drops the epochs that ended at or below the log's start.
func (e epochs) since(start Offset) epochs {
	n := sort.Search(len(e), func(i int) bool { return e[i].start > start })
	return e[max(0, n-1):]
}

// encode returns the file: one line each, and a checksum.
func (e epochs) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintln(&b, epochsHeader)
	for _, s := range e {
		fmt.Fprintf(&b, "%d %d\n", s.epoch, s.start)
	}
	fmt.Fprintf(&b, "crc32c %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return b.Bytes()
}

// parseEpochs reads what encode wrote.
func parseEpochs(p []byte) (epochs, error) {
	at := bytes.LastIndex(p, []byte("crc32c "))
	if at < 0 {
		return nil, fmt.Errorf("%w: no checksum", ErrCorrupt)
	}
	sum := fmt.Sprintf("crc32c %08x\n", crc32.Checksum(p[:at], castagnoli))
	if sum != string(p[at:]) {
		return nil, fmt.Errorf("%w: checksum is wrong", ErrCorrupt)
	}
	lines := strings.Split(strings.TrimSuffix(string(p[:at]), "\n"), "\n")
	if lines[0] != epochsHeader {
		return nil, fmt.Errorf("%w: first line is %.40q, expected %q", ErrCorrupt, lines[0], epochsHeader)
	}
	var e epochs
	for _, line := range lines[1:] {
		left, right, _ := strings.Cut(line, " ")
		epoch, err1 := strconv.ParseInt(left, 10, 32)
		start, err2 := strconv.ParseInt(right, 10, 64)
		if err1 != nil || err2 != nil || LeaderEpoch(epoch) <= e.last() || start < 0 ||
			(len(e) > 0 && Offset(start) < e[len(e)-1].start) {
			return nil, fmt.Errorf("%w: line %.40q", ErrCorrupt, line)
		}
		e = append(e, epochStart{LeaderEpoch(epoch), Offset(start)})
	}
	return e, nil
}

// loadEpochs returns the history in the folder. known is false when there is none to trust.
func loadEpochs(fs vfs.FS, dir string) (e epochs, known bool, err error) {
	p, err := fs.ReadFile(fs.PathJoin(dir, epochsName))
	if isNotExist(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, refused(err)
	}
	e, err = parseEpochs(p)
	return e, err == nil, nil
}

// LastEpoch returns the newest leader epoch that the log has seen, or -1.
func (l *Log) LastEpoch() LeaderEpoch { return l.epochs.Load().last() }

// EpochEnd answers OffsetForLeaderEpoch: the newest epoch that is not above e, and the first
// offset behind its records. Both are -1 when e is negative or newer than every known epoch.
func (l *Log) EpochEnd(e LeaderEpoch) (LeaderEpoch, Offset) {
	end := l.End() // before the epochs: an epoch that begins now begins at or after this end
	return l.epochs.Load().endOf(e, end)
}

// SetEpoch makes a new leader epoch durable, beginning at the log's end. Append does it itself
// when it must; a leader that has not appended yet does it here, so that its epoch is never used
// again. An epoch that is already the newest is no error.
func (l *Log) SetEpoch(e LeaderEpoch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return err
	}
	return l.enterEpochLocked(e)
}

// enterEpochLocked makes the epoch durable before the first batch that carries it: a follower
// that truncates by epoch must find it, whatever crashed. It syncs under mu, which is allowed
// because it happens once in a leadership.
func (l *Log) enterEpochLocked(e LeaderEpoch) error {
	history := l.epochs.Load()
	if e == history.last() {
		return nil
	}
	if e < history.last() {
		return fmt.Errorf("append to %s in epoch %d, the newest is %d: %w", l.dir, e, history.last(),
			ErrStaleEpoch)
	}
	return l.storeEpochsLocked(history.since(l.Start()).with(e, l.End()))
}

// storeEpochsLocked replaces the file, then the history in memory.
func (l *Log) storeEpochsLocked(e epochs) error {
	err := l.o.FS.WriteFileAtomic(l.o.FS.PathJoin(l.dir, epochsName), e.encode())
	if vfs.IsShortage(err) {
		return fmt.Errorf("store leader epochs of %s: %w: %w", l.dir, ErrNoSpace, err)
	}
	if err != nil {
		return l.failLocked(fmt.Errorf("store leader epochs of %s: %w", l.dir, err))
	}
	l.epochs.Store(&e)
	return nil
}
