package compile

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden is one testdata/NAME.txtar: a comment that says what to look at, and files, each behind a line "-- NAME --".
//
//   - config.json is what differs from base.json, facts.json what differs from goldenFacts, input.json a goldenInput. They are merged as in RFC 7396;
//     a name that ends in + adds to the array of that name.
//   - plan is the plan that comes out, or error is the text of the error.
//
// A line "select: REGEXP" in the comment keeps only the steps whose "ACTOR PHASE LABEL" it matches, and names what changes with every other step (numbers of
// steps and registers) by the order within the file.
type golden struct {
	comment string
	names   []string
	files   map[string]string
}

// goldenInput is what the compiler gets besides config.json and facts.
type goldenInput struct {
	RootfsMounts                    []Mount
	Terminal, NoPivot, NoNewKeyring bool
	Gate, Unwatched, NoCgroup       bool
	PreserveFDs                     int
	Restore                         bool // from a checkpoint
	SystemdCgroup                   bool
	Traced, Named                   bool             // see ExecInput
	Exec                            map[string]any   // a further process: what differs from goldenExec
	Hook                            *goldenHookInput // a hook that runs inside
}

type goldenHookInput struct {
	Kind string
	specs.Hook
}

const goldenExec = `{"args": ["/bin/id"], "cwd": "/", "env": ["HOME=/root"], "user": {"uid": 0, "gid": 0}}`

// goldenFacts is a machine like most: cgroup v1, everything allowed, no security module.
func goldenFacts() facts.Facts {
	hierarchy := func(controllers ...string) facts.Hierarchy {
		return facts.Hierarchy{Controllers: controllers, Mount: "/sys/fs/cgroup/" + strings.Join(controllers, ","), Root: "/", Own: "/"}
	}
	return facts.Facts{Kernel: "6.1.0", Arch: "amd64", LastCap: 40, Caps: 1<<41 - 1, PageSize: 4096, Nofile: facts.Rlimit{Soft: 1024, Hard: 524288},
		TimeNamespace: facts.Yes, CgroupNamespace: facts.Yes, OverlayAppend: facts.Yes, Seccomp: facts.Yes, SeccompFlags: 0x2f, AppArmor: facts.No, SELinux: facts.No,
		Cgroup: facts.Cgroup{Version: 1, Hierarchies: []facts.Hierarchy{hierarchy("cpu", "cpuacct"), hierarchy("devices"), hierarchy("memory"), hierarchy("pids")}}}
}

// parseGolden reads the txtar format.
func parseGolden(text string) golden {
	g := golden{files: map[string]string{}}
	at := ""
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "-- "); ok && strings.HasSuffix(name, " --") {
			at = strings.TrimSuffix(name, " --")
			g.names = append(g.names, at)
			g.files[at] = ""
		} else if at == "" {
			g.comment += line
		} else {
			g.files[at] += line
		}
	}
	return g
}

func (g *golden) String() string {
	var b strings.Builder
	b.WriteString(g.comment)
	for _, name := range g.names {
		fmt.Fprintf(&b, "-- %s --\n%s", name, g.files[name])
	}
	return b.String()
}

// result makes the outcome the last file.
func (g *golden) result(name, text string) {
	for _, old := range []string{"plan", "error"} {
		g.names = slices.DeleteFunc(g.names, func(n string) bool { return n == old })
		delete(g.files, old)
	}
	g.names = append(g.names, name)
	g.files[name] = strings.TrimRight(text, "\n") + "\n"
}

// merge is a JSON merge patch (RFC 7396), with NAME+ for what is added to an array.
func merge(to, patch any) any {
	p, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	t, ok := to.(map[string]any)
	if !ok {
		t = map[string]any{}
	}
	t = maps.Clone(t)
	for name, v := range p {
		switch add, plus := strings.CutSuffix(name, "+"); {
		case v == nil:
			delete(t, name)
		case plus:
			old, _ := t[add].([]any)
			t[add] = append(slices.Clone(old), v.([]any)...)
		default:
			t[name] = merge(t[name], v)
		}
	}
	return t
}

