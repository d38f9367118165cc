package parity

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.io/shim/integration/daemon"
)

// reason is a row of the document's table of differences.
type reason struct {
	peer, topics, section string // "both" and "every" stand for all
	lines                 []*regexp.Regexp
}

type reasons []reason

var quoted = regexp.MustCompile("`([^`]+)`")

// readReasons reads the rows "| runc | topic | section | `lines` | why |".
func readReasons(t *testing.T) (list reasons) {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join(daemon.Top(), document))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(doc)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if len(cells) != 5 || !strings.HasPrefix(line, "|") {
			continue
		}
		r := reason{peer: strings.TrimSpace(cells[0]), topics: cells[1], section: cells[2]}
		for _, m := range quoted.FindAllStringSubmatch(cells[3], -1) {
			r.lines = append(r.lines, regexp.MustCompile("^"+m[1]))
		}
		if len(r.lines) > 0 {
			list = append(list, r)
		}
	}
	return list
}

func (list reasons) explain(d difference) bool {
	for _, r := range list {
		_, section, _ := strings.Cut(d.section, " ")
		if r.peer != "both" && r.peer != d.peer || r.topics != "every" && !contains(r.topics, d.topic) || !contains(r.section, section) && !contains(r.section, d.section) {
			continue
		}
		for _, re := range r.lines {
			if re.MatchString(d.line) {
				return true
			}
		}
	}
	return false
}

func contains(list, name string) bool {
	for one := range strings.SplitSeq(list, ", ") {
		if one == name {
			return true
		}
	}
	return false
}
