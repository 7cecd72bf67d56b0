package main

import (
	"errors"
	"fmt"
	"os"
)

// Exit codes of the command. A supervisor may restart after exitFailed; after exitUsage a restart
// cannot help, because the command line, the environment or the file is wrong.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	err := newRoot().Execute()
	if err == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "chronos: %s\n", oneLine(err))
	var usage *usageError
	if errors.As(err, &usage) {
		os.Exit(exitUsage)
	}
	os.Exit(exitFailed)
}
