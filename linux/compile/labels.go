package compile

import (
	"example.io/shim/linux/abi"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

const (
	atApparmor = "/process/apparmorProfile"
	atSelinux  = "/process/selinuxLabel"
	atMounts   = "/linux/mountLabel"
)

// labels returns AppArmor's profile and SELinux's label of the process, "" for none. A further process that names none gets the container's: without one
// it would run as what the runtime is.
func (c *compiler) labels() (profile, label string) {
	profile, label = c.proc.ApparmorProfile, c.proc.SelinuxLabel
	if own := c.spec.Process; own != nil && !c.create {
		if profile == "" {
			profile = own.ApparmorProfile
		}
		if label == "" {
			label = own.SelinuxLabel
		}
	}
	return profile, label
}

// checkLabels refuses what this machine cannot enforce.
func (c *compiler) checkLabels() error {
	profile, label := c.labels()
	for _, l := range []struct {
		value, source, module string
		is                    facts.Support
	}{
		{profile, atApparmor, "AppArmor", c.in.Facts.AppArmor},
		{label, atSelinux, "SELinux", c.in.Facts.SELinux},
		{c.spec.Linux.MountLabel, atMounts, "SELinux", c.in.Facts.SELinux},
	} {
		if l.value != "" && l.is != facts.Yes {
			return refuse(l.source, "%q is set, but %s is not enabled on this machine", l.value, l.module)
		}
	}
	return nil
}

// setLabels says what the process becomes when it executes its program, and whose its keyring is. It comes before the keyring is made. What is written
// goes through a procfs that is not attached anywhere: nothing can lie over its files, so the process cannot end up without its label (CVE-2019-16884,
// CVE-2025-52881).
func (c *compiler) setLabels() {
	profile, label := c.labels()
	source := atApparmor
	if profile == "" {
		source = atSelinux
	}
	if profile == "" && label == "" {
		return
	}
	s := plan.Step{Label: "make a procfs for our labels", Source: source, Why: "CVE-2025-52881"}
	proc := c.newFS(s, "proc", "proc", nil, spec.MountOptions{}, source)
	buf := c.b.Buf("statfs of our procfs", abi.StatfsSize)
	c.b.Add(plan.Step{Label: "look at our procfs", Source: source, Why: "CVE-2019-16884", Sys: abi.SysFstatfs, Args: []plan.Arg{plan.R(proc), plan.A(buf)}})
	c.b.Add(plan.Step{Label: "it is a procfs", Source: source, Why: "CVE-2019-16884", Op: plan.OpCheck, Args: []plan.Arg{plan.M(buf, abi.StatfsType)},
		Mask: ^uint64(0), Equal: abi.PROC_SUPER_MAGIC, Errno: abi.EINVAL})
	if profile != "" {
		c.setAttr(plan.Step{Label: "have the AppArmor profile " + profile, Source: atApparmor, Why: "apparmor(7)"}, proc, "exec "+profile, "apparmor/exec", "exec")
	}
	if label != "" {
		if !c.in.NoNewKeyring {
			c.setAttr(plan.Step{Label: "label our keys " + label, Source: atSelinux, Why: "proc_pid_attr(5)"}, proc, label, "keycreate")
		}
		c.setAttr(plan.Step{Label: "have the SELinux label " + label, Source: atSelinux, Why: "proc_pid_attr(5)"}, proc, label, "exec")
	}
	c.close(proc, "our procfs")
}

// setAttr writes to the first of the files in /proc/thread-self/attr that the kernel has.
func (c *compiler) setAttr(s plan.Step, proc plan.Reg, text string, files ...string) {
	r, have := c.b.Temp("attr"), c.b.Label()
	how := c.b.Bytes("open_how attr", abi.OpenHow(abi.O_WRONLY|abi.O_CLOEXEC, 0, abi.RESOLVE_BENEATH|abi.RESOLVE_NO_MAGICLINKS|abi.RESOLVE_NO_XDEV))
	for i, file := range files {
		t := s
		t.Path, t.Sys, t.Save, t.FD, t.Retry, t.RetryOn = "/proc/thread-self/attr/"+file, abi.SysOpenat2, r, true, retries, abi.EAGAIN
		t.Args = []plan.Arg{plan.R(proc), c.b.Str("thread-self/attr/" + file), plan.A(how), plan.V(abi.OpenHowSize)}
		if i < len(files)-1 {
			t.Tolerate = []abi.Errno{abi.ENOENT} // before Linux 5.8 there is one folder for all modules
		}
		if n := c.b.Add(t); i < len(files)-1 {
			c.b.OnOK(n, have)
		}
	}
	c.b.Place(have)
	s.Path = "/proc/thread-self/attr/" + files[0]
	c.write(s, r, text)
	c.close(r, "the file")
}

// unlabelled are the file systems whose files SELinux labels by itself: they take no context.
var unlabelled = map[string]bool{"proc": true, "sysfs": true, "mqueue": true, "cgroup": true, "cgroup2": true}

// mountLabel returns the context of a new file system, "" for none.
func (c *compiler) mountLabel(typ string, data []spec.MountData) string {
	for _, d := range data {
		if d.Key == "context" {
			return ""
		}
	}
	if unlabelled[typ] {
		return ""
	}
	return c.spec.Linux.MountLabel
}

// labelMount labels the root of a detached mount whose file system takes no context and yet is the container's own: that of message queues.
func (c *compiler) labelMount(typ string, mount plan.Reg) {
	label := c.spec.Linux.MountLabel
	if typ != "mqueue" || label == "" {
		return
	}
	s := plan.Step{Label: "label the message queues " + label, Source: atMounts, Why: "config-linux.md, Mount Label"}
	r := c.b.Temp("root")
	t := s
	t.Sys, t.Save, t.FD = abi.SysOpenat, r, true
	t.Args = []plan.Arg{plan.R(mount), c.b.Str("."), plan.T(abi.O_RDONLY|abi.O_CLOEXEC, "O_RDONLY|O_CLOEXEC"), plan.V(0)}
	c.b.Add(t)
	s.Sys, s.Args = abi.SysFsetxattr, []plan.Arg{plan.R(r), c.b.Str("security.selinux"), c.b.Str(label), plan.V(uint64(len(label) + 1)), plan.V(0)}
	c.b.Add(s)
	c.close(r, "the root of the message queues")
}
