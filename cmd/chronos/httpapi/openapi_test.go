package httpapi

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// described is openapi.yaml as the tests use it.
type described struct {
	root    map[string]any
	schemas *jsonschema.Compiler
}

func describe(t *testing.T) *described {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(description, &tree); err != nil {
		t.Fatal(err)
	}
	// Through JSON, so that numbers are what the validator expects.
	text, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d := &described{root: doc.(map[string]any), schemas: jsonschema.NewCompiler()}
	d.schemas.DefaultDraft(jsonschema.Draft2020)
	if err := d.schemas.AddResource("openapi.yaml", doc); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows a path of keys; nil when there is nothing.
func at(node any, keys ...string) any {
	for _, key := range keys {
		m, _ := node.(map[string]any)
		node = m[key]
	}
	return node
}

// resolve follows a $ref.
func (d *described) resolve(t *testing.T, node any) any {
	t.Helper()
	ref, ok := at(node, "$ref").(string)
	if !ok {
		return node
	}
	found := at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	if found == nil {
		t.Fatalf("%s leads nowhere", ref)
	}
	return found
}

// schema compiles the schema at a place of the document.
func (d *described) schema(t *testing.T, keys ...string) *jsonschema.Schema {
	t.Helper()
	for i, key := range keys {
		keys[i] = strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key)
	}
	compiled, err := d.schemas.Compile("openapi.yaml#/" + strings.Join(keys, "/"))
	if err != nil {
		t.Fatalf("schema %v: %v", keys, err)
	}
	return compiled
}

// check validates JSON against the schema of a component.
func (d *described) check(t *testing.T, component string, text []byte) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = d.schema(t, "components", "schemas", component).Validate(value)
	}
	if err != nil {
		t.Errorf("%s is no %s: %v", text, component, err)
	}
}

// operation is one method of one path in the description.
type operation struct {
	path, method string
	node         map[string]any
	shared       any // parameters of the path
}

func (d *described) operations() (all []operation) {
	for path, item := range d.root["paths"].(map[string]any) {
		for method, node := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			all = append(all, operation{
				path, strings.ToUpper(method), node.(map[string]any), at(item, "parameters"),
			})
		}
	}
	return all
}

// TestDescriptionHasTheRoutes: what is described is served, and the other way round, with the same
// parameters.
func TestDescriptionHasTheRoutes(t *testing.T) {
	d := describe(t)
	line := func(method, path string, query, inPath []string, body bool) string {
		sort.Strings(query)
		text, _ := json.Marshal([]any{method, path, append([]string{}, query...), inPath, body})
		return string(text)
	}
	var served, told []string
	for _, r := range routes {
		var inPath []string
		for part := range strings.SplitSeq(r.path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok {
				inPath = append(inPath, strings.TrimSuffix(name, "}"))
			}
		}
		served = append(served, line(r.method, r.path, slices.Clone(r.query), inPath, r.body))
	}
	for _, op := range d.operations() {
		var query, inPath []string
		for _, list := range []any{op.shared, op.node["parameters"]} {
			all, _ := list.([]any)
			for _, p := range all {
				p = d.resolve(t, p)
				if at(p, "in") == "path" {
					inPath = append(inPath, at(p, "name").(string))
				} else {
					query = append(query, at(p, "name").(string))
				}
			}
		}
		told = append(told, line(op.method, op.path, query, inPath, op.node["requestBody"] != nil))
	}
	for _, l := range served {
		if !slices.Contains(told, l) {
			t.Errorf("served, but not described: %s", l)
		}
	}
	for _, l := range told {
		if !slices.Contains(served, l) {
			t.Errorf("described, but not served: %s", l)
		}
	}
}

// TestDescriptionExamplesAreValid validates each example against the schema beside it.
func TestDescriptionExamplesAreValid(t *testing.T) {
	d := describe(t)
	checked := 0
	var walk func(node any, keys []string)
	walk = func(node any, keys []string) {
		switch node := node.(type) {
		case []any:
			return // no schema lies in a list with an example
		case map[string]any:
			if node["schema"] != nil && len(keys) > 0 && keys[len(keys)-1] != "parameters" {
				examples := []any{node["example"]}
				for _, named := range asMap(node["examples"]) {
					examples = append(examples, at(named, "value"))
				}
				for _, example := range examples {
					if example == nil {
						continue
					}
					checked++
					schema := d.schema(t, append(slices.Clone(keys), "schema")...)
					if err := schema.Validate(example); err != nil {
						t.Errorf("%v: %v", keys, err)
					}
				}
			}
			for key, child := range node {
				walk(child, append(slices.Clone(keys), key))
			}
		}
	}
	walk(d.root, nil)
	if checked < 10 {
		t.Errorf("only %d examples found; the walk is broken", checked)
	}
}

func asMap(node any) map[string]any {
	m, _ := node.(map[string]any)
	return m
}

// TestDescriptionHasTheProblems: the types of problems are those that the code has.
func TestDescriptionHasTheProblems(t *testing.T) {
	d := describe(t)
	var told, known []string
	for _, v := range at(d.root, "components", "schemas", "Problem", "properties", "type", "enum").([]any) {
		told = append(told, v.(string))
	}
	for _, k := range problemKinds {
		known = append(known, problemTypePrefix+k.name)
	}
	if !slices.Equal(told, known) {
		t.Errorf("described %v\nknown %v", told, known)
	}
}

// TestDescriptionHasNoDeadReference: each $ref leads somewhere and each schema is used.
func TestDescriptionHasNoDeadReference(t *testing.T) {
	d := describe(t)
	for _, kind := range []string{"parameters", "responses", "schemas"} {
		for name := range asMap(at(d.root, "components", kind)) {
			if !bytes.Contains(description, []byte(`"#/components/`+kind+"/"+name+`"`)) {
				t.Errorf("nothing refers to %s %s", kind, name)
			}
		}
	}
	for _, schema := range []string{"Page", "Counts", "Histogram", "Order", "Many", "Topic", "Problem", "MoveMany"} {
		d.schema(t, "components", "schemas", schema)
	}
}

// CheckDescribed validates JSON against a schema of the description.
func CheckDescribed(t *testing.T, component string, text []byte) {
	t.Helper()
	describe(t).check(t, component, text)
}
