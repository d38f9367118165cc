package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/internal/need"
	"example.io/shim/linux/cgroup/unit"
)

func TestNone(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if _, err := Dial(t.Context(), true); !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "the user's systemd does not run") {
		t.Error(err)
	}
}

func TestMajor(t *testing.T) {
	for text, want := range map[string]int{"252.39-1~deb12u1": 252, "257": 257, "v249": 249, "": 0, "x": 0} {
		if got := major(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// dial returns a connection to this machine's systemd.
func dial(t *testing.T) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), false)
	if err != nil {
		need.Systemd.Lacking(t, err.Error())
	}
	t.Cleanup(c.Close)
	return c
}

// sleeper starts a process that a scope can have.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return cmd
}

func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestScope(t *testing.T) {
	before := runtime.NumGoroutine()
	c := dial(t)
	u, err := unit.Parse("shimtest-a.slice:t:"+fmt.Sprint(os.Getpid()), "", false)
	if err != nil {
		t.Fatal(err)
	}
	props := append(u.New("x", 2), unit.Property{Name: "TasksMax", Value: "uint64 7"}, unit.Property{Name: "CPUWeight", Value: "uint64 0", Since: 252},
		unit.Property{Name: "CPUWeight", Value: "nonsense", Since: 9999})
	p := sleeper(t)
	began := time.Now()
	if err := c.Start(u.Name, props, uint32(p.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	t.Logf("start: %v", time.Since(began))
	if cg := cgroupOf(t, p.Process.Pid); !strings.Contains(cg, u.Cgroup()+"\n") {
		t.Errorf("the process is in %s, not in %s", cg, u.Cgroup())
	}
	if root, err := c.ControlGroup(); root != "/" || err != nil {
		t.Error(root, err)
	}
	if err := c.Start(u.Name, props, uint32(p.Process.Pid)); !errors.Is(err, errdefs.ErrAlreadyExists) {
		t.Errorf("started twice: %v", err)
	}
	if err := c.Set(u.Name, []unit.Property{{Name: "TasksMax", Value: "uint64 9"}}); err != nil {
		t.Error(err)
	}
	if err := c.Set(u.Name, []unit.Property{{Name: "NoSuchThing", Value: "uint64 9"}}); err == nil {
		t.Error("an unknown property was set")
	} else {
		t.Log(err)
	}
	if err := c.Set("no-such.scope", []unit.Property{{Name: "TasksMax", Value: "uint64 9"}}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("properties of no unit: %v", err)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.Wait()
	for range 2 { // the second time there is none
		began = time.Now()
		if err := c.Stop(u.Name); err != nil {
			t.Error(err)
		}
		t.Logf("stop: %v", time.Since(began))
	}
	if left, _ := filepath.Glob("/sys/fs/cgroup/*/shimtest*/*/*.scope"); left != nil {
		t.Errorf("left: %v", left)
	}
	c.Close()
	for end := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// TestRefused: what systemd refuses leaves no unit.
func TestRefused(t *testing.T) {
	c := dial(t)
	name := fmt.Sprintf("shimtest-refused-%d.scope", os.Getpid())
	p := sleeper(t)
	err := c.Start(name, []unit.Property{{Name: "MemoryMax", Value: "'much'"}}, uint32(p.Process.Pid))
	if err == nil || !strings.Contains(err.Error(), "systemd: ") {
		t.Error(err)
	} else {
		t.Log(err)
	}
	err = c.Start(name, nil, 1<<30) // no such process
	if err == nil {
		t.Error("a scope of no process was started")
	}
	t.Log(err)
	if err := c.Set(name, []unit.Property{{Name: "TasksMax", Value: "uint64 9"}}); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("the refused unit is there: %v", err)
	}
}

// TestCancelled: the end of the context ends every wait.
func TestCancelled(t *testing.T) {
	dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Dial(ctx, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	if err := c.Stop("no-such.scope"); !errors.Is(err, context.Canceled) && err == nil {
		t.Error(err)
	}
	if _, err := Dial(ctx, false); err == nil {
		t.Error("connected after the end")
	}
}