// patched merges two JSON texts.
func patched(t testing.TB, base, patch string) []byte {
	t.Helper()
	var b, p any
	for text, into := range map[string]*any{base: &b, patch: &p} {
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber() // a mask of 64 bits is no float
		if err := d.Decode(into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	out, err := json.Marshal(merge(b, p))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func decode(t testing.TB, data []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

// file returns a file of the archive, "{}" when it is not there.
func (g *golden) file(name string) string {
	if text, ok := g.files[name]; ok {
		return text
	}
	return "{}"
}

// read returns what the golden's compile is made of: the text of config.json, of the process when there is one, and the rest.
func (g *golden) read(t testing.TB) (config, process []byte, f facts.Facts, in goldenInput) {
	t.Helper()
	base, err := os.ReadFile("testdata/base.json")
	if err != nil {
		t.Fatal(err)
	}
	machine, err := json.Marshal(goldenFacts())
	if err != nil {
		t.Fatal(err)
	}
	config = patched(t, string(base), g.file("config.json"))
	decode(t, patched(t, string(machine), g.file("facts.json")), &f)
	decode(t, []byte(g.file("input.json")), &in)
	if in.Exec != nil {
		text, err := json.Marshal(in.Exec)
		if err != nil {
			t.Fatal(err)
		}
		process = patched(t, goldenExec, string(text))
	}
	return config, process, f, in
}

// compileGolden does what package run does: parse, validate, compile.
func compileGolden(config, process []byte, f facts.Facts, in goldenInput) (*plan.Plan, error) {
	s, err := spec.Parse(config)
	if err != nil {
		return nil, err
	}
	if err := spec.Validate(s, spec.Options{CgroupVersion: f.Cgroup.Version}); err != nil {
		return nil, err
	}
	if process == nil && in.Hook == nil {
		root := s.Root.Path
		if !path.IsAbs(root) {
			root = path.Join("/run/web1", root)
		}
		build := Create
		if in.Restore {
			build = Restore
		}
		return build(CreateInput{ID: "web1", Namespace: "test", Bundle: "/run/web1", Rootfs: root, Spec: s, Facts: f,
			RootfsMounts: in.RootfsMounts, Terminal: in.Terminal, NoPivot: in.NoPivot, NoNewKeyring: in.NoNewKeyring,
			SystemdCgroup: in.SystemdCgroup, Gate: in.Gate, Unwatched: in.Unwatched, NoCgroup: in.NoCgroup, PreserveFDs: in.PreserveFDs})
	}
	dirs, _, err := Cgroups(CreateInput{ID: "web1", Namespace: "test", Spec: s, Facts: f, SystemdCgroup: in.SystemdCgroup})
	if err != nil {
		return nil, err
	}
	if in.NoCgroup {
		dirs = nil
	}
	x := ExecInput{ID: "web1", ExecID: "e1", Rootfs: "/run/web1/rootfs", Spec: s, Facts: f, CgroupDirs: dirs, NoNewKeyring: in.NoNewKeyring, Traced: in.Traced, Named: in.Named}
	if in.Hook != nil {
		return Hook(HookInput{Kind: in.Hook.Kind, Hook: in.Hook.Hook, Rootfs: "/run/web1/rootfs", Exec: x})
	}
	if x.Process, err = spec.ParseProcess(process); err != nil {
		return nil, err
	}
	x.Process.Terminal = in.Terminal
	if err := spec.ValidateProcess(x.Process, spec.Options{}); err != nil {
		return nil, err
	}
	return Exec(x)
}

func printed(t testing.TB, p *plan.Plan) string {
	t.Helper()
	var b strings.Builder
	if err := plan.Print(&b, p, plan.PrintOptions{Verbose: true}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	selectLine = regexp.MustCompile(`(?m)^select: (.*)$`)
	stepLine   = regexp.MustCompile(`^ *(\d+)/\d+ (parent|child) +(\S+) +(.*)$`)
	jumpTo     = regexp.MustCompile(`then (\d+)/\d+`)
	register   = regexp.MustCompile(`%[a-z_]+\.\d+`)
)

// view returns the part of a printed plan that the comment selects; without a selection, all of it.
func (g *golden) view(t testing.TB, text string) string {
	t.Helper()
	m := selectLine.FindStringSubmatch(g.comment)
	if m == nil {
		return text
	}
	want, err := regexp.Compile(m[1])
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{}
	for line := range strings.Lines(text) {
		if s := stepLine.FindStringSubmatch(strings.TrimRight(line, "\n")); s != nil {
			labels[s[1]] = s[4]
		}
	}
	var b strings.Builder
	show := false
	for line := range strings.Lines(text) {
		if s := stepLine.FindStringSubmatch(strings.TrimRight(line, "\n")); s != nil {
			line = strings.Join(s[2:], " ")
			show = want.MatchString(line)
			line += "\n"
		} else {
			line = "    " + strings.TrimLeft(line, " ")
		}
		if show {
			b.WriteString(jumpTo.ReplaceAllStringFunc(line, func(j string) string {
				return fmt.Sprintf("then %q", labels[jumpTo.FindStringSubmatch(j)[1]])
			}))
		}
	}
	names := map[string]string{}
	return register.ReplaceAllStringFunc(b.String(), func(r string) string {
		if names[r] == "" {
			prefix, _, _ := strings.Cut(r, ".")
			names[r] = fmt.Sprintf("%s.%d", prefix, len(names)+1)
		}
		return names[r]
	})
}

// goldens returns the archives by name.
func goldens(t testing.TB) map[string]golden {
	t.Helper()
	list, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(list) == 0 {
		t.Fatal("no golden files", err)
	}
	all := map[string]golden{}
	for _, file := range list {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(file), ".txtar")] = parseGolden(string(data))
	}
	return all
}

// TestGolden: every plan is what its golden file says, keeps to all rules, can be lowered for every architecture, and comes out the same twice.
func TestGolden(t *testing.T) {
	for name, g := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			config, process, f, in := g.read(t)
			p, err := compileGolden(config, process, f, in)
			before := g.String()
			if err != nil {
				g.result("error", err.Error())
			} else {
				checkPlan(t, p)
				again, err := compileGolden(config, process, f, in)
				if err != nil || !reflect.DeepEqual(p, again) {
					t.Errorf("another plan the second time: %v", err)
				}
				g.result("plan", g.view(t, printed(t, p)))
			}
			if g.String() == before {
				return
			}
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", name+".txtar"), []byte(g.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("differs (go test -update writes it anew); got\n%s", g.files[g.names[len(g.names)-1]])
		})
	}
}

