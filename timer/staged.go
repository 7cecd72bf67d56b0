package timer

import (
	"errors"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
)

// StagePlan is what Stage needs to know beside the batch.
type StagePlan struct {
	Now          UnixMs             // the leader's append time
	MaxDelay     time.Duration      // the topic's limit on due minus Now; 0 means no limit
	InflateLimit int                // most bytes that the records may inflate to
	// LogAppendTime makes Now the timestamp of the records without control headers, as
	// message.timestamp.type=LogAppendTime asks for.
	LogAppendTime bool
}

// StageInfo is what was decided about a whole batch.
type StageInfo struct {
	Count  int    // records
	DueNow int    // records that were due at Now
	MaxDue UnixMs // latest due time
}

// Stage appends to dst the staged batch that src becomes.
func Stage(dst []byte, src batch.Batch, p StagePlan) (batch.Batch, StageInfo, error) {
	return nil, StageInfo{}, errors.New("timer: not built yet")
}
