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
	for _, def := range metadata.ConfigDefs {
		if !strings.Contains(readme, "`"+def.Name+"`") {
			t.Errorf("README.md does not name the topic config %s", def.Name)
		}
	}
}