// checkPlan checks what holds for every plan that the compiler hands out.
func checkPlan(t testing.TB, p *plan.Plan) {
	t.Helper()
	if err := plan.Verify(p); err != nil {
		t.Error(err)
	}
	if first, second := printed(t, p), printed(t, p); first != second {
		t.Error("printed twice, the texts differ")
	}
	const base = 1 << 32
	for _, arch := range []string{"amd64", "arm64"} {
		one, err := plan.Lower(p, arch, make([]byte, plan.Size(p)), base)
		if err != nil {
			t.Errorf("%s: %v", arch, err)
			continue
		}
		two, err := plan.Lower(p, arch, make([]byte, plan.Size(p)), base)
		if err != nil || !bytes.Equal(one.Bytes, two.Bytes) {
			t.Errorf("%s: lowered twice, the images differ: %v", arch, err)
		}
	}
}

// TestTopics: each file of the package has a golden that shows it, named after it.
func TestTopics(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	all := slices.Collect(maps.Keys(goldens(t)))
	for _, file := range sources {
		topic := strings.TrimSuffix(file, ".go")
		if strings.HasSuffix(topic, "_test") || topic == "order" { // the order is what the whole plans show
			continue
		}
		if !slices.ContainsFunc(all, func(n string) bool { return n == topic || strings.HasPrefix(n, topic+"-") }) {
			t.Errorf("no testdata/%s*.txtar", topic)
		}
	}
}
