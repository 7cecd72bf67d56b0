package invariant

import "fmt"

// Check panics with the formatted text unless cond holds. The text says what was found and what
// was promised ("append at 7, want 9"). The arguments are evaluated and boxed even when cond
// holds: on a path that runs for every record, write an if around [Unreachable] instead.
func Check(cond bool, format string, args ...any) {
	if !cond {
		fail(format, args)
	}
}

// Unreachable panics with the formatted text. It marks a branch that cannot be taken.
func Unreachable(format string, args ...any) { fail(format, args) }

func fail(format string, args []any) { panic("invariant broken: " + fmt.Sprintf(format, args...)) }
