package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// TestReadmeIsTrue holds the README's lists against the tables in the code that they speak of.
func TestReadmeIsTrue(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	if table := api.Markdown(); !strings.Contains(readme, table) {
		t.Errorf("README.md does not hold the table of APIs; it is now:\n%s", table)
	}
	c := defaultConfig()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	registerFlags(flags, &c)
	flags.VisitAll(func(flag *pflag.Flag) {
		row := "| `--" + flag.Name + "` | "
		if flag.DefValue != "" {
			row += "`" + flag.DefValue + "` |"
		}
		if !strings.Contains(readme, row) {
			t.Errorf("README.md has no row %q", row)
		}
	})
}

// TestReadmeTellsWhatConfigsDo: every topic config stands in one row of README's table, and what has
// no effect, or cannot be changed, in the row that says so.
func TestReadmeTellsWhatConfigsDo(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{} // by config
	for line := range strings.Lines(string(readme)) {
		cells := strings.Split(line, "|")
		if len(cells) != 4 {
			continue
		}
		for name := range strings.SplitSeq(cells[2], "`") {
			if _, ok := metadata.LookupConfig(name); ok {
				if rows[name] != "" {
					t.Errorf("%s stands in two rows", name)
				}
				rows[name] = strings.TrimSpace(cells[1])
			}
		}
	}
	for _, def := range metadata.ConfigDefs {
		idle := strings.Contains(def.Doc, "without effect")
		switch row := rows[def.Name]; {
		case row == "":
			t.Errorf("%s is not in the table", def.Name)
		case strings.HasPrefix(row, "accepted without effect") != idle,
			strings.HasPrefix(row, "read-only") != def.ReadOnly:
			t.Errorf("%s stands under %q; read-only: %v, without effect: %v", def.Name, row, def.ReadOnly, idle)
		}
	}
}
