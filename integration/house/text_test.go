package house

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxLines is how long a Go file may be, tests included: one that is longer does more than one thing.
const maxLines = 500

// TestFileLength counts the lines of every Go file.
func TestFileLength(t *testing.T) {
	for _, name := range tracked(t) {
		if n := strings.Count(read(t, name), "\n"); strings.HasSuffix(name, ".go") && n > maxLines {
			t.Errorf("%s has %d lines, the limit is %d", name, n, maxLines)
		}
	}
}

// hosts are those of package registries, in pieces: this file must not name them either.
var hosts = [][]string{
	{"proxy", "golang", "org"}, {"sum", "golang", "org"}, {"goproxy", "io"}, {"goproxy", "cn"}, {"deb", "debian", "org"}, {"security", "debian", "org"},
	{"archive", "ubuntu", "com"}, {"registry", "npmjs", "org"}, {"registry", "yarnpkg", "com"}, {"pypi", "org"}, {"pythonhosted", "org"},
	{"crates", "io"}, {"rubygems", "org"}, {"repo1", "maven", "org"}, {"dl-cdn", "alpinelinux", "org"},
}

// ban is something that stands in no tracked file.
type ban struct {
	name   string
	re     *regexp.Regexp
	reason string
}

func bans() []ban {
	var names []string
	for _, h := range hosts {
		names = append(names, regexp.QuoteMeta(strings.Join(h, ".")))
	}
	const registries = "where packages come from is set up on the machine (GOPROXY, apt's sources), and differs"
	const machine = "a path of the machine that it was written on is not there on another"
	// A path begins where nothing of a path stands before it: /a/work/b is another path.
	path := func(p string) *regexp.Regexp { return regexp.MustCompile(`(^|[^A-Za-z0-9_.~/*)}-])` + p) }
	return []ban{
		{"the host of a package registry", regexp.MustCompile(`(?i)\b(` + strings.Join(names, "|") + `)\b`), registries},
		{"the URL of a proxy or mirror", regexp.MustCompile(`(?i)https?://[^\s/"']*(proxy|mirror|artifactory|registry|nexus)`), registries},
		{"a setting of a proxy", regexp.MustCompile(`(?i)\b(GOPROXY|GOSUMDB|https?_proxy|PIP_INDEX_URL)\s*[:=]\s*["']?https?:`), registries},
		{"a path in /work", path(`/work/[a-z]`), machine},
		{"a path in root's home", path(`/root/(go|\.|work|src|[a-z]+/[a-z]+\.)`), machine + " (/root as a container's HOME and JSON pointers like /root/path are fine)"},
		{"a path in a user's home", path(`/home/[a-z]+/`), machine},
		{"a path of a session", path(`/tmp/(bash_|go-build|claude)`), machine},
	}
}

// isText says whether data is text: git's own rule, no NUL at the beginning.
func isText(data []byte) bool { return !bytes.Contains(data[:min(len(data), 8000)], []byte{0}) }

// TestBans reads every tracked text file.
func TestBans(t *testing.T) {
	list := bans()
	for _, name := range tracked(t) {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if !isText(data) || name == "integration/house/bans_test.go" { // the examples of what is banned
			continue
		}
		for i, line := range strings.Split(string(data), "\n") {
			for _, b := range list {
				if hit := b.re.FindString(line); hit != "" {
					t.Errorf("%s:%d names %s: %q\n\treason: %s", name, i+1, b.name, hit, b.reason)
				}
			}
		}
	}
}
