package kafkaproto

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// errPanic means that decoding or handling a request panicked.
var errPanic = errors.New("panic while handling a request")

// module is the import path under which the floors lie.
const module = "github.com/chronosdb/chronosdb/"

// stackFramesMax bounds how deep a panic is searched for a floor below.
const stackFramesMax = 512

// guard runs f and turns a panic into an error, unless one of the floors below had been entered:
// that panic goes on and ends the process, because their state may be half changed, and starting
// again from disk is what is tested.
func guard(f func() error) (err error) {
	returned := false
	defer func() {
		if returned || floorOnStack() != "" {
			return // Without recover the panic goes on, with its own stack.
		}
		err = fmt.Errorf("%w: %v\n%s", errPanic, recover(), debug.Stack())
	}()
	err = f()
	returned = true
	return err
}

// floorOnStack returns the name of a function of a lower floor that the panic came through. It is
// called by a deferred function, so the panicking frames are still on the stack.
func floorOnStack() string {
	pcs := make([]uintptr, stackFramesMax)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if f.Function == module+"kafkaproto.guard" {
			return ""
		}
		if isFloor(f.Function) {
			return f.Function
		}
		if !more {
			return ""
		}
	}
}

// isFloor reports whether a function holds state that a panic could leave half changed. Package
// batch is pure and log/invariant only speaks for its caller.
func isFloor(function string) bool {
	path, ok := strings.CutPrefix(function, module)
	if !ok || strings.HasPrefix(path, "log/batch.") || strings.HasPrefix(path, "log/invariant.") {
		return false
	}
	for _, floor := range [...]string{"log", "timer", "groups", "replication"} {
		if rest, ok := strings.CutPrefix(path, floor); ok && (rest[0] == '.' || rest[0] == '/') {
			return true
		}
	}
	return false
}
