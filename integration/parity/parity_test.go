// Package parity runs the same configurations with this runtime, with runc and with crun, and compares what a process sees in them.
package parity

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
	"example.io/shim/integration/trace"
)

//go:embed probe.sh
var probe string

const (
	ours     = "shimrun"
	busybox  = "/bin/busybox" // Debian's busybox-static
	document = "docs/spec-conformance.md"
)

// limit bounds one command of a runtime: far above what any takes.
var limit = trace.Limit(60 * time.Second)

// peers are the others. A newer one than Debian's is taken from .cache/bin when somebody puts it there.
var peers = []string{"runc", "crun"}

func program(name string) string {
	for _, dir := range []string{"bin", ".cache/bin"} {
		if path := filepath.Join(daemon.Top(), dir, name); exists(path) {
			return path
		}
	}
	return name
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// runtime calls the command line that all three share, for one container.
type runtime struct {
	t       *testing.T
	name    string
	id, dir string // dir has the bundle, and the states
}

// hybrid hides the v2 hierarchy of a machine that has both: crun refuses one that has a controller nobody has mounted.
const hybrid = `umount /sys/fs/cgroup/unified 2>/dev/null; exec "$0" "$@"`

func (r *runtime) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{program(r.name), "--root", filepath.Join(r.dir, "states")}, args...)
	if r.name == "crun" && !unified {
		args = append([]string{"unshare", "-m", "--propagation", "slave", "sh", "-c", hybrid}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdin = r.dir, strings.NewReader("") // a pipe: crun takes /dev/null for the container's, and gives it to its user
	return cmd
}

// output runs a command and returns what it and the process write.
func (r *runtime) output(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	defer cancel()
	out, err := r.command(ctx, args...).CombinedOutput()
	return string(out), err
}

// makeBundle makes a bundle of busybox with containerd's default configuration, changed by edit.
func (r *runtime) makeBundle(tp topic, script string) {
	root := filepath.Join(r.dir, "rootfs")
	for _, d := range []string{"bin", "etc", "dev", "proc", "sys", "run", "tmp", "root", "home/user"} {
		r.ok(os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	data, err := os.ReadFile(busybox)
	r.ok(err)
	r.ok(os.WriteFile(filepath.Join(root, "bin/busybox"), data, 0o755))
	applets, err := exec.Command(busybox, "--list").Output()
	r.ok(err)
	for a := range strings.FieldsSeq(string(applets)) {
		if a != "busybox" {
			r.ok(os.Symlink("busybox", filepath.Join(root, "bin", a)))
		}
	}
	r.ok(os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"), 0o644))
	r.ok(os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\nuser:x:1000:\n"), 0o644))
	s, err := oci.GenerateSpec(daemon.Context(), nil, &containers.Container{ID: r.id})
	r.ok(err)
	s.Process.Args, s.Process.Env, s.Root.Path = []string{"sh", "-c", script}, []string{"PATH=/bin"}, "rootfs"
	s.Linux.CgroupsPath = "/shim-parity/" + r.id
	s.Version = "1.0.2" // crun 1.8 takes no newer one
	if tp.edit != nil {
		tp.edit(s)
	}
	if s.Linux.UIDMappings != nil { // the container's root is to own its files
		r.ok(filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				err = os.Lchown(path, int(s.Linux.UIDMappings[0].HostID), int(s.Linux.GIDMappings[0].HostID))
			}
			return err
		}))
		for dir := r.dir; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			r.ok(os.Chmod(dir, 0o755))
		}
	}
	data, err = json.Marshal(s)
	r.ok(err)
	r.ok(os.WriteFile(filepath.Join(r.dir, "config.json"), data, 0o644))
}

func (r *runtime) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// runs runs a container of the topic, and a further process in it, and returns what both saw. That it is refused is what they saw, too.
func runs(t *testing.T, who string, tp topic) view {
	t.Helper()
	r := &runtime{t: t, name: who, id: "parity-" + strings.ReplaceAll(tp.name, " ", "-") + "-" + who, dir: t.TempDir()}
	// The first process looks when the further one has: a file tells it.
	r.makeBundle(tp, "until [ -e /dev/shm/go ]; do sleep 0.02; done; rm -f /dev/shm/go 2>/dev/null\n"+probe)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := r.command(ctx, "run", r.id)
	if tp.terminal {
		cmd = exec.CommandContext(ctx, "script", "-qec", quote(cmd.Args), "/dev/null")
		cmd.Dir = r.dir
	}
	in, hold, err := os.Pipe() // no end of input until the test ends
	r.ok(err)
	defer hold.Close()
	defer in.Close()
	cmd.Stdin = in
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	r.ok(cmd.Start())
	defer r.remove()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	v := view{}
	for r.status() != "running" {
		select {
		case err := <-ended:
			t.Logf("%s: %v: %s", who, err, &out)
			v.add("init", "### error\nrefused\n")
			return v
		case <-time.After(20 * time.Millisecond):
		}
	}
	text, err := r.output("exec", r.id, "sh", "-c", probe)
	if err != nil {
		t.Logf("%s: exec: %v", who, err)
	}
	v.add("exec", r.comparable(text))
	if text, err := r.output("exec", r.id, "touch", "/dev/shm/go"); err != nil {
		t.Fatalf("%s: exec: %v: %s", who, err, text)
	}
	if err := <-ended; err != nil {
		t.Errorf("%s: %v: %s", who, err, &out)
	}
	v.add("init", r.comparable(out.String()))
	if testing.Verbose() {
		t.Logf("%s saw %q", who, v)
	}
	return v
}

// remove takes away what is left; after a peer that fails also its cgroups.
func (r *runtime) remove() {
	if r.status() != "" {
		if out, err := r.output("delete", "-f", r.id); err != nil {
			r.t.Errorf("%s: delete: %v: %s", r.name, err, out)
		}
	}
	if r.name != ours {
		for _, dir := range cgroups(r.id) {
			_ = syscall.Rmdir(dir)
		}
	}
}

// quote makes one line for a shell of a command.
func quote(args []string) string {
	var list []string
	for _, a := range args {
		list = append(list, "'"+a+"'")
	}
	return strings.Join(list, " ")
}

// status asks for the container's status, "" when there is none.
func (r *runtime) status() string {
	out, err := r.output("state", r.id)
	var state struct{ Status string }
	if err != nil || json.Unmarshal([]byte(out), &state) != nil {
		return ""
	}
	return state.Status
}

// view is what processes saw: lines by "init status" and so on.
type view map[string][]string

var (
	numbers = regexp.MustCompile(`\d+`)
	layers  = regexp.MustCompile(`(lowerdir|upperdir|workdir)=[^, ]*`)
	spaces  = regexp.MustCompile(`\s+`)
)

// comparable leaves out of a text what no two containers share.
func (r *runtime) comparable(text string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, filepath.Join(r.dir, "rootfs"), "ROOT"), r.id, "ID")
}

