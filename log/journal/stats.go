package journal

// Stats are a journal's figures since Open.
type Stats struct {
	Commits      int64 // Commits counts commit records.
	Confirms     int64 // Confirms counts records that only say that those before were durable.
	Entries      int64 // Entries counts what they held.
	BodyBytes    int64 // BodyBytes is what the entries took.
	WrittenBytes int64 // WrittenBytes is what the records took on disk, with what fills the blocks.
	Waits        int64 // Waits counts commits that found no file ready.
	Made         int64 // Made counts files that were filled with zeros.
	Recycled     int64 // Recycled counts new uses of files.

	Files      int   // Files is how many there are.
	FullFiles  int   // FullFiles is how many of them wait to be released.
	FileBytes  int64 // FileBytes is the size of all.
	Unreleased int64 // Unreleased counts the commit records that a crash now would replay.
}

// Stats returns the journal's figures.
func (j *Journal) Stats() Stats {
	c := &j.counters
	s := Stats{
		Commits: c.commits.Load(), Entries: c.entries.Load(), Confirms: c.confirms.Load(),
		BodyBytes:    c.bodyBytes.Load(),
		WrittenBytes: c.writtenBytes.Load(), Waits: c.waits.Load(), Made: c.made.Load(),
		Recycled: c.recycled.Load(),
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	s.Files, s.FullFiles = len(j.mu.files), len(j.mu.full)
	for _, f := range j.mu.files {
		s.FileBytes += f.header.fileBytes
	}
	s.Unreleased = int64(j.mu.next - 1 - j.mu.released)
	return s
}
