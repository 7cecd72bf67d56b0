package recur

import (
	"strconv"
	"strings"
)

const (
	// maxTextBytes is more than five times sixty values take. The parser has a bound of its own.
	maxTextBytes = 1000
	// hourFromEnd is the place of the hour's field, counted from the end.
	hourFromEnd = 4
	// namedFields are the last ones, whose values have names: month and day of the week.
	namedFields = 2
	// nameBytes is the length of a name.
	nameBytes = 3

	minFields, maxFields = 5, 6

	wantCron = "; write five fields (minute hour day month weekday), like 30 9 * * MON-FRI, six with" +
		" the second before them, or @hourly, @daily, @weekly, @monthly or @yearly"
)

// splitText returns the fields of a cron, or the one that a word like @daily is. It is stricter
// than the parser, which takes an empty item, signs, and what stands behind "*-". mistake is empty,
// or a sentence that follows the text.
func splitText(text string) (fields []string, mistake string) {
	if len(text) > maxTextBytes {
		return nil, " has " + strconv.Itoa(len(text)) + " bytes" + wantCron
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\t' && (r < ' ' || r >= 0x7f) }) {
		return nil, " is not plain text" + wantCron
	}
	fields = strings.Fields(text)
	switch {
	case len(fields) == 0:
		return nil, " has no fields" + wantCron
	case strings.HasPrefix(fields[0], "TZ="), strings.HasPrefix(fields[0], "CRON_TZ="):
		return nil, " has a time zone in it; write that as chronos-schedule-tz"
	case fields[0] == "@every":
		return nil, " is an interval; write it as chronos-schedule-every"
	case fields[0][0] == '@' && len(fields) == 1:
		return fields, ""
	case len(fields) < minFields || len(fields) > maxFields:
		return nil, " has " + strconv.Itoa(len(fields)) + " fields" + wantCron
	}
	for i, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			if !isItem(item, i >= len(fields)-namedFields) {
				return nil, ": " + quoted(field) + " is not a list of *, values, ranges and steps" +
					" (names have three letters; L, W, # and H are not supported)" + wantCron
			}
		}
		if i == len(fields)-1 && hasStepOverWeek(field) {
			return nil, ": " + quoted(field) + " steps over the end of a week; write the days one by one"
		}
	}
	return fields, ""
}

// isItem says whether s is "*", a value or a range, with or without a step. named says that values
// may be names. Which values there are is for the parser to judge.
func isItem(s string, named bool) bool {
	what, step, hasStep := strings.Cut(s, "/")
	if hasStep && !isNumber(step) {
		return false
	}
	if isWildcard(what) {
		return what == "*" || what == "?"
	}
	from, to, isRange := strings.Cut(what, "-")
	isValue := func(s string) bool { return isNumber(s) || named && isName(s) }
	return isValue(from) && (!isRange || isValue(to))
}

// isWildcard says whether one of a field's items is "*" or "?", with or without a step.
func isWildcard(field string) bool { return strings.ContainsAny(field, "*?") }

// hasStepOverWeek says whether a range of weekdays wraps around and has a step. The parser counts
// Sunday twice there, as 7 and as 0.
func hasStepOverWeek(field string) bool {
	for item := range strings.SplitSeq(field, ",") {
		what, _, hasStep := strings.Cut(item, "/")
		from, to, isRange := strings.Cut(what, "-")
		if hasStep && isRange && weekdayNumber(from) > weekdayNumber(to) {
			return true
		}
	}
	return false
}

// weekdayNumber returns the number of a weekday, or that of Sunday for what is none.
func weekdayNumber(s string) int {
	const weekdays = "SUNMONTUEWEDTHUFRISAT"
	if n, err := strconv.Atoi(s); err == nil {
		return n
	}
	return max(0, strings.Index(weekdays, strings.ToUpper(s))/nameBytes)
}

func isName(s string) bool {
	return len(s) == nameBytes && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

// isNumber says whether s is one or two digits.
func isNumber(s string) bool {
	for _, c := range s {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(s) == 1 || len(s) == 2
}

// shown returns the parser's reason, which repeats at most one item of the text, bounded.
func shown(err error) string {
	s := err.Error()
	return s[:min(len(s), 2*maxShownBytes)]
}
