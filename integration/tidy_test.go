package integration

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The house rules as a test. A rule that only a reviewer knows is kept until the first busy day;
// these are kept always. Each finding says what to do instead.
//
// tolerated is the ratchet: findings that are known and stay for now, each with its reason. An
// entry that no longer matches a finding fails the test, so that the list only shrinks.
var tolerated = map[string]string{}

// The sizes at which a file or a function holds more than one thought.
const (
	fileLinesMax     = 600
	functionLinesMax = 70
	lineColumnsMax   = 100
	testColumnsMax   = 120 // a table reads better with one case on one line
	tabColumns       = 1   // as linters count by default
)

const modulePath = "github.com/chronosdb/chronosdb"

// floors says how high each folder stands. A folder that is not named stands where its parent
// does. Imports go down, or sideways within one top-level folder.
var floors = map[string]int{
	"timer/clock": 0, "log/vfs": 0, "log/invariant": 0, "log/mutant": 0,
	"log/batch": 1, "log/journal": 1, "timer/wheel": 1, "timer/recur": 1,
	"log":         2,
	"timer":       3,
	"replication": 4, "groups": 4,
	"kafkaproto":  5,
	"cmd":         6,
	"integration": 7,
}

// topLevel is what may lie beside the dot files: the plan, and what the Makefile and a server
// started here leave behind.
var topLevel = []string{
	"cmd", "kafkaproto", "log", "timer", "groups", "replication", "integration",
	"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "bin", "data",
}

// vagueNames are file names that say nothing about what is inside.
var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "shared"}

// ban is one call that product code must not make, and what to do instead.
type ban struct {
	pkg     string
	name    *regexp.Regexp
	instead string
	allowed []string // folders in which the call is at home
	tests   bool     // holds in test files too
}

var bans = []ban{
	{
		pkg:     "time",
		name:    regexp.MustCompile(`^(Now|Since|Until|After|AfterFunc|NewTimer|NewTicker|Tick)$`),
		instead: "take a clock.Clock, so that tests own the time",
		allowed: []string{"timer/clock", "integration"},
	},
	{
		pkg:     "time",
		name:    regexp.MustCompile(`^Sleep$`),
		instead: "wait for the event itself: a channel, a manual clock or testing/synctest",
		allowed: []string{"log/vfs", "integration"}, // log/vfs makes a real disk slow
		tests:   true,
	},
	{
		pkg: "os",
		name: regexp.MustCompile(`^(Open|OpenFile|Create|CreateTemp|MkdirTemp|ReadFile|WriteFile|` +
			`Remove|RemoveAll|Rename|Mkdir|MkdirAll|Stat|Lstat|ReadDir|Truncate|Link|Symlink|Chmod|` +
			`Chtimes|NewFile|CopyFS|DirFS)$`),
		instead: "go through vfs.FS, so that the crash file system sees it",
		allowed: []string{"log/vfs", "cmd", "integration"},
	},
	{
		pkg: "os", name: regexp.MustCompile(`^Exit$`),
		instead: "return an error",
		allowed: []string{"cmd", "integration"},
	},
	{
		pkg: "fmt", name: regexp.MustCompile(`^Print(|f|ln)$`),
		instead: "log with zap, or write to a writer that the caller gave",
		allowed: []string{"cmd", "integration"},
	},
}

// imports that nobody may have, with what to use instead.
var bannedImports = map[string]string{
	"log":       "zap",
	"math/rand": "math/rand/v2",
	"io/ioutil": "os and io",
}

// stopper matches a comment that says how a goroutine ends or who waits for it.
var stopper = regexp.MustCompile(`(?i)\b(stop|close|end|exit|wait|return|until|cancel|done|drain)`)

// source is one Go file of the repository.
type source struct {
	name  string // slash path from the root
	dir   string
	test  bool
	bytes []byte
	set   *token.FileSet
	file  *ast.File
}

func (s *source) line(p token.Pos) int { return s.set.Position(p).Line }

// report is a finding: where, and what to do.
type report func(where, format string, args ...any)

func TestTidy(t *testing.T) {
	sources := readSources(t)
	if len(sources) < 50 {
		t.Fatalf("only %d Go files found; the walk is broken", len(sources))
	}
	found := make(map[string]bool)
	report := func(where, format string, args ...any) {
		found[where] = true
		if _, ok := tolerated[where]; !ok {
			t.Errorf("%s: "+format, append([]any{where}, args...)...)
		}
	}
	checkTopLevel(t, report)
	checkPackageDocs(sources, report)
	for _, s := range sources {
		checkName(s, report)
		checkLines(s, report)
		checkFunctions(s, report)
		checkImports(s, report)
		checkCalls(s, report)
		if !s.test {
			checkExportedDocs(s, report)
			checkGoroutines(s, report)
		}
	}
	for where, reason := range tolerated {
		if !found[where] {
			t.Errorf("tolerated[%q] (%s) matches nothing any more; remove it", where, reason)
		}
	}
}

