package spec

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	repository  = "../.."
	conformance = repository + "/docs/spec-conformance.md"
)

// conformanceRow is what the document says of a field.
type conformanceRow struct {
	what  string
	tests []string
	used  bool
}

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// conformanceRows reads the rows of the tables whose first cell names fields.
func conformanceRows(t *testing.T, doc string) map[string]*conformanceRow {
	t.Helper()
	rows := map[string]*conformanceRow{}
	for line := range strings.Lines(doc) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| `/") || len(cells) != 3 {
			continue
		}
		row := &conformanceRow{what: cells[1]}
		for _, m := range quoted.FindAllStringSubmatch(cells[2], -1) {
			row.tests = append(row.tests, m[1])
		}
		for _, m := range quoted.FindAllStringSubmatch(cells[0], -1) {
			if rows[m[1]] != nil {
				t.Errorf("%s has two rows", m[1])
			}
			rows[m[1]] = row
		}
	}
	return rows
}

// testNames are the test functions of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(repository, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != repository {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestConformance holds docs/spec-conformance.md against specs-go, against the table of fields, and against the tests that there are.
func TestConformance(t *testing.T) {
	doc, err := os.ReadFile(conformance)
	if err != nil {
		t.Fatal(err)
	}
	rows, tests := conformanceRows(t, string(doc)), testNames(t)
	fields := map[string]bool{}
	walkType(t, reflect.TypeFor[specs.Spec](), nil, "", "", func(_, pattern string, _ *specs.Spec) {
		fields[pattern] = true
		row := rows[pattern]
		rule := ruleFor(pattern)
		refused := rule != nil && rule.is != carried
		for up := pattern; row == nil && refused && up != ""; { // a part that is refused as a whole has one row
			up = up[:strings.LastIndexByte(up, '/')]
			row = rows[up]
		}
		switch {
		case row == nil:
			t.Errorf("%s has no row", pattern)
		case len(row.tests) == 0:
			t.Errorf("%s has no test", pattern)
		case refused != strings.HasPrefix(row.what, "refused: "):
			t.Errorf("%s: the row says %q, and the table of fields %v", pattern, row.what, rule)
		}
		if row != nil {
			row.used = true
		}
	})
	for field, row := range rows {
		if !row.used {
			t.Errorf("%s is no field of runtime-spec", field)
		}
		for _, name := range row.tests {
			if !tests[name] {
				t.Errorf("%s: there is no test %s", field, name)
			}
		}
	}
	if len(fields) < 200 {
		t.Errorf("only %d fields", len(fields))
	}
}
