package run

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/slow"
	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// allHooks gives every kind a hook that is made by f.
func allHooks(f func(kind string) specs.Hook) *specs.Hooks {
	one := func(kind string) []specs.Hook { return []specs.Hook{f(kind)} }
	return &specs.Hooks{Prestart: one("prestart"), CreateRuntime: one("createRuntime"), CreateContainer: one("createContainer"),
		StartContainer: one("startContainer"), Poststart: one("poststart"), Poststop: one("poststop")}
}

var hookOrder = []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"}

// noting is a hook that writes down what it sees: its number, the state from standard input, its namespaces, its directory, and what kind of file the
// container's /bin/busybox and /proc/version are at the root's place on the host.
func noting(dir, kind string) specs.Hook {
	root := `"$BUNDLE/rootfs"`
	path, out := "/bin/busybox", filepath.Join(dir, "notes")
	if kind == "startContainer" {
		root, out = `""`, "/notes" // a mount of the same folder
	}
	script := fmt.Sprintf(`cd "$DIR" 2>/dev/null; F="%s/%s"; cat > $F.state; readlink /proc/self/ns/mnt > $F.mnt; readlink /proc/self/ns/uts > $F.uts; pwd > $F.pwd; env > $F.env;
test -e %s/proc/version && echo yes > $F.proc; id -u > $F.uid; echo %s >> "%s/order"`, out, kind, root, kind, out)
	return specs.Hook{Path: path, Args: []string{"sh", "-c", script}, Env: []string{"BUNDLE=" + dir, "KIND=" + kind, "PATH=/bin:/usr/bin"}}
}

func TestHooks(t *testing.T) {
	var dir string
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Annotations = map[string]string{"a": "b"}
		s.Process.User = specs.User{UID: 1000, GID: 1000}
	})
	dir = bundle
	notes := filepath.Join(dir, "notes")
	if err := os.Mkdir(notes, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{notes: 0o777, filepath.Join(notes, "order"): 0o666} {
		if name != notes {
			if err := os.WriteFile(name, nil, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	editBundle(t, bundle, func(s *specs.Spec) {
		s.Hooks = allHooks(func(kind string) specs.Hook { return noting(dir, kind) })
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/notes", Type: "bind", Source: notes, Options: []string{"bind", "rw"}})
	})
	deps := newDeps(t)
	deps.Log = t.Errorf
	runToEnd(t, deps, request(bundle), false)
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(notes, name))
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(data))
	}
	if got := strings.Fields(read("order")); !slices.Equal(got, hookOrder) {
		t.Errorf("order %v", got)
	}
	mnt, _ := os.Readlink("/proc/self/ns/mnt")
	uts, _ := os.Readlink("/proc/self/ns/uts")
	for _, kind := range hookOrder {
		var st specs.State
		if err := json.Unmarshal([]byte(read(kind+".state")), &st); err != nil {
			t.Errorf("%s: state: %v", kind, err)
		}
		inside := kind == "createContainer" || kind == "startContainer"
		if inside != (st.Pid == 1) {
			t.Errorf("%s: the container's pid is said to be %d", kind, st.Pid)
		}
		if st.ID != filepath.Base(bundle) || st.Bundle != bundle || st.Annotations["a"] != "b" || st.Version != specs.Version ||
			st.Status != hookStates[kind] || (st.Pid == 0) != (kind == "poststop") {
			t.Errorf("%s: state %+v", kind, st)
		}
		if same := read(kind+".mnt") == mnt && read(kind+".uts") == uts; same == inside {
			t.Errorf("%s: in the runtime's namespaces: %v", kind, same)
		}
		env := strings.Fields(read(kind + ".env"))
		slices.Sort(env)
		for _, e := range env {
			if name, _, _ := strings.Cut(e, "="); !slices.Contains([]string{"BUNDLE", "KIND", "PATH", "PWD", "SHLVL", "OLDPWD", "HOME", "F"}, name) {
				t.Errorf("%s: environment %v", kind, env)
			}
		}
		if want := map[bool]string{true: "1000", false: "0"}[kind == "startContainer"]; read(kind+".uid") != want {
			t.Errorf("%s: uid %s", kind, read(kind+".uid"))
		}
	}
	if read("createContainer.proc") != "yes" {
		t.Error("a createContainer hook does not see the container's mounts at the root's place")
	}
	if read("createRuntime.pwd") != bundle {
		t.Errorf("a createRuntime hook runs in %s", read("createRuntime.pwd"))
	}
}

