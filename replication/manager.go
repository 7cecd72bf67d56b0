package replication

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// Folders of a data directory.
const (
	metadataDir = "metadata"
	indexDir    = "index"
	journalDir  = "journal"
	topicsDir   = "topics"
)

// producerIDBlock is how many producer ids are taken from the metadata at a time, as in Kafka. Ids
// of a block that were not handed out before a crash are skipped; there are 2^63 of them.
const producerIDBlock = 1000

// slot is a place for a partition. offline is the reason why it is not served; then partition is
// nil if it could not be opened, and else waits to be closed.
type slot struct {
	partition *Partition
	offline   *OfflineError
}

// Manager owns a data directory: its lock, its metadata, its partitions, the group commit over
// their logs and the schedule index under them.
type Manager struct {
	o         Options
	dir       *log.Dir
	store     *metadata.Store
	index     *timer.PebbleIndex
	journal   *journal.Journal // nil in periodic mode
	buffers   *log.Buffers     // nil in periodic mode
	committer *log.Committer
	deps      *partitionDeps
	failOnce  sync.Once
	image     atomic.Pointer[metadata.Image] // what is open and may be shown; stored under admin
	guard     *clock.Guard
	keeper    *housekeeper
	cleaner   *cleaner

	// admin is held by whoever creates, deletes or changes topics: one change at a time, each of
	// them several fsyncs long.
	admin sync.Mutex

	mu struct { // short
		sync.RWMutex
		slots  map[metadata.TopicID][]slot
		tally  tally
		closed bool
	}
	ids struct { // producer ids left of the block that was taken last
		sync.Mutex
		next, end batch.ProducerID
	}
}

// Open locks and recovers a data directory and starts to serve what is in it. A partition with
// damage below its flushed end is left offline with an error that names file and position; the
// others are served. Damage of the schedule index, which all share, is timer.ErrIndex: the next
// Open makes the index anew from the logs.
func Open(o Options) (*Manager, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := o.FS.MkdirAll(o.DataDir, 0o755); err != nil {
		return nil, fmt.Errorf("make data directory %s: %w", o.DataDir, err)
	}
	dir, err := log.OpenDir(o.FS, o.DataDir, o.Clock.Now())
	if err != nil {
		return nil, err
	}
	m := &Manager{o: o, dir: dir, guard: clock.NewGuard(o.Clock, o.MaxClockJump)}
	m.mu.slots = map[metadata.TopicID][]slot{}
	if err := m.open(); err != nil {
		return nil, errors.Join(err, m.closeParts())
	}
	return m, nil
}

func (m *Manager) open() error {
	path := m.o.FS.PathJoin
	var err error
	m.store, err = metadata.OpenStore(metadata.StoreOptions{
		FS: m.o.FS, Dir: path(m.o.DataDir, metadataDir), Clock: m.o.Clock, Logger: m.o.Logger,
	})
	if err != nil {
		return err
	}
	if err := m.beginEpoch(); err != nil {
		return err
	}
	m.index, err = timer.OpenIndex(m.o.FS, path(m.o.DataDir, indexDir), m.o.Logger)
	if err != nil {
		return err
	}
	if err := m.openJournal(); err != nil {
		return err
	}
	m.committer = log.NewCommitter(log.CommitterOptions{
		Mode: m.o.FsyncMode, Interval: m.o.FsyncInterval, Clock: m.o.Clock,
		Manual: m.o.Manual, OnFailure: m.fail, Journal: m.journal, Buffers: m.buffers,
	})
	m.keeper = newHousekeeper(m)
	m.cleaner = newCleaner(m)
	m.deps = &partitionDeps{
		o: &m.o, committer: m.committer, index: m.index, journal: m.journal, buffers: m.buffers,
		failed: m.fail, offline: m.takeOffline,
		tidy: m.keeper.wantCheckpoint, touched: m.keeper.noteTouched, tail: m.keeper.noteTail,
		trusts: m.trustsClock, inflating: make(chan struct{}, inflatingMax),
	}
	if err := m.makeTopicsDir(); err != nil {
		return err
	}
	if err := m.purgeDeleted(); err != nil {
		return err
	}
	if err := m.sweepStrays(); err != nil {
		return err
	}
	m.openTopics()
	if err := m.indexFailure(); err != nil {
		return err
	}
	m.image.Store(m.store.Image())
	m.startSchedules()
	m.keeper.start()
	m.cleaner.start()
	return nil
}

