package replication

import (
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// LogDir is the data directory with the partitions in it.
type LogDir struct {
	Path string
	// TotalBytes and UsableBytes are those of the volume; -1 if the system does not say.
	TotalBytes, UsableBytes int64
	Partitions              []PartitionFiles
}

// PartitionFiles is what one partition takes on disk.
type PartitionFiles struct {
	Topic string
	Index int32
	Path  string // its folder
	// Bytes is the size of both its logs; -1 if it is offline.
	Bytes int64
	// Offline says why it is not served, nil if it is.
	Offline *OfflineError
}

// LogDir describes the data directory. Of the topics, those that wanted accepts are listed, in the
// order of their names.
func (m *Manager) LogDir(wanted func(topic string, index int32) bool) LogDir {
	d := LogDir{Path: m.o.DataDir, TotalBytes: -1, UsableBytes: -1}
	if usage, err := m.o.FS.GetDiskUsage(m.o.DataDir); err == nil {
		d.TotalBytes, d.UsableBytes = int64(usage.TotalBytes), int64(usage.AvailBytes)
	}
	for _, t := range m.Image().Topics() {
		for i := range t.Partitions {
			index := int32(i)
			if wanted(t.Name, index) {
				d.Partitions = append(d.Partitions, m.partitionFiles(t, index))
			}
		}
	}
	return d
}

func (m *Manager) partitionFiles(t *metadata.Topic, index int32) PartitionFiles {
	f := PartitionFiles{
		Topic: t.Name, Index: index, Path: m.partitionDir(t.ID, index), Bytes: -1,
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	slots := m.mu.slots[t.ID]
	if int(index) >= len(slots) {
		f.Bytes = 0 // The topic has just been deleted.
		return f
	}
	s := slots[index]
	f.Offline = s.offline
	if s.offline == nil {
		f.Bytes = s.partition.diskBytes()
	}
	return f
}

// diskBytes is the size of both logs.
func (p *Partition) diskBytes() int64 {
	n := p.log.Size()
	if s := p.stage.Load(); s != nil {
		n += s.log.Size()
	}
	return n
}