// readSources parses every Go file of both modules.
func readSources(t *testing.T) []*source {
	t.Helper()
	root := os.DirFS("..")
	var sources []*source
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := name != "." && strings.HasPrefix(d.Name(), ".")
		if d.IsDir() && (hidden || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		s := &source{name: name, dir: path.Dir(name), bytes: text, set: token.NewFileSet()}
		s.test = strings.HasSuffix(name, "_test.go")
		s.file, err = parser.ParseFile(s.set, name, text, parser.ParseComments)
		sources = append(sources, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return sources
}

func checkTopLevel(t *testing.T, report report) {
	t.Helper()
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasPrefix(name, ".") && !slices.Contains(topLevel, name) {
			report(name, "is outside the plan; top-level names are %s", strings.Join(topLevel, " "))
		}
	}
}

// checkPackageDocs wants one attached package comment in each folder, in doc.go.
func checkPackageDocs(sources []*source, report report) {
	docs := make(map[string]int)
	for _, s := range sources {
		if s.test {
			continue
		}
		docs[s.dir] += 0
		if s.file.Doc == nil {
			continue
		}
		docs[s.dir]++
		want := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			want = "Command " + path.Base(s.dir) + " "
		}
		if !strings.HasPrefix(s.file.Doc.Text(), want) {
			report(s.name, "the package comment should begin with %q", want)
		}
		if path.Base(s.name) != "doc.go" {
			report(s.name, "the package comment belongs in doc.go")
		}
	}
	for dir, count := range docs {
		if count != 1 {
			report(dir, "has %d attached package comments; want one, in doc.go, without a blank "+
				"line before the package clause", count)
		}
	}
}

func checkName(s *source, report report) {
	base := strings.TrimSuffix(strings.TrimSuffix(path.Base(s.name), ".go"), "_test")
	if slices.Contains(vagueNames, base) {
		report(s.name, "name the file for the noun that it holds")
	}
}

func checkLines(s *source, report report) {
	lines := bytes.Split(bytes.TrimSuffix(s.bytes, []byte("\n")), []byte("\n"))
	if len(lines) > fileLinesMax && !ast.IsGenerated(s.file) {
		report(s.name, "has %d lines; split it by noun at %d", len(lines), fileLinesMax)
	}
	limit := lineColumnsMax
	if s.test {
		limit = testColumnsMax
	}
	for i, line := range lines {
		width := utf8.RuneCount(line) + (tabColumns-1)*bytes.Count(line, []byte("\t"))
		if width > limit {
			report(fmt.Sprintf("%s:%d", s.name, i+1), "is %d columns wide; wrap at %d", width, limit)
		}
	}
}

func checkFunctions(s *source, report report) {
	for _, decl := range s.file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Body == nil {
			continue
		}
		if n := s.line(f.End()) - s.line(f.Pos()) + 1 - s.tableLines(f); n > functionLinesMax {
			report(s.name+" "+f.Name.Name, "has %d lines; one function decides, small ones compute: "+
				"%d at most", n, functionLinesMax)
		}
	}
}

// tableLines counts the lines of the literals in a function: a table is data that one reads down,
// not steps that one follows.
func (s *source) tableLines(f *ast.FuncDecl) (lines int) {
	ast.Inspect(f, func(n ast.Node) bool {
		table, ok := n.(*ast.CompositeLit)
		if ok {
			lines += s.line(table.End()) - s.line(table.Pos())
		}
		return !ok // what is inside is counted already
	})
	return lines
}

func checkImports(s *source, report report) {
	for _, spec := range s.file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser has accepted it
		}
		where := s.name + " imports " + name
		if instead, banned := bannedImports[name]; banned {
			report(where, "use %s", instead)
		}
		dir, ours := strings.CutPrefix(name, modulePath+"/")
		if !ours {
			continue
		}
		from, to := floorOf(s.dir), floorOf(dir)
		sameFolder := topFolder(s.dir) == topFolder(dir)
		if to > from || to == from && !sameFolder {
			report(where, "that is floor %d from floor %d; import downwards only", to, from)
		}
	}
}

// floorOf returns the floor of the nearest named folder.
func floorOf(dir string) int {
	for ; dir != "."; dir = path.Dir(dir) {
		if floor, ok := floors[dir]; ok {
			return floor
		}
	}
	return -1
}

func topFolder(dir string) string {
	top, _, _ := strings.Cut(dir, "/")
	return top
}

func within(dir string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return dir == folder || strings.HasPrefix(dir, folder+"/")
	})
}