// editBundle changes the config.json of a bundle.
func editBundle(t *testing.T, bundle string, edit func(*specs.Spec)) {
	t.Helper()
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s specs.Spec
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	edit(&s)
	if data, err = json.Marshal(&s); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestHooksFail: a hook that fails, does not exist or takes too long ends the create or the start with its name and output, and nothing is left;
// poststop runs all the same, and its own failure is logged.
func TestHooksFail(t *testing.T) {
	second := 1
	for name, c := range map[string]struct {
		hook specs.Hook
		want string
	}{
		"exit":    {specs.Hook{Path: "/bin/busybox", Args: []string{"sh", "-c", "echo out; echo the reason >&2; exit 3"}}, "the reason"},
		"missing": {specs.Hook{Path: "/does/not/exist"}, "does not exist"},
		"timeout": {specs.Hook{Path: "/bin/busybox", Args: []string{"sleep", "100"}, Timeout: &second}, "did not end within its timeout of 1 s"},
	} {
		for _, kind := range hookOrder[:5] {
			t.Run(name+"/"+kind, func(t *testing.T) {
				mark := filepath.Join(t.TempDir(), "mark")
				bundle := newBundle(t, func(s *specs.Spec) {
					s.Hooks = allHooks(func(k string) specs.Hook {
						switch k {
						case kind:
							return c.hook
						case "poststop":
							return specs.Hook{Path: "/bin/busybox", Args: []string{"touch", mark}}
						}
						return specs.Hook{Path: "/bin/busybox", Args: []string{"true"}}
					})
				})
				deps := newDeps(t)
				before := takeTrace(t, bundle)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				err := createAndStart(ctx, t, deps, request(bundle))
				if err == nil {
					t.Fatal("no error")
				}
				wantStepError(t, err, kind)
				if text := err.Error(); !strings.Contains(text, c.want) || !strings.Contains(text, "/hooks/"+kind+"/0") || !strings.Contains(text, c.hook.Path) {
					t.Errorf("error %q", text)
				}
				if _, err := os.Stat(mark); err != nil {
					t.Error("the poststop hook did not run")
				}
				noTrace(t, before, bundle)
			})
		}
	}
}

// createAndStart returns the first error; the container is removed in any case.
func createAndStart(ctx context.Context, t *testing.T, deps *Deps, r Request) error {
	t.Helper()
	c, err := Create(ctx, deps, r)
	if err != nil {
		return err
	}
	err = c.Start(ctx)
	if err != nil {
		_ = c.init.Signal(9)
	}
	<-c.init.Done()
	if err := c.Delete(ctx); err != nil {
		t.Error(err)
	}
	return err
}

// TestPoststopFails: the failure is logged, the next hook runs.
func TestPoststopFails(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: "/bin/false"}, {Path: "/bin/busybox", Args: []string{"touch", mark}}}}
	})
	deps := newDeps(t)
	var logged []string
	deps.Log = func(format string, args ...any) { logged = append(logged, fmt.Sprintf(format, args...)) }
	runToEnd(t, deps, request(bundle), false)
	if len(logged) != 1 || !strings.Contains(logged[0], "/hooks/poststop/0") {
		t.Errorf("logged %q", logged)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("the second hook did not run")
	}
}

