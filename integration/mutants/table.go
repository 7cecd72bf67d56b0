package main

import "github.com/chronosdb/chronosdb/log/mutant"

// hunt says which test finds a fault.
type hunt struct {
	fault mutant.Name
	dir   string // the test's folder, from the root of the module
	test  string // the test, or a subtest as TestA/b
}

// hunts names a test for every fault of mutant.All. A fault without a row fails the run.
var hunts = []hunt{}
