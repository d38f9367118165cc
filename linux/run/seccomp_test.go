package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// profile is a seccomp profile that allows all but what is in blocks.
func profile(blocks ...specs.LinuxSyscall) *specs.LinuxSeccomp {
	return &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32, specs.ArchAARCH64, specs.ArchARM}, Syscalls: blocks}
}

func calls(action specs.LinuxSeccompAction, names ...string) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: names, Action: action}
}

// withErrno is calls with an errno.
func withErrno(errno uint, names ...string) specs.LinuxSyscall {
	return specs.LinuxSyscall{Names: names, Action: specs.ActErrno, ErrnoRet: &errno}
}

// TestSeccomp: what a program of the container sees of its filter, as init and as a further process, with no_new_privs and without.
func TestSeccomp(t *testing.T) {
	cond := withErrno(uint(unix.EBADMSG), "mkdir", "mkdirat")
	cond.Args = []specs.LinuxSeccompArg{{Index: 1, Value: 0o700, Op: specs.OpEqualTo}, {Index: 2, Value: 0o700, Op: specs.OpEqualTo}}
	one := cond
	one.Names, one.Args = []string{"mkdir"}, cond.Args[:1]
	two := cond
	two.Names, two.Args = []string{"mkdirat"}, cond.Args[1:]
	for name, c := range map[string]struct {
		p            *specs.LinuxSeccomp
		script, want string
	}{
		"mode":          {profile(), "grep -E '^(Seccomp|Seccomp_filters|NoNewPrivs):' /proc/self/status", "NoNewPrivs:\t%d\nSeccomp:\t2\nSeccomp_filters:\t1"},
		"capabilities":  {profile(), "grep -E '^Cap(Eff|Prm|Bnd|Amb)' /proc/self/status | cut -f2 | sort -u", "0000000000000000\n00000000080405eb"},
		"errno":         {profile(withErrno(uint(unix.EXDEV), "mkdir", "mkdirat")), "mkdir /tmp/a", "mkdir: can't create directory '/tmp/a': Invalid cross-device link"},
		"default errno": {profile(calls(specs.ActErrno, "mkdir", "mkdirat")), "mkdir /tmp/a", "mkdir: can't create directory '/tmp/a': Operation not permitted"},
		"condition":     {profile(one, two), "mkdir -m 700 /tmp/a; mkdir -m 711 /tmp/b && echo made && rmdir /tmp/b", "made"},
		"killed":        {profile(calls(specs.ActKillProcess, "mkdir", "mkdirat")), "sh -c 'mkdir /tmp/a; exit 0'; echo $?", "Bad system call\n0"},
		"thread killed": {profile(calls(specs.ActKill, "mkdir", "mkdirat")), "(exec mkdir /tmp/a); echo $?", "Bad system call\n159"},
		"trapped":       {profile(calls(specs.ActTrap, "mkdir", "mkdirat")), "(exec mkdir /tmp/a); echo $?", "Bad system call\n159"},
		"traced":        {profile(calls(specs.ActTrace, "mkdir", "mkdirat")), "mkdir /tmp/a", "mkdir: can't create directory '/tmp/a': Function not implemented"},
		"logged":        {profile(calls(specs.ActLog, "mkdir", "mkdirat")), "mkdir /tmp/a && rmdir /tmp/a && echo made", "made"},
	} {
		for _, nnp := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, no_new_privs %v", name, nnp), func(t *testing.T) {
				deps := newDeps(t)
				noCore := []specs.POSIXRlimit{{Type: "RLIMIT_CORE"}} // the shell tells of a core
				edit := func(s *specs.Spec) { s.Linux.Seccomp, s.Process.NoNewPrivileges, s.Process.Rlimits = c.p, nnp, noCore }
				want := c.want
				if strings.Contains(want, "%d") {
					want = fmt.Sprintf(want, map[bool]int{true: 1}[nnp])
				}
				box := sleeping(t, deps, edit)
				got := execIn(t, box, func(p *specs.Process) {
					p.NoNewPrivileges, p.Rlimits = nnp, noCore
					p.Capabilities = box.spec.Process.Capabilities
				}, c.script)
				if name == "condition" { // its first mkdir complains with words that depend on the C library
					got = got[strings.LastIndexByte(got, '\n')+1:]
				}
				if got != want {
					t.Errorf("exec: %q, want %q", got, want)
				}
				status := procFile(t, box.Init().Pid(), "status")
				if !strings.Contains(status, "\nSeccomp:\t2\n") || !strings.Contains(status, "\nCapEff:\t00000000080405eb\n") {
					t.Errorf("init:\n%s", status)
				}
			})
		}
	}
}

