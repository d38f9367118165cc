package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/spec"
)

// TestProcess: what config.json says of the process, seen by the process.
func TestProcess(t *testing.T) {
	for name, c := range map[string]struct {
		edit         func(*specs.Spec)
		script, want string
	}{
		"env":           {func(s *specs.Spec) { s.Process.Env = []string{"PATH=/bin", "A=1", "B=x y", "A=2", "EMPTY="} }, `env | grep -v -E '^(PWD|SHLVL|_)=' | sort`, "A=2\nB=x y\nEMPTY=\nHOME=/root\nPATH=/bin"},
		"cwd":           {func(s *specs.Spec) { s.Process.Cwd = "/made/here" }, "pwd; stat -c '%u %a' .", "/made/here\n0 755"},
		"umask":         {func(s *specs.Spec) { s.Process.User.Umask = new(uint32(0o137)) }, "umask; echo > /tmp/x; stat -c %a /tmp/x", "0137\n640"},
		"default umask": {nil, "umask", "0022"},
		"user": {func(s *specs.Spec) {
			s.Process.User = specs.User{UID: 1000, GID: 1001, AdditionalGids: []uint32{5, 70000}}
		},
			`grep -E '^(Uid|Gid|Groups)' /proc/self/status | tr -s '\t ' ' '; echo $HOME`, "Uid: 1000 1000 1000 1000\nGid: 1001 1001 1001 1001\nGroups: 5 70000 \n/home/user"},
		"no groups":         {nil, `grep ^Groups /proc/self/status | tr -s '\t ' ' '`, "Groups:"},
		"no capabilities":   {func(s *specs.Spec) { s.Process.Capabilities = nil }, "grep ^Cap /proc/self/status | grep -v 0000000000000000; true", ""},
		"no new privileges": {nil, `grep NoNewPrivs /proc/self/status | tr -s '\t' ' '`, "NoNewPrivs: 1"},
		"new privileges":    {func(s *specs.Spec) { s.Process.NoNewPrivileges = false }, `grep NoNewPrivs /proc/self/status | tr -s '\t' ' '`, "NoNewPrivs: 0"},
		"oom score":         {func(s *specs.Spec) { s.Process.OOMScoreAdj = new(777) }, "cat /proc/self/oom_score_adj", "777"},
		"names":             {func(s *specs.Spec) { s.Hostname, s.Domainname = "web1", "example.test" }, "hostname; cat /proc/sys/kernel/domainname", "web1\nexample.test"},
		"no names":          {func(s *specs.Spec) { s.Hostname = "" }, "cat /proc/sys/kernel/domainname", "(none)"},
		"keyring":           {func(s *specs.Spec) { s.Linux.MaskedPaths = nil }, `grep -o 'keyring *_ses.ID:' /proc/keys | tr -s ' ' | sort -u`, "keyring _ses.ID:"},
		"signals":           {nil, `exec grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -s '\t' ' '`, "SigBlk: 0000000000000000\nSigIgn: 0000000000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := newBundle(t, c.edit)
			for _, applet := range []string{"hostname", "tr", "umask"} {
				if err := os.Symlink("busybox", filepath.Join(bundle, "rootfs/bin", applet)); err != nil {
					t.Fatal(err)
				}
			}
			id := strings.NewReplacer("ID", filepath.Base(bundle))
			if got, want := runIn(t, bundle, id.Replace(c.script)), id.Replace(c.want); got != strings.TrimSpace(want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestCapabilities gives each of the five sets another content: the process has them so when it executes its program, and what the kernel makes of them then
// (capabilities(7)) when it runs as somebody who is not root.
func TestCapabilities(t *testing.T) {
	c, err := Create(t.Context(), newDeps(t), request(newBundle(t, func(s *specs.Spec) {
		s.Process.Args, s.Process.User = []string{"sleep", "1000"}, specs.User{UID: 1000, GID: 1000}
		s.Process.Capabilities = &specs.LinuxCapabilities{
			Bounding:    []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_NET_BIND_SERVICE"},
			Permitted:   []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"},
			Inheritable: []string{"CAP_CHOWN", "CAP_KILL"}, Effective: []string{"CAP_SETGID", "CAP_KILL"}, Ambient: []string{"CAP_KILL"},
		}
	})))
	if err != nil {
		t.Fatal(err)
	}
	deleteAtEnd(t, c)
	check := func(when, want string) {
		var got []string
		for line := range strings.Lines(procFile(t, c.Init().Pid(), "status")) {
			if name, set, ok := strings.Cut(line, ":"); ok && strings.HasPrefix(name, "Cap") {
				got = append(got, name+" "+strings.TrimLeft(strings.TrimSpace(set), "0"))
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %s, want %s", when, text, want)
		}
	}
	check("created", "CapInh 21, CapPrm e1, CapEff 60, CapBnd 4e1, CapAmb 20")
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("started", "CapInh 21, CapPrm 20, CapEff 20, CapBnd 4e1, CapAmb 20")
}

// TestExecProcess: a further process is what its own request says, whatever init is.
func TestExecProcess(t *testing.T) {
	box := sleeping(t, newDeps(t), func(s *specs.Spec) {
		s.Process.OOMScoreAdj, s.Process.Env = new(300), append(s.Process.Env, "INIT=1")
		s.Process.User.Umask = new(uint32(0o077))
	})
	some := []string{"CAP_KILL", "CAP_CHOWN"}
	got := execIn(t, box, func(p *specs.Process) {
		p.User = specs.User{UID: 1000, GID: 5, AdditionalGids: []uint32{7, 9}, Umask: new(uint32(0o027))}
		p.Cwd, p.Env = "/tmp", []string{"PATH=/bin", "OWN=1"}
		p.Capabilities = &specs.LinuxCapabilities{Bounding: some, Permitted: some, Effective: some, Inheritable: some, Ambient: some[:1]}
		p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 55, Hard: 66}}
		p.OOMScoreAdj, p.NoNewPrivileges = new(400), true
	}, `grep -E "^(Umask|Uid|Gid|Groups|NoNewPrivs|Cap(Prm|Amb|Bnd))" /proc/self/status | busybox tr -s "\t " " "; busybox pwd; ulimit -S -n; ulimit -H -n; cat /proc/self/oom_score_adj; echo "$INIT,$OWN,$HOME"`)
	want := `Umask: 0027
Uid: 1000 1000 1000 1000
Gid: 5 5 5 5
Groups: 7 9 
CapPrm: 0000000000000020
CapBnd: 0000000000000021
CapAmb: 0000000000000020
NoNewPrivs: 1
/tmp
55
66
400
,1,/home/user`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestCapabilitiesMissing: what the runtime itself does not have is left out, and the log says so.
func TestCapabilitiesMissing(t *testing.T) {
	deps := newDeps(t)
	var logged []string
	deps.Log = func(format string, args ...any) { logged = append(logged, fmt.Sprintf(format, args...)) }
	deps.Facts.Caps &^= 1 << unix.CAP_KILL
	box := sleeping(t, deps, func(s *specs.Spec) {
		some := []string{"CAP_CHOWN", "CAP_KILL"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: some[:1], Permitted: some, Effective: some}
	})
	if got := procFile(t, box.Init().Pid(), "status"); !strings.Contains(got, "CapPrm:\t0000000000000001\n") {
		t.Errorf("status\n%s", got)
	}
	if len(logged) != 1 || !strings.Contains(logged[0], ": CAP_KILL cannot be given: the runtime does not have it (/process/capabilities)") {
		t.Errorf("logged %q", logged)
	}
}

// TestRlimits sets every limit there is, to half of what the test itself has.
func TestRlimits(t *testing.T) {
	var list []specs.POSIXRlimit
	var want []string
	for n := 0; spec.RlimitName(n) != ""; n++ {
		var own unix.Rlimit
		if err := unix.Prlimit(0, n, nil, &own); err != nil {
			t.Fatal(err)
		}
		hard := min(own.Max, 1<<40)
		list = append(list, specs.POSIXRlimit{Type: spec.RlimitName(n), Soft: hard / 2, Hard: hard})
		want = append(want, fmt.Sprintf("%d %d", hard/2, hard))
	}
	box := sleeping(t, newDeps(t), func(s *specs.Spec) { s.Process.Rlimits = list })
	for n := range list {
		var got unix.Rlimit
		if err := unix.Prlimit(box.Init().Pid(), n, nil, &got); err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprintf("%d %d", got.Cur, got.Max); text != want[n] {
			t.Errorf("%s is %s, want %s", list[n].Type, text, want[n])
		}
	}
}

// TestNofileInherited: without a limit of its own the container has the one that the runtime was started with, not the one that Go's runtime raised it to.
func TestNofileInherited(t *testing.T) {
	if os.Getenv("SHIM_TEST_NOFILE") == "" {
		cmd := exec.Command("/bin/sh", "-c", `ulimit -S -n 333; exec "$0" -test.run '^TestNofileInherited$' -test.v`, os.Args[0])
		cmd.Env = append(os.Environ(), "SHIM_TEST_NOFILE=1")
		if out, err := output(cmd); err != nil || !strings.Contains(out, "--- PASS: TestNofileInherited") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		t.Fatal(err)
	}
	got := runScript(t, func(s *specs.Spec) { s.Process.Rlimits = nil }, "ulimit -S -n; ulimit -H -n")
	if want := fmt.Sprintf("333\n%d", own.Max); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestConsoleSize: the terminal has the size before the program looks.
func TestConsoleSize(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Process.Terminal, s.Process.ConsoleSize = true, &specs.Box{Width: 123, Height: 45}
		s.Process.Args = []string{"busybox", "stty", "size"}
	})
	r := request(bundle)
	r.Terminal = true
	c, err := Create(t.Context(), newDeps(t), r)
	if err != nil {
		t.Fatal(err)
	}
	deleteAtEnd(t, c)
	console := c.Init().Console()
	defer console.Close()
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(io.LimitReader(console, 100)).ReadString('\n')
	if strings.TrimSpace(line) != "45 123" {
		t.Errorf("the size is %q, %v", line, err)
	}
	<-c.Init().Done()
}

// TestFewFiles: the container's limit of open files does not count what the child has of the runtime's when it waits for the start.
func TestFewFiles(t *testing.T) {
	got := runScript(t, func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 5, Hard: 5}}
		for range 8 { // each has a descriptor in the child
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: t.TempDir(), Options: []string{"bind"}})
		}
	}, "ulimit -n")
	if got != "5" {
		t.Error(got)
	}
}

// TestUserCwd: the root of a user namespace may not enter a folder whose group is not mapped; its owner, who the process is, may.
func TestUserCwd(t *testing.T) {
	run := func(uid uint32) (string, error) {
		bundle := newBundle(t, func(s *specs.Spec) {
			withUserns(s)
			s.Process.User, s.Process.Cwd, s.Process.Args = specs.User{UID: uid, GID: uid}, "/home/own", []string{"sleep", "1000"}
		})
		own := filepath.Join(bundle, "rootfs/home/own")
		if err := errors.Join(os.Mkdir(own, 0o700), os.Chown(own, 101000, 5)); err != nil {
			t.Fatal(err)
		}
		c, err := Create(t.Context(), newDeps(t), request(bundle))
		if err != nil {
			return "", err
		}
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", c.Init().Pid()))
		if err != nil {
			t.Error(err)
		}
		return filepath.Base(cwd), c.Delete(t.Context())
	}
	if cwd, err := run(1000); err != nil || cwd != "own" {
		t.Errorf("the owner is in %q, %v", cwd, err)
	}
	if _, err := run(1001); err == nil || !strings.Contains(err.Error(), "as the user") {
		t.Errorf("another user: %v", err)
	}
}