// checkCalls finds banned calls: those of bans, and the builtins that end or print.
func checkCalls(s *source, report report) {
	packages := importNames(s.file)
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok || packages[x.Name] == "" {
				return true
			}
			for _, b := range bans {
				if packages[x.Name] == b.pkg && b.name.MatchString(n.Sel.Name) &&
					!within(s.dir, b.allowed) && (b.tests || !s.test) {
					report(fmt.Sprintf("%s:%d", s.name, s.line(n.Pos())), "%s.%s: %s",
						b.pkg, n.Sel.Name, b.instead)
				}
			}
		case *ast.CallExpr:
			f, ok := n.Fun.(*ast.Ident)
			if !ok || s.test {
				return true
			}
			where := fmt.Sprintf("%s:%d", s.name, s.line(n.Pos()))
			if f.Name == "panic" && !within(s.dir, []string{"log/invariant"}) {
				report(where, "panic: invariant.Check for our bugs, an error for the world's faults")
			}
			if f.Name == "print" || f.Name == "println" {
				report(where, "%s: log with zap", f.Name)
			}
		}
		return true
	})
}

// importNames maps the name under which a file knows a package to its path.
func importNames(f *ast.File) map[string]string {
	names := make(map[string]string)
	for _, spec := range f.Imports {
		name := strings.Trim(spec.Path.Value, `"`)
		if spec.Name != nil {
			names[spec.Name.Name] = name
		} else {
			names[path.Base(name)] = name
		}
	}
	return names
}

func checkExportedDocs(s *source, report report) {
	missing := func(n *ast.Ident) {
		report(fmt.Sprintf("%s:%d", s.name, s.line(n.Pos())), "%s is exported; say what it is, "+
			"its units, its errors and why", n.Name)
	}
	for _, decl := range s.file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && d.Doc == nil && exportedReceiver(d) {
				missing(d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				checkSpecDoc(spec, d.Doc != nil, missing)
			}
		}
	}
}

// checkSpecDoc wants a comment on an exported type, constant or variable: its own, one at its end,
// or that of its group.
func checkSpecDoc(spec ast.Spec, grouped bool, missing func(*ast.Ident)) {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		if spec.Name.IsExported() && !grouped && spec.Doc == nil && spec.Comment == nil {
			missing(spec.Name)
		}
	case *ast.ValueSpec:
		for _, name := range spec.Names {
			if name.IsExported() && !grouped && spec.Doc == nil && spec.Comment == nil {
				missing(name)
			}
		}
	}
}

// exportedReceiver reports whether a function can be called from outside: it has no receiver, or
// one of an exported type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return true
	}
	t := f.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.IsExported()
		default:
			return false
		}
	}
}

// checkGoroutines wants, on the line before each go statement, a comment that names who ends the
// goroutine. The same holds for the Go method of a sync.WaitGroup or an errgroup.
func checkGoroutines(s *source, report report) {
	ends := make(map[int]string)
	for _, group := range s.file.Comments {
		ends[s.line(group.End())] = group.Text()
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		statement, ok := n.(*ast.GoStmt)
		if !ok {
			return true
		}
		line := s.line(statement.Pos())
		if !stopper.MatchString(ends[line-1]) {
			report(fmt.Sprintf("%s:%d", s.name, line), "say in a comment on the line before the go "+
				"statement who stops the goroutine and who waits for it")
		}
		return true
	})
}

// TestTidyFindsFaults gives the rules a file that breaks each of them, so that a rule that has
// stopped looking is noticed.
func TestTidyFindsFaults(t *testing.T) {
	text := `package util

import (
	"fmt"
	"log"
	"os"
	"time"

	"` + modulePath + `/replication"
)

func Bare() {
	go time.Sleep(1)
	time.Now()
	os.Remove("x")
	fmt.Println("` + strings.Repeat("w", lineColumnsMax) + `")
	panic(1)
	os.Exit(1)
` + strings.Repeat("\n", fileLinesMax) + "}\n"
	s := &source{name: "log/util.go", dir: "log", bytes: []byte(text), set: token.NewFileSet()}
	var err error
	if s.file, err = parser.ParseFile(s.set, s.name, text, parser.ParseComments); err != nil {
		t.Fatal(err)
	}
	var found []string
	report := func(where, format string, args ...any) {
		found = append(found, where+": "+fmt.Sprintf(format, args...))
	}
	checkPackageDocs([]*source{s}, report)
	checkName(s, report)
	checkLines(s, report)
	checkFunctions(s, report)
	checkImports(s, report)
	checkCalls(s, report)
	checkExportedDocs(s, report)
	checkGoroutines(s, report)
	all := strings.Join(found, "\n")
	for _, want := range []string{
		"attached package comments", "name the file for the noun", "split it by noun",
		"columns wide", "one function decides", "imports log: use zap", "import downwards only",
		"time.Sleep", "time.Now", "os.Remove", "fmt.Println", "panic:", "os.Exit", "Bare is exported",
		"who stops the goroutine",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("a file that breaks the rule did not yield %q; found:\n%s", want, all)
		}
	}
}