// beginEpoch gives the cluster an id at the very first start, and raises the leader epoch of every
// partition at each: a position names the epoch, so nothing that a crash undid can share a name
// with what comes after it.
func (m *Manager) beginEpoch() error {
	if m.store.Image().ClusterID() == "" {
		var id [16]byte
		if _, err := rand.Read(id[:]); err != nil {
			return fmt.Errorf("choose a cluster id: %w", err)
		}
		text := base64.RawURLEncoding.EncodeToString(id[:])
		c := metadata.Command{FormatCluster: &metadata.FormatCluster{
			ClusterID: text, Node: m.o.NodeID,
		}}
		if _, err := m.store.Propose(c); err != nil {
			return err
		}
	}
	if node := m.store.Image().Node(); node != m.o.NodeID {
		return fmt.Errorf("%w: %s was made for node id %d, this is %d; start with --node-id %d",
			ErrOtherNode, m.o.DataDir, node, m.o.NodeID, node)
	}
	if mutant.On(mutant.EpochNotRaised) {
		return nil
	}
	c := metadata.Command{RaiseEpochs: &metadata.RaiseEpochs{Node: m.o.NodeID}}
	_, err := m.store.Propose(c)
	return err
}

func (m *Manager) makeTopicsDir() error {
	dir := m.o.FS.PathJoin(m.o.DataDir, topicsDir)
	if err := m.o.FS.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	if err := m.o.FS.SyncDir(m.o.DataDir); err != nil {
		return fmt.Errorf("sync %s: %w", m.o.DataDir, err)
	}
	return nil
}

// openParallelMax bounds how many partitions are opened at once. What a start reads after a crash
// is checked while more is read; beyond a few, disks and cores are busy.
const openParallelMax = 4

// openTopics opens every partition that the metadata knows. One that cannot be opened is offline.
func (m *Manager) openTopics() {
	var dirs []string
	topics := m.store.Image().Topics()
	for _, t := range topics {
		for i := range t.Partitions {
			dirs = append(dirs, m.partitionDir(t.ID, int32(i)))
		}
	}
	progress := newOpenProgress(&m.o, OpenPartitions, len(dirs))
	progress.tails = func(done map[string]bool) int64 { return tailsOf(&m.o, dirs, done) }
	m.mu.Lock()
	m.mu.tally.admit(topics...)
	m.mu.Unlock()
	var group errgroup.Group
	group.SetLimit(openParallelMax)
	if m.o.Manual {
		group.SetLimit(1)
	}
	for _, t := range topics {
		slots := make([]slot, len(t.Partitions))
		m.mu.Lock()
		m.mu.slots[t.ID] = slots
		m.mu.Unlock()
		for i := range t.Partitions {
			group.Go(func() error {
				read := &partitionRead{all: progress}
				one := m.openSlot(t, int32(i), read)
				m.mu.Lock() // one that was opened before may already be going offline
				slots[i] = one
				m.mu.Unlock()
				progress.done(m.partitionDir(t.ID, int32(i)), read.bytes)
				return nil
			})
		}
	}
	_ = group.Wait() // a partition that cannot be opened is offline, which is no error here
}

// indexFailure returns why a partition is offline for the index alone. All share it, so that none
// would be served until the next start, which rebuilds it: the sooner that comes, the better.
func (m *Manager) indexFailure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, slots := range m.mu.slots {
		for _, s := range slots {
			if s.offline != nil && errors.Is(s.offline, timer.ErrIndex) {
				return s.offline.Err
			}
		}
	}
	return nil
}

func (m *Manager) openSlot(t *metadata.Topic, index int32, read *partitionRead) slot {
	dir := m.partitionDir(t.ID, index)
	_, err := m.o.FS.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		// Folders are made before the topic is, so a missing one was taken away by somebody.
		err = fmt.Errorf("its folder %s is missing; restore it, or delete the topic: %w", dir, err)
	}
	var p *Partition
	if err == nil {
		p, err = openPartition(m.deps, partitionSpec{topic: t, index: index, dir: dir, read: read})
	}
	if err == nil {
		return slot{partition: p}
	}
	name := fmt.Sprintf("%s-%d", t.Name, index)
	m.o.Logger.Error("partition is offline", zap.String("partition", name), zap.Error(err))
	return slot{offline: &OfflineError{Partition: name, Err: err}}
}

func (m *Manager) partitionDir(id metadata.TopicID, index int32) string {
	return m.o.FS.PathJoin(m.o.DataDir, topicsDir, fmt.Sprintf("%s-%d", id, index))
}

