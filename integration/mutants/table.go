package main

import "github.com/chronosdb/chronosdb/log/mutant"

// hunt says which test finds a fault.
type hunt struct {
	fault mutant.Name
	dir   string // the test's folder, from the root of the module
	test  string // the test, or a subtest as TestA/b
}

// hunts names a test for every fault of mutant.All. A fault without a row fails the run.
var hunts = []hunt{
	{mutant.NoFsync, "log", "TestModel"},
	{mutant.AckBeforeFsync, "replication", "TestAckWaitsForTheFlush"},
	{mutant.NoDirSync, "log", "TestModel"},
	{mutant.NoGate, "replication", "TestGateHoldsAProducerThatChangesLogs"},
	{mutant.DueNowBeforeStagingHW, "timer", "TestNothingIsDeliveredBeforeItsStagingIsDurable"},
	{mutant.NoDedupe, "replication", "TestWindowJudges"},
	{mutant.DuplicateBeforeDurable, "replication", "TestAckWaitsForTheFlush"},
	{mutant.NoSettlements, "timer", "TestADeliveryThatAgedOutIsNotRepeated"},
	{mutant.IndexAboveHW, "timer", "TestTheIndexFollowsTheHighWatermarksOnly"},
	{mutant.EpochNotRaised, "integration", "TestEpochRisesAtEveryStart"},
	{mutant.ReplayFromZero, "timer", "TestADeliveryThatAgedOutIsNotRepeated"},
	{mutant.DeliverEarly, "timer", "TestOneMillisecondBeforeNothingAtDueEverything"},
	{mutant.HWAheadOfFlushed, "replication", "TestAckWaitsForTheFlush"},
}
