package parity

import (
	"os"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// topic is a configuration that differs from containerd's default by edit.
type topic struct {
	name     string
	edit     func(s *specs.Spec)
	terminal bool
}

// unified says that this machine has cgroup v2 only.
var unified = exists("/sys/fs/cgroup/cgroup.controllers")

var topics = []topic{
	{name: "default"},
	{name: "terminal", terminal: true, edit: func(s *specs.Spec) {
		s.Process.Terminal, s.Process.ConsoleSize = true, &specs.Box{Width: 90, Height: 30}
	}},
	{name: "user", edit: func(s *specs.Spec) {
		s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{5, 70}, Umask: new(uint32(0o027))}
		s.Process.Cwd = "/tmp"
	}},
	{name: "capabilities", edit: func(s *specs.Spec) {
		some := []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"}
		s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: append([]string{"CAP_NET_BIND_SERVICE"}, some...), Permitted: some, Effective: some, Inheritable: some[:2], Ambient: some[1:2]}
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		s.Process.NoNewPrivileges = false
	}},
	{name: "process", edit: func(s *specs.Spec) {
		s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 0, Hard: 0}, {Type: "RLIMIT_NPROC", Soft: 500, Hard: 600}, {Type: "RLIMIT_NOFILE", Soft: 99, Hard: 100}}
		s.Process.OOMScoreAdj = new(500)
		s.Process.Env = append(s.Process.Env, "A=1", "B=2", "A=3")
		s.Hostname = "web1"
	}},
	{name: "userns", edit: func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	}},
	{name: "host namespaces", edit: func(s *specs.Spec) {
		s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}}
		s.Hostname = ""
	}},
	{name: "resources", edit: func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(96 << 20)), Reservation: new(int64(32 << 20))}
		if !unified {
			s.Linux.Resources.Memory.Swappiness = new(uint64(10)) // v2 has none: we refuse it, the others do nothing
		}
		s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(50000)), Period: new(uint64(100000)), Cpus: "0", Mems: "0"}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(50))}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	}},
	{name: "I-O weight", edit: func(s *specs.Spec) {
		s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{Weight: new(uint16(300))}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	}},
	{name: "devices", edit: func(s *specs.Spec) {
		s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/fuse", Type: "c", Major: 10, Minor: 229, UID: new(uint32(7)), GID: new(uint32(8))}, {Path: "/dev/deep/pipe", Type: "p"}}
		s.Linux.Devices[0].FileMode = fileMode(0o640)
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: new(int64(10)), Minor: new(int64(229)), Access: "rw"})
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}})
	}},
	{name: "mounts", edit: func(s *specs.Spec) {
		add := func(dst, typ, src string, options ...string) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: dst, Type: typ, Source: src, Options: options})
		}
		add("/m/tmpfs", "tmpfs", "tmpfs", "nosuid", "nodev", "noexec", "size=1m", "mode=700", "noatime")
		add("/m/bind", "bind", "/var", "bind", "ro", "nosuid")
		add("/m/rbind", "bind", "/var", "rbind", "rw", "rslave")
		add("/m/private", "bind", "/var", "rbind", "rprivate")
		add("/m/file", "bind", "/etc/hostname", "bind", "ro")
	}},
	{name: "read-only", edit: func(s *specs.Spec) {
		s.Root.Readonly = true
		s.Linux.ReadonlyPaths = append(s.Linux.ReadonlyPaths, "/etc")
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/etc/group", "/home")
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80", "kernel.msgmax": "9000"}
	}},
	{name: "shared root", edit: func(s *specs.Spec) { s.Linux.RootfsPropagation = "rshared" }},
	{name: "privileged", edit: func(s *specs.Spec) {
		s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
		s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
		s.Process.NoNewPrivileges = false
		for i := range s.Mounts {
			if s.Mounts[i].Type == "sysfs" {
				s.Mounts[i].Options = []string{"nosuid", "noexec", "nodev", "rw"}
			}
		}
	}},
	{name: "cgroup namespace", edit: func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	}},
	{name: "seccomp", edit: func(s *specs.Spec) {
		errno := uint(38)
		s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
			Syscalls: []specs.LinuxSyscall{{Names: []string{"sethostname", "acct"}, Action: specs.ActErrno, ErrnoRet: &errno}}}
	}},
	// What follows is newer than Debian's runc and crun.
	{name: "time", edit: func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 7000000}, "monotonic": {Secs: 5}}
	}},
	{name: "sysfs elsewhere", edit: func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m/sysfs", Type: "sysfs", Source: "sysfs", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
	}},
	{name: "newer", edit: func(s *specs.Spec) {
		s.Domainname = "example.test"
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux32}
		s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5}
		s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 6}
	}},
}

func fileMode(m uint32) *os.FileMode { return new(os.FileMode(m)) }