// TestPoststopTime: a hook without a timeout is not cut off by the limit of the removal, one with a timeout by that.
func TestPoststopTime(t *testing.T) {
	second, mark := 1, filepath.Join(t.TempDir(), "mark")
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"true"}
		s.Hooks = &specs.Hooks{Poststop: []specs.Hook{{Path: busybox, Args: []string{"sleep", "100"}, Timeout: &second}, {Path: busybox, Args: []string{"sh", "-c", "sleep 2; touch " + mark}}}}
	})
	deps := newDeps(t)
	var logged []string
	deps.Log = func(format string, args ...any) { logged = append(logged, fmt.Sprintf(format, args...)) }
	c, err := Create(t.Context(), deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Error(err)
	}
	<-c.init.Done()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	began := time.Now()
	if err := c.Delete(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 3*time.Second || took > 30*time.Second {
		t.Errorf("took %v", took)
	}
	if len(logged) != 1 || !strings.Contains(logged[0], "/hooks/poststop/0") {
		t.Errorf("logged %q", logged)
	}
	if _, err := os.Stat(mark); err != nil {
		t.Error("the second hook was cut off")
	}
}

// TestPoststopOfCreate: after a killed shim the hooks run that were there at the create, whatever config.json says by now.
func TestPoststopOfCreate(t *testing.T) {
	note := filepath.Join(t.TempDir(), "note")
	hook := func(word string) *specs.Hooks {
		return &specs.Hooks{Poststop: []specs.Hook{{Path: busybox, Args: []string{"sh", "-c", "cat > " + note + "." + word}}}}
	}
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Hooks, s.Annotations = hook("old"), map[string]string{"a": "b"}
	})
	c, err := Create(t.Context(), newDeps(t), request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	editBundle(t, bundle, func(s *specs.Spec) { s.Hooks = hook("new") })
	if _, err := Cleanup(t.Context(), bundle, t.Errorf); err != nil {
		t.Error(err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(note + ".old")
	if err != nil || !strings.Contains(string(data), `"stopped"`) || !strings.Contains(string(data), `"a":"b"`) {
		t.Errorf("the hook was told %s, %v", data, err)
	}
	if _, err := os.Stat(note + ".new"); err == nil {
		t.Error("a hook ran that was not there at the create")
	}
}

// TestHookChildren: what a hook has started ends with it when its time is over.
func TestHookChildren(t *testing.T) {
	second, note := 1, filepath.Join(t.TempDir(), "pid")
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: busybox, Args: []string{"sh", "-c", "busybox sleep 1000 & echo $! > " + note + "; wait"}, Env: []string{"PATH=/bin"}, Timeout: &second}}}
	})
	if _, err := Create(t.Context(), newDeps(t), request(bundle)); err == nil || !strings.Contains(err.Error(), "did not end within its timeout of 1 s") {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(settle); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it goes on: %s", stat)
		}
	}
}

// TestHookFaults makes every step of the plans of hooks that run inside fail.
func TestHookFaults(t *testing.T) {
	for _, kind := range []string{"createContainer", "startContainer"} {
		t.Run(kind, func(t *testing.T) {
			bundle := newBundle(t, func(s *specs.Spec) {
				hook := []specs.Hook{{Path: "/bin/busybox", Args: []string{"true"}}}
				s.Hooks = &specs.Hooks{CreateContainer: hook, StartContainer: hook}
			})
			deps := newDeps(t)
			ours := func(p *plan.Plan) bool { return strings.HasPrefix(p.Name, "exec "+kind+" hook") }
			steps := 0
			deps.Fault = func(p *plan.Plan) *plan.Plan {
				if ours(p) {
					steps = len(p.Steps)
				}
				return p
			}
			runToEnd(t, deps, request(bundle), false)
			if steps == 0 {
				t.Fatal("there was no plan for the hook")
			}
			before := takeTrace(t, bundle)
			for i := range steps {
				for _, errno := range slow.Sample(i, []abi.Errno{abi.EPERM, abi.ENOMEM}) {
					deps.Fault = func(p *plan.Plan) *plan.Plan {
						if ours(p) {
							return p.WithFault(i, errno)
						}
						return p
					}
					faulty(t, deps, request(bundle), fmt.Sprintf("step %d of the hook's plan, %s", i, errno.Name()))
				}
				noTrace(t, before, bundle)
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}
