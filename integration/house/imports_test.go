package house

import (
	"slices"
	"strings"
	"testing"
)

// depth is how far a rule looks.
type depth int

const (
	direct    depth = iota // the imports in the package's own files
	withTests              // those of its tests too
	deep                   // all that comes with them
)

// rule forbids some of our packages some imports.
type rule struct {
	name string
	// who are folders of ours; a folder stands for those below it, and "" for all. except are left out.
	who, except []string
	depth       depth
	// forbidden are import paths, allowed exceptions from them. Both stand for those below them; ours begin with "./".
	forbidden, allowed []string
	reason             string
}

// wire is what containerd's protocol comes with.
var wire = []string{"github.com/containerd/containerd", "github.com/containerd/ttrpc", "github.com/containerd/cgroups", "github.com/containerd/typeurl",
	"google.golang.org/protobuf", "google.golang.org/grpc", "github.com/gogo/protobuf"}

var pure = []string{"linux/spec", "linux/quickjson", "linux/plan", "linux/compile", "linux/abi", "linux/facts", "linux/bpf", "linux/cgroup/files", "linux/cgroup/stats", "linux/cgroup/unit", "linux/cgroup/gvariant", "linux/cgroup/dbus"}

// unsafeAt are the packages that may import unsafe, each with its reason.
var unsafeAt = map[string]string{
	"linux/child":    "the plan's arena lies outside Go's heap, and clone3 is called in assembly",
	"linux/children": "waitid(2) fills a siginfo, which x/sys has without the fields of SIGCHLD",
}

// assemblyAt are the packages that may have assembly files.
var assemblyAt = map[string]string{
	"linux/child":      "the forked child has no Go runtime: it runs on registers only",
	"linux/earlylimit": "the call is made before package syscall is initialised",
	"linux/entry":      "the program forks before Go's runtime is there",
	"linux/slack":      "the monitor thread of Go's runtime begins before any code of Go's",
	"linux/signalpipe": "a signal's handler has no Go runtime under it",
}

var rules = []rule{
	{"process stands alone", []string{"process"}, nil, deep, append([]string{"./linux", "./shim", "./io", "./oom", "os/exec", "syscall", "golang.org/x/sys"}, wire...), nil,
		"the life cycle can be read and tested without a kernel and without containerd"},
	{"the tests of process too", []string{"process"}, nil, withTests, append([]string{"./linux", "./shim", "./io", "./oom", "os/exec"}, wire...), nil,
		"a life cycle whose tests need a real process is not tested in every order of events"},
	{"nothing below knows the daemon", []string{"linux", "io", "oom"}, nil, deep, []string{"./shim", "./process", "./cmd"}, nil,
		"the runtime is to be used without a daemon too"},
	{"pure packages ask nobody", pure, nil, direct, []string{"os", "net", "time", "unsafe", "syscall", "golang.org/x/sys", "io/ioutil", "path/filepath", "math/rand"}, []string{"net/netip"},
		"a compile is a function of its input, and a golden test can state any machine"},
	{"nobody needs the protocol's libraries", []string{""}, nil, deep, append([]string{"github.com/containerd/log", "github.com/sirupsen/logrus"}, wire...), nil,
		"every container's shim would pay for their init: shim/wire and shim/ttrpc are a tenth of it (docs/decisions/0021-wire.md)"},
	{"nor do tests", []string{""}, nil, withTests, wire, nil,
		"the libraries are integration's, where our messages and our RPC are tested against them"},
	{"only shim knows the protocol", []string{""}, []string{"shim"}, direct, []string{"./shim/wire", "./shim/ttrpc"}, nil,
		"another version of the protocol changes one folder; what a message becomes is decided there"},
	{"no package net", []string{""}, []string{"cmd/shimrun"}, deep, []string{"net"}, []string{"net/netip", "net/url"},
		"a Unix socket is three system calls, and the package's init and size would be every shim's"},
	{"shim knows stats of linux only", []string{"shim"}, nil, deep, []string{"./linux", "./io", "./oom"}, []string{"./linux/cgroup/stats"},
		"the service decodes, calls and encodes; how a container is made is behind the ports of process"},
	{"only cmd puts the runtime behind the ports", []string{""}, []string{"cmd", "linux/run"}, direct, []string{"./linux/run"}, nil,
		"imports run downward: nothing but the wiring stands above run"},
	{"shimrun is no daemon", []string{"cmd/shimrun"}, nil, deep, append([]string{"./shim", "./process"}, wire...), nil,
		"its start is a container's start: what the protocol brings with it would be paid by each"},
	{"only criu knows CRIU's messages", []string{""}, []string{"linux/criu"}, direct, []string{"github.com/checkpoint-restore/go-criu", "github.com/aperturerobotics"}, nil,
		"another library, or another version of it, changes one package"},
	{"io and oom know no linux package", []string{"io", "oom"}, nil, deep, []string{"./linux"}, nil,
		"streams and OOM kills are beside the runtime, not on top of it"},
	{"unsafe is counted", []string{""}, keys(unsafeAt), direct, []string{"unsafe"}, nil,
		"what the compiler does not check is read by people: the fewer places, the better (the list is unsafeAt)"},
	{"no cgo", []string{""}, nil, deep, []string{"C", "runtime/cgo"}, nil,
		"the binary is static, and the child is forked without a C library's knowledge"},
	{"no other runtime inside", []string{""}, nil, deep, []string{"github.com/opencontainers/runc", "github.com/opencontainers/cgroups", "github.com/seccomp",
		"github.com/containers", "github.com/containerd/go-runc"}, nil,
		"this is a runtime of its own: it neither runs nor links another"},
	{"no test code in the binary", []string{""}, []string{"internal/leak", "internal/need", "io/internal/iotest"}, deep, []string{"testing"}, nil,
		"package testing brings flags and its init with it"},
}