func (v view) add(process, text string) {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(spaces.ReplaceAllString(line, " "))
		if name, ok := strings.CutPrefix(line, "### "); ok {
			section = process + " " + name
			v[section] = []string{}
			continue
		}
		if strings.HasSuffix(section, " mounts") {
			line = mountText(line)
		}
		v[section] = append(v[section], line)
	}
}

// mountText leaves of a line of mountinfo what can be compared: no numbers of mounts, devices and groups of peers.
func mountText(line string) string {
	f := strings.Fields(line)
	if len(f) < 10 {
		return line
	}
	dash := slices.Index(f, "-")
	if dash < 0 || dash+3 >= len(f) {
		return line
	}
	var peers []string
	for _, p := range f[6:dash] {
		peers = append(peers, numbers.ReplaceAllString(p, "N"))
	}
	root := f[3]
	super := strings.Split(layers.ReplaceAllString(f[dash+3], "$1=X"), ",")
	flags := strings.Split(f[5], ",")
	slices.Sort(super)
	slices.Sort(flags)
	return fmt.Sprintf("%s on %s from %s: %s; %s; %s", f[dash+1], f[4], root, strings.Join(flags, ","), strings.Join(peers, " "), strings.Join(super, ","))
}

// difference is a line that one of two has: "+" ours, "-" the peer.
type difference struct{ topic, peer, section, line string }

func (d difference) String() string {
	return fmt.Sprintf("%s, %s, %s: %s", d.peer, d.topic, d.section, d.line)
}

func differences(topic, peer string, us, them view) (list []difference) {
	for sign, v := range map[string]view{"+ ": us, "- ": them} {
		for s, lines := range v {
			if strings.HasSuffix(s, " error") {
				return []difference{{topic, peer, s, sign + lines[0]}}
			}
		}
	}
	sections := map[string]bool{}
	for _, v := range []view{us, them} {
		for s := range v {
			sections[s] = true
		}
	}
	for s := range sections {
		for sign, pair := range map[string][2][]string{"+ ": {us[s], them[s]}, "- ": {them[s], us[s]}} {
			rest := slices.Clone(pair[1])
			for _, line := range pair[0] {
				if i := slices.Index(rest, line); i >= 0 {
					rest = slices.Delete(rest, i, i+1)
					continue
				}
				list = append(list, difference{topic, peer, s, sign + line})
			}
		}
	}
	slices.SortFunc(list, func(a, b difference) int { return strings.Compare(a.section+a.line[2:], b.section+b.line[2:]) })
	return list
}

// TestParity: every difference has a reason in the document.
func TestParity(t *testing.T) {
	reasons := readReasons(t)
	for _, tp := range topics {
		t.Run(tp.name, func(t *testing.T) {
			us := runs(t, ours, tp)
			if len(us["init status"]) == 0 || len(us["exec status"]) == 0 {
				t.Errorf("ours saw nothing: %v", us)
			}
			for _, peer := range peers {
				for _, d := range differences(tp.name, peer, us, runs(t, peer, tp)) {
					if !reasons.explain(d) {
						t.Errorf("unexplained: %s", d)
					}
				}
			}
		})
	}
}

// cgroups are those of a name below the tests' own, "" for these themselves: of cgroup v1, and of v2.
func cgroups(name string) (list []string) {
	for _, root := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		dirs, _ := filepath.Glob(root + "shim-parity/" + name)
		list = append(list, dirs...)
	}
	return list
}

func TestMain(m *testing.M) {
	code := m.Run()
	if left := cgroups("parity-*"); len(left) > 0 {
		fmt.Fprintln(os.Stderr, "left behind:", left)
		code = 1
	}
	for _, dir := range cgroups("") {
		_ = syscall.Rmdir(dir)
	}
	os.Exit(code)
}
