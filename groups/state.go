package groups

import "slices"

// State is where a group stands in the rebalance protocol.
type State int8

// The states of a group; the comments say how it leaves them.
const (
	// Empty has no members, maybe offsets. The first join starts a rebalance; the
	// expiry of the last offset, or a delete, ends the group.
	Empty State = iota
	// PreparingRebalance waits for members to join, until all have or time is up.
	PreparingRebalance
	// CompletingRebalance waits for the leader's assignment to be durable. A change of
	// members starts over.
	CompletingRebalance
	// Stable works in its generation until members change.
	Stable
	// Dead is about to be removed: its tombstones are on their way to the disk.
	Dead
)

var stateNames = [...]string{
	Empty:               "Empty",
	PreparingRebalance:  "PreparingRebalance",
	CompletingRebalance: "CompletingRebalance",
	Stable:              "Stable",
	Dead:                "Dead",
}

// legalPrevious says from which states a state may be entered. Dead may fall back to
// Empty when its tombstones could not be written. Source of the others: Kafka's
// ClassicGroupState.java.
var legalPrevious = [...][]State{
	Empty:               {PreparingRebalance, Dead},
	PreparingRebalance:  {Empty, CompletingRebalance, Stable},
	CompletingRebalance: {PreparingRebalance},
	Stable:              {CompletingRebalance},
	Dead:                {Empty},
}

// String returns Kafka's name of the state.
func (s State) String() string { return stateNames[s] }

func (s State) mayFollow(previous State) bool {
	return slices.Contains(legalPrevious[s], previous)
}

func (s State) canRebalance() bool { return PreparingRebalance.mayFollow(s) }
