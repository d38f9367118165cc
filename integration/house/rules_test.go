package house

import (
	"strings"
	"testing"
)

// fake makes a graph of lines like "process > ./linux/run os": a package and what it imports. "./" is ours, "~" before an import one of the tests' only,
// and "=" marks a standard package.
func fake(lines ...string) graph {
	g := graph{}
	full := func(name string) string {
		if rest, ok := strings.CutPrefix(name, "./"); ok {
			return module + "/" + rest
		}
		return name
	}
	for _, line := range lines {
		name, imports, _ := strings.Cut(line, ">")
		name, standard := strings.CutPrefix(strings.TrimSpace(name), "=")
		p := &pkg{ImportPath: full(name), Standard: standard}
		for to := range strings.FieldsSeq(imports) {
			if test, ok := strings.CutPrefix(to, "~"); ok {
				p.XTestImports = append(p.XTestImports, full(test))
			} else {
				p.Imports = append(p.Imports, full(to))
			}
		}
		g[p.ImportPath] = p
	}
	return g
}

const api = "github.com/containerd/containerd/api/events"

// TestRulesCanFail gives each rule a graph that breaks it and one that does not.
func TestRulesCanFail(t *testing.T) {
	cases := []struct {
		rule      string
		bad, good []string
	}{
		{"process stands alone", []string{"./process > x", "x > os/exec"}, []string{"./process > os", "=os > syscall"}},
		{"process stands alone", []string{"./process > ./linux/spec"}, []string{"./process > ./processor ~./linux/spec"}},
		{"process stands alone", []string{"./process > " + api}, []string{"./process > github.com/containerd/errdefs"}},
		{"the tests of process too", []string{"./process > ~./linux/run"}, []string{"./process > ~os ~./process"}},
		{"nothing below knows the daemon", []string{"./oom > ./x", "./x > ./process"}, []string{"./cmd/a > ./process ./oom"}},
		{"nothing below knows the daemon", []string{"./linux/run > ./shim"}, []string{"./linux/run > ./linux/child"}},
		{"nothing below knows the daemon", []string{"./io/fifo > ./process"}, nil},
		{"pure packages ask nobody", []string{"./linux/plan > os"}, []string{"./linux/plan > specs ~os", "specs > os"}},
		{"pure packages ask nobody", []string{"./linux/compile > golang.org/x/sys/unix"}, []string{"./linux/compile > net/netip math"}},
		{"pure packages ask nobody", []string{"./linux/cgroup/files > unsafe"}, []string{"./linux/cgroup > unsafe os"}},
		{"nobody needs the protocol's libraries", []string{"./linux/run > x", "x > google.golang.org/protobuf/proto"}, []string{"./shim > ./shim/wire ~" + api, "./cmd/a > ./shim"}},
		{"nobody needs the protocol's libraries", []string{"./shim > github.com/containerd/log"}, []string{"./shim > github.com/containerd/errdefs"}},
		{"nor do tests", []string{"./shim > ~" + api}, []string{"./shim > ~./shim/wire"}},
		{"only shim knows the protocol", []string{"./cmd/a > ./shim/ttrpc"}, []string{"./shim/ttrpc > ./shim/wire", "./shim > ./shim/ttrpc", "./cmd/a > ./shim"}},
		{"no package net", []string{"./linux/run > x", "x > net"}, []string{"./linux/spec > net/netip ~net"}},
		{"shim knows stats of linux only", []string{"./shim > ./linux/cgroup"}, []string{"./shim > ./linux/cgroup/stats"}},
		{"shim knows stats of linux only", []string{"./shim > ./linux/cgroup/stats", "./linux/cgroup/stats > ./linux/abi"}, nil},
		{"only cmd puts the runtime behind the ports", []string{"./linux/host > ./linux/run"}, []string{"./cmd/a > ./linux/run"}},
		{"shimrun is no daemon", []string{"./cmd/shimrun > ./x", "./x > " + api}, []string{"./cmd/shimrun > ./linux/run ./oom", "./cmd/a > ./shim"}},
		{"only criu knows CRIU's messages", []string{"./linux/run > github.com/checkpoint-restore/go-criu/v8/rpc"}, []string{"./linux/run > ./linux/criu", "./linux/criu > github.com/checkpoint-restore/go-criu/v8/rpc"}},
		{"io and oom know no linux package", []string{"./io/logger > ./linux/children"}, []string{"./io/logger > ./io/pipe"}},
		{"unsafe is counted", []string{"./linux/self > unsafe"}, []string{"./linux/child > unsafe", "./linux/self > x ~unsafe", "x > unsafe"}},
		{"no cgo", []string{"./process > x", "x > C"}, []string{"./process > net", "=net > C"}},
		{"no other runtime inside", []string{"./shim > x", "x > github.com/opencontainers/runc/libcontainer"}, []string{"./shim > github.com/opencontainers/runtime-spec/specs-go"}},
		{"no test code in the binary", []string{"./shim > ./io/x", "./io/x > testing"}, []string{"./shim > ~testing", "./internal/leak > testing"}},
	}
	tried := map[string]bool{}
	for _, c := range cases {
		tried[c.rule] = true
		var found bool
		for _, r := range rules {
			if r.name != c.rule {
				continue
			}
			found = true
			if got := r.check(fake(c.bad...)); len(got) == 0 {
				t.Errorf("%s: allows %q", r.name, c.bad)
			}
			if got := r.check(fake(c.good...)); len(got) != 0 {
				t.Errorf("%s: forbids %q: %q", r.name, c.good, got)
			}
		}
		if !found {
			t.Errorf("there is no rule %q", c.rule)
		}
	}
	for _, r := range rules {
		if !tried[r.name] || r.reason == "" {
			t.Errorf("%s: no case, or no reason", r.name)
		}
	}
	g := fake("./linux/run >", "./linux/child >")
	g[module+"/linux/child"].SFiles = []string{"fork.s"}
	if got := assembly(g); len(got) != 0 {
		t.Errorf("assembly where it may be: %q", got)
	}
	g[module+"/linux/run"].SFiles = []string{"a.s"}
	if got := assembly(g); len(got) != 1 {
		t.Errorf("assembly where it may not be: %q", got)
	}
}

// TestChain shows the way to a forbidden import, the shortest one.
func TestChain(t *testing.T) {
	g := fake("./process > a b", "a > c", "b > bad", "c > bad")
	got := g.chain(module+"/process", func(p string) bool { return p == "bad" })
	if want := module + "/process b bad"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", strings.Join(got, " "), want)
	}
}
