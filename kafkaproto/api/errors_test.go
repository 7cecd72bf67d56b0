package api

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
)

// TestEveryErrorHasACode reads the sources of the floors below: each exported sentinel there must
// stand in the table of mappings, so that a new one cannot reach clients as "unknown server error"
// by being forgotten.
func TestEveryErrorHasACode(t *testing.T) {
	mapped := mappedNames(t)
	for _, pkg := range []string{"log/batch", "log/journal", "log", "replication", "replication/metadata", "groups"} {
		names := sentinels(t, filepath.Join("..", "..", pkg))
		if len(names) < 4 {
			t.Errorf("%s: found only the sentinels %v; the search is broken", pkg, names)
		}
		for _, name := range names {
			if key := filepath.Base(pkg) + "." + name; !mapped[key] {
				t.Errorf("errors.go has no Kafka code for %s", key)
			}
		}
	}
}

// TestEveryErrorHasOneCode: the second code of a sentinel would never be reached.
func TestEveryErrorHasOneCode(t *testing.T) {
	seen := map[error]bool{}
	for _, m := range mappings {
		if seen[m.err] {
			t.Errorf("%v stands twice in the table", m.err)
		}
		seen[m.err] = true
	}
}

// sentinels lists the exported Err variables of a package.
func sentinels(t *testing.T, dir string) (names []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				_, isFunc := n.(*ast.FuncDecl)
				return !isFunc
			}
			for _, name := range spec.Names {
				if strings.HasPrefix(name.Name, "Err") {
					names = append(names, name.Name)
				}
			}
			return true
		})
	}
	return names
}

// mappedNames lists what the table of mappings names, as package.Name.
func mappedNames(t *testing.T) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name != "kerr" {
				names[pkg.Name+"."+s.Sel.Name] = true
			}
		}
		return true
	})
	return names
}

func TestCodes(t *testing.T) {
	record := &batch.RecordError{Index: 3, Err: &batch.ControlError{Header: "h", Reason: "r"}}
	for _, c := range []struct {
		err  error
		want *kerr.Error
	}{
		{fmt.Errorf("p: %w", record), kerr.InvalidRecord},
		{fmt.Errorf("p: %w", batch.ErrTooLarge), kerr.MessageTooLarge},
		{&replication.OfflineError{Partition: "t-0", Err: log.ErrCorrupt}, kerr.KafkaStorageError},
		{errors.Join(log.ErrOffsetOutOfRange, errors.New("x")), kerr.OffsetOutOfRange},
		{groups.ErrRebalanceInProgress, kerr.RebalanceInProgress},
		{fmt.Errorf("%w: x", errUnknownTopicID), kerr.UnknownTopicID},
		{errors.New("something internal"), kerr.UnknownServerError},
	} {
		if got := codeOf(c.err); got != c.want.Code {
			t.Errorf("%v: code %d, want %v", c.err, got, c.want)
		}
	}
	if codeOf(nil) != 0 || textOf(nil) != nil {
		t.Error("no error has a code or a text")
	}
	if text := *textOf(errors.New("open /secret/path")); strings.Contains(text, "secret") {
		t.Errorf("an internal failure is told to clients: %s", text)
	}
	if text := *textOf(fmt.Errorf("p: %w", record)); !strings.Contains(text, "record 3") {
		t.Errorf("the text does not name the record: %s", text)
	}
}
