package main

import "github.com/chronosdb/chronosdb/log/mutant"

// hunt says which test finds a fault.
type hunt struct {
	fault mutant.Name
	dir   string // the test's folder, from the root of the module
	test  string // the test, or a subtest as TestA/b
}

// The explorer finds every fault by what a client can see; the other test of a fault looks closer.
const (
	explorer     = "integration/explore"
	fewHistories = "TestFewHistories"
	// The other explorer knows only logs, and every point at which one can be cut off.
	crashExplorer = "integration/crash"
	fewPoints     = "TestFewPoints"
)

// hunts names a test for every fault of mutant.All. A fault without a row fails the run.
var hunts = []hunt{
	{mutant.NoFsync, "log", "TestModel"},
	{mutant.NoFsync, explorer, fewHistories},
	{mutant.NoFsync, crashExplorer, fewPoints},
	{mutant.AckBeforeFsync, "replication", "TestAckWaitsForTheFlush"},
	{mutant.AckBeforeFsync, explorer, fewHistories},
	{mutant.NoDirSync, "log", "TestModel"},
	{mutant.NoDirSync, explorer, fewHistories},
	{mutant.NoDirSync, crashExplorer, fewPoints},
	{mutant.NoGate, "replication", "TestGateHoldsAProducerThatChangesLogs"},
	{mutant.NoGate, explorer, fewHistories},
	{mutant.DueNowBeforeStagingHW, "timer", "TestNothingIsDeliveredBeforeItsStagingIsDurable"},
	{mutant.DueNowBeforeStagingHW, explorer, fewHistories},
	{mutant.NoDedupe, "replication", "TestWindowJudges"},
	{mutant.NoDedupe, explorer, fewHistories},
	{mutant.DuplicateBeforeDurable, "replication", "TestAckWaitsForTheFlush"},
	{mutant.DuplicateBeforeDurable, explorer, fewHistories},
	{mutant.NoSettlements, "timer", "TestADeliveryThatAgedOutIsNotRepeated"},
	{mutant.NoSettlements, explorer, fewHistories},
	{mutant.IndexAboveHW, "timer", "TestTheIndexFollowsTheHighWatermarksOnly"},
	{mutant.IndexAboveHW, explorer, fewHistories},
	{mutant.EpochNotRaised, "integration", "TestEpochRisesAtEveryStart"},
	{mutant.EpochNotRaised, explorer, fewHistories},
	{mutant.ReplayFromZero, "timer", "TestADeliveryThatAgedOutIsNotRepeated"},
	{mutant.ReplayFromZero, explorer, fewHistories},
	{mutant.DeliverEarly, "timer", "TestOneMillisecondBeforeNothingAtDueEverything"},
	{mutant.DeliverEarly, explorer, fewHistories},
	{mutant.HWAheadOfFlushed, "replication", "TestAckWaitsForTheFlush"},
	{mutant.HWAheadOfFlushed, explorer, fewHistories},
	{mutant.JournalRecycledEarly, "log/journal", "TestModel"},
	{mutant.JournalRecycledEarly, crashExplorer, fewPoints},
	{mutant.GenerationIgnored, "log/journal", "TestModel"},
	{mutant.GenerationIgnored, crashExplorer, fewPoints},
	{mutant.CompactionUnsynced, "log", "TestCompactionCrashedAtEveryOperation"},
	{mutant.CompactionUnsynced, "log", "TestCompactionModel"},
	{mutant.CompactionUnsynced, crashExplorer, fewPoints},
	{mutant.SegmentUnsynced, "log", "TestNodeModel"},
	{mutant.SegmentUnsynced, crashExplorer, fewPoints},
	{mutant.NoteAheadOfSegment, "log", "TestNodeModel"},
	{mutant.NoteAheadOfSegment, crashExplorer, fewPoints},
}
