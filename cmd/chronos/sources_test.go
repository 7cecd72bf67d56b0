package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// configure runs the sources as the command does and returns what they made.
func configure(t *testing.T, args, environ []string) (Config, error) {
	t.Helper()
	c := defaultConfig()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	registerFlags(flags, &c)
	if err := flags.Parse(args); err != nil {
		return c, flagError(flags, err)
	}
	return c, applySources(flags, environ)
}

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestStrongerSourceWins(t *testing.T) {
	file := writeConfig(t, "# all four sources\ntick-ms: 4\nnum-partitions: 4\nnode-id: 4\n"+
		"segment-size: 1GiB\nauto-create-topics: false\n")
	c, err := configure(t,
		[]string{"--tick-ms=2", "--config", file},
		[]string{"CHRONOS_TICK_MS=3", "CHRONOS_NUM_PARTITIONS=3", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := defaultConfig()
	want.TickMs, want.NumPartitions, want.NodeID = 2, 3, 4
	want.SegmentBytes, want.AutoCreateTopics, want.ConfigFile = 1<<30, false, file
	if c != want {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestConfigFileFromEnvironment(t *testing.T) {
	c, err := configure(t, nil, []string{"CHRONOS_CONFIG=" + writeConfig(t, "fsync-mode: periodic\n")})
	if err != nil || c.FsyncMode != "periodic" {
		t.Errorf("fsync mode %q, error %v", c.FsyncMode, err)
	}
}

func TestBadSourcesAreRefusedInOneLine(t *testing.T) {
	for name, test := range map[string]struct {
		args, environ []string
		file          string
		want          []string // parts of the one line
	}{
		"flag":             {args: []string{"--tick=1"}, want: []string{"--tick;", "--tick-ms?"}},
		"flag, one letter": {args: []string{"--data-dirs=x"}, want: []string{"--data-dirs", "--data-dir?"}},
		"flag's value":     {args: []string{"--tick-ms=0"}, want: []string{"--tick-ms", `"0"`, "1 to 1000"}},
		"flag without value": {
			args: []string{"--tick-ms"}, want: []string{"--tick-ms", "needs an argument"},
		},
		"word":     {args: []string{"--fsync-mode=batched"}, want: []string{"batch?", "every_event"}},
		"size":     {args: []string{"--segment-size=12 parsecs"}, want: []string{"512MB or 1GiB"}},
		"size max": {args: []string{"--segment-size=1TB"}, want: []string{"want a size from 1MiB"}},
		"duration": {args: []string{"--fsync-interval=100"}, want: []string{"100ms"}},
		"address":  {args: []string{"--kafka-addr=9092"}, want: []string{"host:port"}},
		"port":     {args: []string{"--http-addr=:99999"}, want: []string{"65535"}},
		"advertised wildcard": {
			args: []string{"--advertised-addr=0.0.0.0:9092"}, want: []string{"cannot connect to 0.0.0.0"},
		},
		"shorthand": {args: []string{"-x"}, want: []string{"unknown shorthand flag: 'x'"}},
		"environment": {
			environ: []string{"CHRONOS_TICKMS=1"},
			want:    []string{"CHRONOS_TICKMS", "CHRONOS_TICK_MS?"},
		},
		"environment's value": {
			environ: []string{"CHRONOS_NODE_ID=one"},
			want:    []string{`CHRONOS_NODE_ID="one"`, "whole number"},
		},
		"environment's value under a flag": {
			args:    []string{"--node-id=7"},
			environ: []string{"CHRONOS_NODE_ID=one"},
			want:    []string{`CHRONOS_NODE_ID="one"`},
		},
		"key": {
			file: "\ndata_dir: x\n", want: []string{"c.yaml:2", `"data_dir"`, `"data-dir"?`},
		},
		"key of the file itself": {file: "config: x\n", want: []string{`unknown key "config"`}},
		"key twice": {
			file: "tick-ms: 1\ntick-ms: 2\n", want: []string{"c.yaml:2", "already given on line 1"},
		},
		"value":      {file: "tick-ms: soon\n", want: []string{"c.yaml:1", `"soon"`, "1 to 1000"}},
		"list":       {file: "tick-ms: [1]\n", want: []string{"wants one value"}},
		"no value":   {file: "tick-ms:\n", want: []string{"wants one value"}},
		"no mapping": {file: "- tick-ms\n", want: []string{"data-dir: ./data"}},
		"no YAML":    {file: "tick-ms: {\n", want: []string{"c.yaml", "yaml:"}},
		"no file":    {args: []string{"--config=/nowhere.yaml"}, want: []string{"/nowhere.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			args := test.args
			if test.file != "" {
				args = append(args, "--config", writeConfig(t, test.file))
			}
			_, err := configure(t, args, test.environ)
			var usage *usageError
			if !errors.As(err, &usage) {
				t.Fatalf("error %v, want a usage error", err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

// TestEveryNameFindsItself also shows that every default is a value that its flag accepts.
func TestEveryNameFindsItself(t *testing.T) {
	c := defaultConfig()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	registerFlags(flags, &c)
	count := 0
	flags.VisitAll(func(flag *pflag.Flag) {
		count++
		if flagName(envName(flag.Name)) != flag.Name {
			t.Errorf("--%s is not found under %s", flag.Name, envName(flag.Name))
		}
		if got := nearest(flag.Name, flagNames(flags)); got != flag.Name {
			t.Errorf("nearest to %s is %s", flag.Name, got)
		}
		if flag.DefValue != "" {
			if err := flag.Value.Set(flag.DefValue); err != nil {
				t.Errorf("--%s refuses its default %q: %v", flag.Name, flag.DefValue, err)
			}
		}
	})
	if count != len(flagNames(flags)) || count < 15 {
		t.Errorf("%d flags registered, %d can be set", count, len(flagNames(flags)))
	}
	if c != defaultConfig() {
		t.Errorf("defaults changed when read back: %+v", c)
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	_, err := configure(t, nil, []string{
		"CHRONOS_MUTANT=no-fsync", "CHRONOS_REQUIRE_CLIENTS=1", "CHRONOS_BIN=/x",
		"CHRONOS_SERVICE_HOST=10.0.0.1", "CHRONOS_SERVICE_PORT_KAFKA=9092", "CHRONOS_PORT=tcp://10.0.0.1:9092",
		"CHRONOS_PORT_9092_TCP_ADDR=10.0.0.1", "CHRONOS_KAFKA_SERVICE_PORT=9092",
	})
	if err != nil {
		t.Error(err)
	}
}

// TestVariablesOfTestsAreKnown looks at every CHRONOS_ variable in the sources outside this folder:
// one that the server does not know would stop its start whenever a test has set it.
func TestVariablesOfTestsAreKnown(t *testing.T) {
	quoted := regexp.MustCompile(`"(CHRONOS_[A-Z_]+)[="]`)
	c := defaultConfig()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	registerFlags(flags, &c)
	seen := 0
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasPrefix(path, "cmd/") {
			return err
		}
		text, err := fs.ReadFile(root, path)
		for _, match := range quoted.FindAllSubmatch(text, -1) {
			seen++
			name := string(match[1])
			if !envElsewhere.MatchString(name) && flags.Lookup(flagName(name)) == nil {
				t.Errorf("%s uses %s; begin it with CHRONOS_TEST_, or add it to envElsewhere", path, name)
			}
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("%d names seen, error %v", seen, err)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"512MB": 512e6, "512MiB": 512 << 20, "1GiB": 1 << 30, "1.5 GB": 1.5e9, "2tib": 2 << 40, "7": 7,
		"8b": 8, "64 KiB": 64 << 10,
	} {
		if got, ok := parseSize(text); !ok || got != want {
			t.Errorf("parseSize(%q) = %d, %v, want %d", text, got, ok, want)
		}
		if got, ok := parseSize(formatSize(want)); !ok || got != want {
			t.Errorf("formatSize(%d) = %q reads as %d", want, formatSize(want), got)
		}
	}
	for _, text := range []string{"", "MB", "-1", "1e3", "inf", "1XB", "1 2", "0x10", "9999999999TB", "1..2"} {
		if got, ok := parseSize(text); ok {
			t.Errorf("parseSize(%q) = %d, want a refusal", text, got)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"data-dir", "fsync-mode", "fsync-interval", "http-addr", "kafka-addr"}
	for got, want := range map[string]string{
		"datadir": "data-dir", "DATA_DIR": "data-dir", "fsync": "fsync-mode", "interval": "fsync-interval",
		"htp-addr": "http-addr", "kafka": "kafka-addr",
	} {
		if name := nearest(got, names); name != want {
			t.Errorf("nearest(%q) = %q, want %q", got, name, want)
		}
	}
}
