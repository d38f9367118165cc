package process

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table into docs/lifecycle.md")

const (
	docFile  = "../docs/lifecycle.md"
	docBegin = "<!-- table: go test ./process -run LifecycleDoc -update -->\n"
	docEnd   = "<!-- end of the table -->\n"
)

// tableText is the table as docs/lifecycle.md shows it.
func tableText() string {
	var b strings.Builder
	b.WriteString("| | " + strings.Join(statusNames[:], " | ") + " |\n|---" + strings.Repeat("|---", int(statusCount)) + "|\n")
	for e := range eventCount {
		name := e.String()
		if e == evExecKill {
			name = "kill of an exec"
		}
		fmt.Fprintf(&b, "| %s", name)
		for s := range statusCount {
			c := table[s][e]
			b.WriteString(" | " + map[verdict]string{impossible: "", accept: c.next.String(), refuse: "refused", finished: "finished", gone: "not found"}[c.verdict])
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

// TestLifecycleDoc keeps the document's table that of the code.
func TestLifecycleDoc(t *testing.T) {
	data, err := os.ReadFile(docFile)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), docBegin)
	old, after, ok2 := strings.Cut(rest, docEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", docFile)
	}
	if want := tableText(); old != want {
		if !*update {
			t.Fatalf("%s does not show the table of status.go; run: go test ./process -run LifecycleDoc -update", docFile)
		}
		if err := os.WriteFile(docFile, []byte(before+docBegin+want+docEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