// TestSeccompUsers: a filter without no_new_privs, for a user without capabilities, for one in a user namespace, and for one that keeps CAP_SYS_ADMIN.
func TestSeccompUsers(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*specs.Spec)
		want string
	}{
		"user": {func(s *specs.Spec) { s.Process.User, s.Process.Capabilities = specs.User{UID: 1000, GID: 1000}, nil }, "0000000000000000"},
		"user namespace": {func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
			s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
			s.Linux.GIDMappings = s.Linux.UIDMappings
		}, "00000000080405eb"},
		"CAP_SYS_ADMIN": {func(s *specs.Spec) {
			l := []string{"CAP_SYS_ADMIN"}
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: l, Effective: l, Permitted: l}
		}, "0000000000200000"},
	} {
		t.Run(name, func(t *testing.T) {
			box := sleeping(t, newDeps(t), func(s *specs.Spec) {
				s.Linux.Seccomp, s.Process.NoNewPrivileges = profile(calls(specs.ActErrno, "mkdir")), false
				c.edit(s)
			})
			status := procFile(t, box.Init().Pid(), "status")
			for _, want := range []string{"\nSeccomp:\t2\n", "\nCapEff:\t" + c.want + "\n", "\nCapPrm:\t" + c.want + "\n", "\nNoNewPrivs:\t0\n"} {
				if !strings.Contains(status, want) {
					t.Errorf("no %q in\n%s", want, status)
				}
			}
		})
	}
}

// TestSeccompDeaths: a child whose last calls are forbidden ends, and its error says where.
func TestSeccompDeaths(t *testing.T) {
	// exit_group and exit are forbidden when the program turns out not to be there.
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"/bin/busybox", "true"}
		s.Linux.Seccomp = profile(calls(specs.ActErrno, "exit_group", "exit"))
	})
	c, err := Create(t.Context(), newDeps(t), request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(bundle, "rootfs/bin/busybox")); err != nil {
		t.Fatal(err)
	}
	err = c.Start(t.Context())
	var se *plan.StepError
	if !errors.As(err, &se) || se.Errno != abi.ENOENT || !strings.Contains(se.Label, "execute") {
		t.Errorf("start: %v", err)
	}
	<-c.Init().Done()
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	// A condition hides from the compiler that execve is fatal: the container starts, and ends by the signal.
	never := calls(specs.ActKillProcess, "execve")
	never.Args = []specs.LinuxSeccompArg{{Index: 5, Value: 1 << 60, Op: specs.OpLessThan}}
	bundle = newBundle(t, func(s *specs.Spec) { s.Linux.Seccomp = profile(never) })
	if c, err = Create(t.Context(), newDeps(t), request(bundle)); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil && !errors.As(err, &se) {
		t.Errorf("start: %v", err)
	}
	<-c.Init().Done()
	if status, _ := c.Init().Exit(); status != 128+uint32(unix.SIGSYS) {
		t.Errorf("status %d", status)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	bundle = newBundle(t, func(s *specs.Spec) { s.Linux.Seccomp = profile(calls(specs.ActKillProcess, "execve")) })
	if _, err := Create(t.Context(), newDeps(t), request(bundle)); !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), "/linux/seccomp: the profile kills the process at execve") {
		t.Errorf("execve killed: %v", err)
	}
}

// agent is a seccomp agent, which makes mkdir and mkdirat answer EXDEV.
type agent struct {
	path   string
	states chan specs.ContainerProcessState
}

// newAgent listens by system calls: package net would bring cgo into the test, and the child cannot be forked from a program that a C library has set up.
func newAgent(t *testing.T, path string) *agent {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 10))
	}
	if err != nil {
		t.Fatal(err)
	}
	// More states than TestFaults makes, which reads none of them.
	a := &agent{path: path, states: make(chan specs.ContainerProcessState, 1<<14)}
	done := make(chan bool)
	t.Cleanup(func() {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR) // accept returns
		<-done
		if err := errors.Join(unix.Close(fd), os.Remove(path)); err != nil {
			t.Error(err)
		}
	})
	go func() {
		defer close(done)
		for {
			c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return
			}
			if err := a.serve(c); err != nil {
				t.Errorf("agent: %v", err)
			}
		}
	}()
	return a
}

