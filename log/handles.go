package log

import "github.com/chronosdb/chronosdb/log/vfs"

// CloseUnused closes the files of segments that are sealed and durable, and that nobody has used
// since the call before: a log that was written or read through would keep a handle of every
// segment. The next use opens a file again. One that is read now and then, more often than this is
// called, stays open. The owner calls it as often as it looks at its logs; a checkpoint does, too.
func (l *Log) CloseUnused() {
	for _, s := range l.set.Load().list {
		if s.wasUnused() {
			l.closeUnused(s, 0)
		}
	}
}

// wasUnused says whether a segment's file is open and nobody has used it since the last time that
// this was asked.
func (s *segment) wasUnused() bool {
	if Offset(s.end.Load()) == noOffset || s.refs.Load() > 1 {
		return false
	}
	s.open.Lock()
	defer s.open.Unlock()
	used := s.open.used
	s.open.used = false
	return s.open.file != nil && !used
}

// closeUnused closes a segment's file if it is sealed and durable, and nobody has pinned it but the
// caller, who has so many times.
func (l *Log) closeUnused(s *segment, pins int32) {
	if f := l.takeUnused(s, pins); f != nil {
		_ = f.Close() // as in release
	}
}

// takeUnused takes the file out of a segment for closeUnused.
//
// Under mu a segment of the set has the log's own reference, so that the others can be counted, and
// its name is its own: who pins it next can open it again. Who has pinned it before holds a
// reference; who writes to it without one holds mu.
func (l *Log) takeUnused(s *segment, pins int32) vfs.LogFile {
	l.mu.Lock()
	defer l.mu.Unlock()
	set := l.set.Load()
	i := set.find(s.base)
	if l.writableLocked() != nil || i < 0 || set.list[i] != s {
		return nil
	}
	// What is dirty must be synced through the handle that it was written with.
	if s.tail.dirty || Offset(s.end.Load()) == noOffset || !s.open.TryLock() {
		return nil
	}
	defer s.open.Unlock()
	if s.refs.Load() > 1+pins {
		return nil
	}
	f := s.open.file
	s.open.file = nil
	return f
}
