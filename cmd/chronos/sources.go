package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"
)

// envPrefix begins the name of every environment variable that sets a flag: --tick-ms is
// CHRONOS_TICK_MS.
const envPrefix = "CHRONOS_"

// configFileMax bounds the configuration file: there are fewer than twenty keys.
const configFileMax = 1 << 20

// usageError is a mistake in what the operator wrote; trying again cannot help.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usagef(format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...)}
}

// envElsewhere matches variables that begin with CHRONOS_ and are not ours to judge: what the tests
// read, and what Kubernetes sets in every pod beside a service whose name begins with chronos.
var envElsewhere = regexp.MustCompile(`^CHRONOS_(REQUIRE_.*|TEST_.*|BIN|MUTANT)$` +
	`|^CHRONOS_(.+_)?(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT|PORT_\d+_(TCP|UDP)(_.*)?)$`)

// applySources completes the flags that the command line left alone: first from the environment,
// then from the file that --config or CHRONOS_CONFIG names. What neither says keeps its default.
func applySources(flags *pflag.FlagSet, environ []string) error {
	if err := applyEnv(flags, environ); err != nil {
		return err
	}
	file := flags.Lookup("config").Value.String()
	if file == "" {
		return nil
	}
	return applyFile(flags, file)
}

// applyEnv sets every flag that has a CHRONOS_ variable and was not given on the command line. A
// value is checked even where the command line goes first, so that a mistake does not lie in wait.
func applyEnv(flags *pflag.FlagSet, environ []string) error {
	environ = slices.Clone(environ)
	slices.Sort(environ) // so that of two mistakes it is always the same one that is named
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || envElsewhere.MatchString(name) {
			continue
		}
		flag := flags.Lookup(flagName(name))
		if flag == nil || envName(flag.Name) != name {
			return usagef("unknown environment variable %s; did you mean %s?",
				name, envName(nearest(flagName(name), flagNames(flags))))
		}
		if err := setUnlessChanged(flags, flag, value); err != nil {
			return usagef("environment variable %s=%q: %v", name, value, err)
		}
	}
	return nil
}

// applyFile sets every flag that has a key in the YAML file and was given neither on the command
// line nor in the environment.
func applyFile(flags *pflag.FlagSet, path string) error {
	mapping, err := readMapping(path)
	if err != nil {
		return err
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(mapping); i += 2 {
		key, value := mapping[i], mapping[i+1]
		at := fmt.Sprintf("%s:%d", path, key.Line)
		flag := flags.Lookup(key.Value)
		if !slices.Contains(keyNames(flags), key.Value) {
			return usagef("%s: unknown key %q; did you mean %q?",
				at, key.Value, nearest(key.Value, keyNames(flags)))
		}
		if line, twice := seen[key.Value]; twice {
			return usagef("%s: key %q was already given on line %d", at, key.Value, line)
		}
		seen[key.Value] = key.Line
		if value.Kind != yaml.ScalarNode || value.Tag == "!!null" {
			return usagef("%s: key %q wants one value", at, key.Value)
		}
		if err := setUnlessChanged(flags, flag, value.Value); err != nil {
			return usagef("%s: %s: %q: %v", at, key.Value, value.Value, err)
		}
	}
	return nil
}

// readMapping reads the file as one flat YAML mapping: key and value nodes in turn.
func readMapping(path string) ([]*yaml.Node, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usagef("config file: %v", err)
	}
	if info.Size() > configFileMax {
		return nil, usagef("config file %s has %d bytes; the limit is %d",
			path, info.Size(), configFileMax)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, usagef("config file: %v", err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return nil, usagef("config file %s: %v", path, oneLine(err))
	}
	if len(document.Content) == 0 {
		return nil, nil // an empty file, or nothing but comments
	}
	root := document.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, usagef("config file %s: want lines such as \"data-dir: ./data\"", path)
	}
	return root.Content, nil
}

// setUnlessChanged checks value against the flag and keeps it, unless a stronger source spoke
// first.
func setUnlessChanged(flags *pflag.FlagSet, flag *pflag.Flag, value string) error {
	if !flag.Changed {
		if err := flags.Set(flag.Name, value); err != nil {
			return plainCause(err)
		}
		return nil
	}
	// Set keeps what it accepts, so the stronger value is put back after the check.
	before := flag.Value.String()
	if err := flag.Value.Set(value); err != nil {
		return err
	}
	return flag.Value.Set(before)
}

// flagError turns pflag's errors into the one line that the operator sees.
func flagError(flags *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		name := unknown.GetSpecifiedName()
		names := append(flagNames(flags), "help")
		return usagef("unknown flag --%s; did you mean --%s?", name, nearest(name, names))
	case errors.As(err, &invalid):
		return usagef("--%s %q: %v", invalid.GetFlag().Name, invalid.GetValue(), plainCause(err))
	default:
		return usagef("%s; see --help", oneLine(err))
	}
}

// plainCause is the sentence of a flagValue without what pflag wraps around it.
func plainCause(err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) {
		return invalid.Unwrap()
	}
	return err
}

// isSetting tells a server setting from cobra's own flags, such as --help.
func isSetting(flag *pflag.Flag) bool { return flag.Name != "help" && flag.Name != "version" }

func flagNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(flag *pflag.Flag) {
		if isSetting(flag) {
			names = append(names, flag.Name)
		}
	})
	return names
}

// keyNames are the names that the configuration file may use: it cannot name another file.
func keyNames(flags *pflag.FlagSet) []string {
	return slices.DeleteFunc(flagNames(flags), func(name string) bool { return name == "config" })
}

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func flagName(env string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(env, envPrefix), "_", "-"))
}

// oneLine joins the lines of an error, because a refusal to start is one line.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