func keys(m map[string]string) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	slices.Sort(list)
	return list
}

// check returns every way in which g breaks the rule.
func (r *rule) check(g graph) []string {
	matches := func(path string, list []string) bool {
		if s := short(path); s != "" {
			path = "./" + s
		}
		return belowAny(path, list)
	}
	bad := func(path string) bool { return matches(path, r.forbidden) && !matches(path, r.allowed) }
	var broken []string
	for _, folder := range g.ours() {
		if !slices.Contains(r.who, "") && !belowAny(folder, r.who) || belowAny(folder, r.except) {
			continue
		}
		p := g[module+"/"+folder]
		if r.depth == deep {
			if way := g.chain(p.ImportPath, bad); way != nil {
				broken = append(broken, sprintf("%s: %s", r.name, strings.Join(way, " imports ")))
			}
			continue
		}
		for _, to := range p.direct(r.depth == withTests) {
			if bad(to) && to != p.ImportPath { // an external test imports its own package
				broken = append(broken, sprintf("%s: %s imports %s", r.name, p.ImportPath, to))
			}
		}
	}
	return broken
}

// assembly returns the packages with assembly files that are not listed.
func assembly(g graph) []string {
	var broken []string
	for _, folder := range g.ours() {
		if files := g[module+"/"+folder].SFiles; len(files) > 0 && assemblyAt[folder] == "" {
			broken = append(broken, sprintf("%s has assembly: %s", folder, strings.Join(files, " ")))
		}
	}
	return broken
}

const assemblyReason = "assembly is as unchecked as unsafe (the list is assemblyAt)"

// TestImports checks the packages that there are.
func TestImports(t *testing.T) {
	for _, arch := range arches {
		t.Run(arch, func(t *testing.T) {
			g := loadGraph(t, arch)
			for _, r := range rules {
				report(t, r.check(g), r.reason)
			}
			report(t, assembly(g), assemblyReason)
			// A rule about a package that is not there keeps nothing.
			for _, r := range rules {
				for _, who := range append(slices.Clone(r.who), r.except...) {
					there := slices.ContainsFunc(g.ours(), func(f string) bool { return who == "" || below(f, who) })
					if !there {
						t.Errorf("%s: there is no package %s", r.name, who)
					}
				}
			}
			for folder := range unsafeAt {
				if p := g[module+"/"+folder]; p == nil || !slices.Contains(p.Imports, "unsafe") {
					t.Errorf("%s needs no unsafe: take it off the list", folder)
				}
			}
			for folder := range assemblyAt {
				if p := g[module+"/"+folder]; p == nil || len(p.SFiles) == 0 && (arch == "amd64" || folder != "linux/entry" && folder != "linux/slack") {
					t.Errorf("%s has no assembly: take it off the list", folder)
				}
			}
		})
	}
}