func (m *Manager) startSchedules() {
	for _, p := range m.partitions() {
		p.startSchedule()
	}
}

// Image returns the metadata whose topics are open.
func (m *Manager) Image() *metadata.Image { return m.image.Load() }

// ClusterID returns the id that was chosen at the first start.
func (m *Manager) ClusterID() string { return m.Image().ClusterID() }

// NodeID returns this node's id.
func (m *Manager) NodeID() int32 { return m.o.NodeID }

// Partition finds a partition of a topic: ErrUnknownPartition, or *OfflineError.
func (m *Manager) Partition(id metadata.TopicID, index int32) (*Partition, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	slots := m.mu.slots[id]
	if index < 0 || int(index) >= len(slots) {
		return nil, fmt.Errorf("%w: topic %s has no partition %d here", ErrUnknownPartition, id, index)
	}
	if slots[index].offline != nil {
		return nil, slots[index].offline
	}
	return slots[index].partition, nil
}

// partitions returns all that are in service.
func (m *Manager) partitions() []*Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var all []*Partition
	for _, slots := range m.mu.slots {
		for _, s := range slots {
			if s.offline == nil {
				all = append(all, s.partition)
			}
		}
	}
	return all
}

// takeOffline takes a partition out of service after damage was found in it.
func (m *Manager) takeOffline(p *Partition) {
	p.mu.Lock()
	var reason *OfflineError
	errors.As(p.mu.closed, &reason)
	p.mu.Unlock()
	if reason == nil {
		return // It was closed before.
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, slots := range m.mu.slots {
		for i := range slots {
			if slots[i].partition == p && slots[i].offline == nil {
				m.mu.tally.retire(id, p)
				slots[i].offline = reason
			}
		}
	}
}

// NextProducerID hands out an id that was never handed out before, in this life or an earlier one.
func (m *Manager) NextProducerID() (batch.ProducerID, error) {
	m.ids.Lock()
	defer m.ids.Unlock()
	if m.ids.next == m.ids.end {
		c := metadata.Command{TakeIDs: &metadata.TakeIDs{Count: producerIDBlock}}
		r, err := m.propose(c)
		if err != nil {
			return 0, err
		}
		m.ids.next, m.ids.end = r.FirstID, r.LastIDPlus
	}
	id := m.ids.next
	m.ids.next++
	return id, nil
}

// propose makes a command durable; a failing disk ends the process like everywhere else.
func (m *Manager) propose(c metadata.Command) (metadata.Result, error) {
	r, err := m.store.Propose(c)
	if err != nil && (errors.Is(err, log.ErrFailed) || errors.Is(err, metadata.ErrClosed)) {
		m.fail(err)
	}
	return r, err
}

// fail is where every write and fsync error ends: nothing is acknowledged from now on, since every
// log that failed refuses, and the owner is told to exit.
func (m *Manager) fail(err error) {
	m.failOnce.Do(func() {
		m.o.Logger.Error("data directory failed; nothing more is acknowledged", zap.Error(err))
		m.o.OnFailure(err)
	})
}

// Close stops deliveries, flushes and checkpoints every partition, and releases the directory.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.mu.closed {
		m.mu.Unlock()
		return nil
	}
	m.mu.closed = true
	m.mu.Unlock()
	return m.closeParts()
}

// closeParts closes whatever open has opened, in the reverse order.
func (m *Manager) closeParts() error {
	var errs []error
	if m.cleaner != nil {
		m.cleaner.stop()
	}
	if m.keeper != nil {
		m.keeper.stop()
	}
	if m.index != nil {
		m.index.Interrupt()
	}
	errs = append(errs, m.closePartitions())
	if m.committer != nil {
		errs = append(errs, m.committer.Close())
	}
	if m.journal != nil {
		errs = append(errs, m.journal.Close())
	}
	if m.index != nil {
		errs = append(errs, m.index.Close())
	}
	if m.store != nil {
		errs = append(errs, m.store.Close())
	}
	errs = append(errs, m.dir.Close())
	return errors.Join(errs...)
}

// closePartitions closes every partition that was opened. One that is offline has failed already:
// what its closing meets is no news.
func (m *Manager) closePartitions() error {
	m.mu.RLock()
	var all []slot
	for _, slots := range m.mu.slots {
		all = append(all, slots...)
	}
	m.mu.RUnlock()
	var errs []error
	for _, s := range all {
		if s.partition == nil {
			continue
		}
		if err := s.partition.close(); err != nil && s.offline == nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
