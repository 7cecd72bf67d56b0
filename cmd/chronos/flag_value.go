package main

import (
	"errors"
	"fmt"
	"math"
	"net"
	"strconv"
	"strings"
	"time"
)

// flagValue is one setting: where it is kept and how its text is read and printed. It is a
// pflag.Value, and the environment and the configuration file set it through the same Set, so that
// a value is refused with the same sentence wherever it comes from.
type flagValue[T any] struct {
	target *T
	kind   string // the placeholder in --help
	parse  func(text string) (T, error)
	format func(value T) string
}

// Set parses text and keeps it, or returns a sentence that says what would be accepted.
func (v *flagValue[T]) Set(text string) error {
	value, err := v.parse(text)
	if err != nil {
		return err
	}
	*v.target = value
	return nil
}

// String prints the value as Set would accept it.
func (v *flagValue[T]) String() string {
	if v.target == nil { // pflag makes a zero value to learn what a default looks like
		return ""
	}
	return v.format(*v.target)
}

// Type is the placeholder that --help shows for the value.
func (v *flagValue[T]) Type() string { return v.kind }

// integer is a whole number within [lo, hi].
func integer(target *int64, lo, hi int64) *flagValue[int64] {
	return &flagValue[int64]{
		target: target, kind: "n",
		parse: func(text string) (int64, error) {
			n, err := strconv.ParseInt(text, 10, 64)
			if err != nil || n < lo || n > hi {
				return 0, fmt.Errorf("want a whole number from %d to %d", lo, hi)
			}
			return n, nil
		},
		format: func(n int64) string { return strconv.FormatInt(n, 10) },
	}
}

// text is a string that must not be empty.
func text(target *string, kind string) *flagValue[string] {
	return &flagValue[string]{
		target: target, kind: kind,
		parse: func(text string) (string, error) {
			if text == "" {
				return "", fmt.Errorf("want a %s, not an empty value", kind)
			}
			return text, nil
		},
		format: func(s string) string { return s },
	}
}

// optional lets a text be empty, which means what it means by default: service files often set a
// variable to nothing.
func optional(v *flagValue[string]) *flagValue[string] {
	parse := v.parse
	v.parse = func(text string) (string, error) {
		if text == "" {
			return "", nil
		}
		return parse(text)
	}
	return v
}

// boolean is true or false. It is registered with NoOptDefVal, so that a bare --flag means true.
func boolean(target *bool) *flagValue[bool] {
	return &flagValue[bool]{
		target: target, kind: "bool",
		parse: func(text string) (bool, error) {
			switch strings.ToLower(text) {
			case "true", "1", "yes", "on":
				return true, nil
			case "false", "0", "no", "off":
				return false, nil
			default:
				return false, errors.New("want true or false")
			}
		},
		format: strconv.FormatBool,
	}
}

// oneOf is one of a few words; any other is told which word it is nearest to.
func oneOf(target *string, words ...string) *flagValue[string] {
	return &flagValue[string]{
		target: target, kind: strings.Join(words, "|"),
		parse: func(text string) (string, error) {
			for _, word := range words {
				if text == word {
					return word, nil
				}
			}
			return "", fmt.Errorf("did you mean %s? Want one of %s",
				nearest(text, words), strings.Join(words, ", "))
		},
		format: func(s string) string { return s },
	}
}

// duration is a Go duration within [lo, hi].
func duration(target *time.Duration, lo, hi time.Duration) *flagValue[time.Duration] {
	return &flagValue[time.Duration]{
		target: target, kind: "duration",
		parse: func(text string) (time.Duration, error) {
			d, err := time.ParseDuration(text)
			if err != nil || d < lo || d > hi {
				return 0, fmt.Errorf("want a duration such as 100ms, 5s or 168h, from %s to %s",
					shortDuration(lo), shortDuration(hi))
			}
			return d, nil
		},
		format: shortDuration,
	}
}

// shortDuration prints 168h instead of 168h0m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// byteUnits are the suffixes of a size, longest first so that MiB is not read as B.
var byteUnits = []struct {
	suffix string
	bytes  int64
}{
	{"kib", 1 << 10},
	{"mib", 1 << 20},
	{"gib", 1 << 30},
	{"tib", 1 << 40},
	{"kb", 1e3},
	{"mb", 1e6},
	{"gb", 1e9},
	{"tb", 1e12},
	{"b", 1},
	{"", 1},
}

// size is a number of bytes within [lo, hi], written with a decimal (MB) or binary (MiB) unit.
func size(target *int64, lo, hi int64) *flagValue[int64] {
	return &flagValue[int64]{
		target: target, kind: "size",
		parse: func(text string) (int64, error) {
			n, ok := parseSize(text)
			if !ok {
				return 0, errors.New("want a size such as 512MB or 1GiB")
			}
			if n < lo || n > hi {
				return 0, fmt.Errorf("want a size from %s to %s", formatSize(lo), formatSize(hi))
			}
			return n, nil
		},
		format: formatSize,
	}
}

// parseSize reads "512MB", "1GiB", "1.5 GB" or a bare number of bytes.
func parseSize(text string) (int64, bool) {
	s := strings.ToLower(strings.TrimSpace(text))
	for _, unit := range byteUnits {
		digits, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		digits = strings.TrimSpace(digits)
		if strings.Trim(digits, "0123456789.") != "" {
			return 0, false // ParseFloat would read 1e9, inf and hexadecimal too
		}
		value, err := strconv.ParseFloat(digits, 64)
		if err != nil || value*float64(unit.bytes) >= math.MaxInt64 {
			return 0, false
		}
		return int64(value * float64(unit.bytes)), true
	}
	return 0, false
}

// formatSize prints a size in the largest unit that divides it, so that parseSize reads it back.
func formatSize(n int64) string {
	for _, unit := range []struct {
		suffix string
		bytes  int64
	}{
		{"TiB", 1 << 40},
		{"GiB", 1 << 30},
		{"MiB", 1 << 20},
		{"KiB", 1 << 10},
		{"TB", 1e12},
		{"GB", 1e9},
		{"MB", 1e6},
		{"KB", 1e3},
	} {
		if n >= unit.bytes && n%unit.bytes == 0 {
			return strconv.FormatInt(n/unit.bytes, 10) + unit.suffix
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// address is host:port. An empty host means every interface; port 0 means any free port.
func address(target *string) *flagValue[string] {
	return &flagValue[string]{
		target: target, kind: "host:port",
		parse: func(text string) (string, error) {
			if _, _, err := splitAddress(text); err != nil {
				return "", err
			}
			return text, nil
		},
		format: func(s string) string { return s },
	}
}

// advertised is an address that clients can dial: it needs a host and a real port. Empty means
// that it follows from where the server listens.
func advertised(target *string) *flagValue[string] {
	v := address(target)
	v.parse = func(text string) (string, error) {
		if text == "" {
			return "", nil
		}
		host, port, err := splitAddress(text)
		if err != nil {
			return "", err
		}
		if host == "" || port == 0 {
			return "", errors.New("want what clients can reach, such as broker1.example.com:9092")
		}
		if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
			return "", fmt.Errorf("clients cannot connect to %s; want an address of this machine", host)
		}
		return text, nil
	}
	return v
}

// splitAddress checks host:port and returns its parts.
func splitAddress(text string) (host string, port int, err error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, errors.New("want host:port, such as 127.0.0.1:9092")
	}
	port, err = strconv.Atoi(portText)
	if err != nil || port < 0 || port > math.MaxUint16 {
		return "", 0, fmt.Errorf("want a port from 0 to %d after the colon", math.MaxUint16)
	}
	return host, port, nil
}