// serve reads one state and answers its process's calls until that has ended.
func (a *agent) serve(c int) error {
	defer unix.Close(c)
	buf, oob := make([]byte, 4096), make([]byte, 64)
	n, on, _, _, err := unix.Recvmsg(c, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return err
	}
	if m, err := unix.Read(c, make([]byte, 1)); m != 0 || err != nil {
		return fmt.Errorf("more than one message, or no end: %d %w", m, err)
	}
	var state specs.ContainerProcessState
	if err := json.Unmarshal(buf[:n], &state); err != nil {
		return fmt.Errorf("%s: %w", buf[:n], err)
	}
	msgs, err := unix.ParseSocketControlMessage(oob[:on])
	if err != nil || len(msgs) != 1 {
		return fmt.Errorf("%d control messages, %w", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return fmt.Errorf("descriptors %v, %w", fds, err)
	}
	a.states <- state
	go answer(fds[0])
	return nil
}

// notif and notifResp are struct seccomp_notif and seccomp_notif_resp (linux/seccomp.h).
type (
	notif struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	notifResp struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
)

// answer answers until nobody has the filter any more.
func answer(fd int) {
	defer unix.Close(fd)
	const recv, send = 0xc0502100, 0xc0182101 // SECCOMP_IOCTL_NOTIF_RECV, SECCOMP_IOCTL_NOTIF_SEND
	for {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(p, 30000); err != nil && !errors.Is(err, unix.EINTR) || p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0 {
			return
		}
		var q notif
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), recv, uintptr(unsafe.Pointer(&q))); e != 0 {
			continue
		}
		r := notifResp{id: q.id, error: -int32(unix.EXDEV)}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), send, uintptr(unsafe.Pointer(&r)))
	}
}

// TestSeccompNotify: a real agent gets the listener of each process, with its state, before the program's first instruction, and answers its calls.
func TestSeccompNotify(t *testing.T) {
	for _, nnp := range []bool{true, false} {
		t.Run(fmt.Sprintf("no_new_privs %v", nnp), func(t *testing.T) {
			deps := newDeps(t)
			a := newAgent(t, filepath.Join(t.TempDir(), "a.sock"))
			box := sleeping(t, deps, func(s *specs.Spec) {
				s.Process.Args = []string{"sh", "-c", "mkdir /tmp/a 2>/tmp/said; exec sleep 1000"}
				s.Annotations = map[string]string{"a": "b"}
				s.Process.NoNewPrivileges = nnp
				s.Linux.Seccomp = profile(calls(specs.ActNotify, "mkdir", "mkdirat"))
				s.Linux.Seccomp.ListenerPath, s.Linux.Seccomp.ListenerMetadata = a.path, "for you"
			})
			pid := box.Init().Pid()
			state := specs.State{Version: specs.Version, ID: box.state.ID, Status: specs.StateCreated, Pid: pid, Bundle: box.state.Bundle, Annotations: map[string]string{"a": "b"}}
			a.want(t, specs.ContainerProcessState{Version: specs.Version, Fds: []string{"seccompFd"}, Pid: pid, Metadata: "for you", State: state})
			const said = "mkdir: can't create directory '/tmp/a': Invalid cross-device link"
			if got := execIn(t, box, func(p *specs.Process) { p.NoNewPrivileges = nnp }, "mkdir /tmp/a"); got != said {
				t.Errorf("exec: %q", got)
			}
			got := a.next(t)
			if got.State.Status = specs.StateCreated; got.Pid == pid || got.Pid == 0 || fmt.Sprint(got.State) != fmt.Sprint(state) {
				t.Errorf("exec: %+v", got)
			}
			for end := time.Now().Add(settle); ; time.Sleep(5 * time.Millisecond) {
				text, _ := os.ReadFile(filepath.Join(box.state.Bundle, "rootfs/tmp/said"))
				if strings.TrimSpace(string(text)) == said {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("init: %q", text)
				}
			}
		})
	}
}

func (a *agent) next(t *testing.T) specs.ContainerProcessState {
	t.Helper()
	select {
	case s := <-a.states:
		return s
	case <-time.After(2 * settle):
		t.Fatal("the agent has heard nothing")
		panic("")
	}
}

func (a *agent) want(t *testing.T, want specs.ContainerProcessState) {
	t.Helper()
	if got := a.next(t); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the agent got\n%+v, want\n%+v", got, want)
	}
}

// TestSeccompNoAgent: a socket at which nobody listens fails the start and the exec, by its name.
func TestSeccompNoAgent(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Linux.Seccomp = profile(calls(specs.ActNotify, "mkdir", "mkdirat"))
		s.Linux.Seccomp.ListenerPath = "agent.sock" // below the bundle
	})
	c, err := Create(t.Context(), newDeps(t), request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(bundle, "agent.sock")
	if err := c.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "send the listener to the agent") || !strings.Contains(err.Error(), want) {
		t.Errorf("start: %v", err)
	}
	<-c.Init().Done()
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}
