package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	testName = regexp.MustCompile(`\bTest[A-Z]\w*`)
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(`)
)

// TestContractRows holds the table of docs/contract-notes.md against the tests: each that it names is there, and each of the contract stands in it.
func TestContractRows(t *testing.T) {
	named := map[string]bool{}
	for _, name := range testName.FindAllString(read(t, "docs/contract-notes.md"), -1) {
		named[name] = true
	}
	there := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(data), -1) {
			there[m[1]] = true
			if filepath.Base(filepath.Dir(path)) == "contract" && m[1] != "TestMain" && !named[m[1]] {
				t.Errorf("%s is in no row of docs/contract-notes.md", m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range named {
		if !there[name] {
			t.Errorf("docs/contract-notes.md names %s, which is no test", name)
		}
	}
}
