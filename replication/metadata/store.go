package metadata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// SnapshotEvery is how many commands may follow a snapshot before the next one is written. It
// bounds both the log's size and the replay at a start.
const SnapshotEvery = 1000

const snapshotFile = "snapshot"

// StoreOptions say where a Store lives.
type StoreOptions struct {
	FS     vfs.FS
	Dir    string
	Clock  clock.Clock
	Logger *zap.Logger
}

// Store is the local command log with the state that it has led to.
type Store struct {
	o     StoreOptions
	image atomic.Pointer[Image] // stored under mu, loaded by anyone

	mu struct {
		sync.Mutex    // held across the fsync of a command: commands are rare and ordered
		log           *log.Log
		sinceSnapshot int
		failed        error // the first write error; the log's end is unknown after it
	}
}

// snapshot is the JSON form of an Image and the command offset up to which it holds everything.
type snapshot struct {
	Applied        batch.Offset     `json:"applied"`
	ClusterID      string           `json:"cluster_id"`
	Node           int32            `json:"node"`
	Topics         []*Topic         `json:"topics"`
	Deleted        []*Topic         `json:"deleted,omitempty"`
	NextPartition  PartitionNumber  `json:"next_partition"`
	NextProducerID batch.ProducerID `json:"next_producer_id"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeSnapshot writes a line of JSON and a line with its CRC-32C in eight hexadecimal digits:
// JSON alone would read a flipped bit in a number as another number.
func encodeSnapshot(s snapshot) ([]byte, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(data, "\n%08x\n", crc32.Checksum(data, castagnoli)), nil
}

// decodeSnapshot reads what encodeSnapshot wrote; anything else is ErrCorruptSnapshot.
func decodeSnapshot(p []byte) (s snapshot, err error) {
	data, sum, ok := bytes.Cut(p, []byte("\n"))
	if want := fmt.Sprintf("%08x\n", crc32.Checksum(data, castagnoli)); !ok || string(sum) != want {
		return s, fmt.Errorf("%w: its %d bytes do not have the checksum %q", ErrCorruptSnapshot,
			len(data), sum[:min(len(sum), 10)])
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%w: %w", ErrCorruptSnapshot, err)
	}
	return s, nil
}

// OpenStore reads the snapshot, if there is one, and applies the commands that follow it.
func OpenStore(o StoreOptions) (*Store, error) {
	s := &Store{o: o}
	if err := o.FS.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make metadata directory %s: %w", o.Dir, err)
	}
	image, applied, err := s.readSnapshot()
	if err != nil {
		return nil, err
	}
	l, err := log.Open(o.FS.PathJoin(o.Dir, LogName), log.Options{
		FS: o.FS, Clock: o.Clock, Logger: o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("open metadata log: %w", err)
	}
	s.mu.log = l
	// What a crash left unflushed is made durable before it is acted on: a command that was applied
	// and then vanished at the next crash could hand out one producer id twice.
	if _, err := l.Flush(); err != nil {
		return nil, errors.Join(fmt.Errorf("flush metadata log: %w", err), l.Close())
	}
	if image, err = s.replay(image, applied); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.image.Store(image)
	return s, nil
}

func (s *Store) readSnapshot() (*Image, batch.Offset, error) {
	path := s.o.FS.PathJoin(s.o.Dir, snapshotFile)
	data, err := s.o.FS.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newImage(), 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read metadata snapshot %s: %w", path, err)
	}
	snap, err := decodeSnapshot(data)
	if err != nil {
		return nil, 0, fmt.Errorf("metadata snapshot %s: %w; restore it from a copy", path, err)
	}
	image := newImage()
	image.clusterID, image.node = snap.ClusterID, snap.Node
	image.nextPartition = snap.NextPartition
	image.nextProducerID = snap.NextProducerID
	for _, t := range snap.Topics {
		if t.Config, err = ParseConfigs(t.Configs); err != nil {
			return nil, 0, fmt.Errorf("metadata snapshot %s, topic %s: %w", path, t.Name, err)
		}
		image.put(t)
	}
	for _, t := range snap.Deleted {
		image.deleted[t.ID] = t
	}
	return image, snap.Applied, nil
}

func (s *Store) replay(image *Image, applied batch.Offset) (*Image, error) {
	l := s.mu.log
	from := max(applied, l.Start())
	if l.Start() > applied {
		return nil, fmt.Errorf("%w: the metadata log begins at %d but the snapshot ends at %d",
			ErrCorruptCommand, l.Start(), applied)
	}
	err := l.Batches(from, l.End(), func(b batch.Batch) error {
		return eachCommand(b, func(offset batch.Offset, c Command) {
			if offset < applied {
				return // A crash between snapshot and truncation leaves commands that it holds.
			}
			// A refusal is as deterministic as a success: it was refused then, too.
			if next, _, err := Apply(image, c); err == nil {
				image = next
			}
			s.mu.sinceSnapshot++
		})
	})
	if err != nil {
		return nil, fmt.Errorf("replay metadata log: %w", err)
	}
	return image, nil
}

func eachCommand(b batch.Batch, apply func(batch.Offset, Command)) error {
	r, err := batch.NewReader(b, maxCommandBytes)
	if err != nil {
		return fmt.Errorf("%w: batch at offset %d: %w", ErrCorruptCommand, b.BaseOffset(), err)
	}
	defer r.Close()
	for {
		rec, ok, err := r.Next()
		if err != nil {
			return fmt.Errorf("%w: batch at offset %d: %w", ErrCorruptCommand, b.BaseOffset(), err)
		}
		if !ok {
			return nil
		}
		c, err := decodeCommand(rec.Value)
		if err != nil {
			return fmt.Errorf("command at offset %d: %w", b.BaseOffset(), err)
		}
		apply(b.BaseOffset()+batch.Offset(rec.OffsetDelta), c)
	}
}

// maxCommandBytes bounds one command; the largest is a topic of MaxPartitionsPerTopic partitions.
const maxCommandBytes = 16 << 20

// Image returns the current state.
func (s *Store) Image() *Image { return s.image.Load() }

// Propose checks a command, makes it durable, applies it and returns what it gave. A refused
// command is never written. A write error is final: the store answers ErrClosed from then on.
func (s *Store) Propose(c Command) (Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.failed != nil {
		return Result{}, s.mu.failed
	}
	next, result, err := Apply(s.image.Load(), c)
	if err != nil {
		return Result{}, err
	}
	if err := s.writeLocked(c); err != nil {
		if !vfs.IsNoSpace(err) {
			s.mu.failed = fmt.Errorf("%w after a write error: %w", ErrClosed, err)
		}
		return Result{}, fmt.Errorf("write metadata command: %w", err)
	}
	s.image.Store(next)
	s.mu.sinceSnapshot++
	if s.mu.sinceSnapshot >= SnapshotEvery {
		if err := s.snapshotLocked(); err != nil {
			s.o.Logger.Warn("metadata snapshot was not written; the log stays longer", zap.Error(err))
		}
	}
	return result, nil
}

func (s *Store) writeLocked(c Command) error {
	body, err := c.encode()
	if err != nil {
		return err
	}
	now := clock.ToMs(s.o.Clock.Now())
	builder := batch.NewBuilder(batch.BuilderOptions{
		BaseTimestamp: now, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	})
	if err := builder.Append(batch.RecordFields{TimestampMs: now, Value: body}); err != nil {
		return err
	}
	b, err := builder.Build(nil)
	if err != nil {
		return err
	}
	if _, _, err := s.mu.log.Append(b, 0); err != nil {
		return err
	}
	_, err = s.mu.log.Flush()
	return err
}

// snapshotLocked writes the state and then drops the commands that it holds. The order is what a
// crash between the two needs: commands without a snapshot replay, a snapshot with them skips them.
func (s *Store) snapshotLocked() error {
	image := s.image.Load()
	applied := s.mu.log.End()
	data, err := encodeSnapshot(snapshot{
		Applied:        applied,
		ClusterID:      image.clusterID,
		Node:           image.node,
		Topics:         image.Topics(),
		Deleted:        image.Deleted(),
		NextPartition:  image.nextPartition,
		NextProducerID: image.nextProducerID,
	})
	if err != nil {
		return err
	}
	path := s.o.FS.PathJoin(s.o.Dir, snapshotFile)
	if err := s.o.FS.WriteFileAtomic(path, data); err != nil {
		return fmt.Errorf("write metadata snapshot %s: %w", path, err)
	}
	s.mu.sinceSnapshot = 0
	if err := s.mu.log.Roll(); err != nil {
		return err
	}
	return s.mu.log.AdvanceStart(applied)
}

// Close closes the command log. Proposals are refused from then on.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(s.mu.failed, ErrClosed) {
		return nil
	}
	s.mu.failed = ErrClosed
	return s.mu.log.Close()
}
