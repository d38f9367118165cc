package compile

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

const rlimitNofile = 7

// limits sets resource limits. A container without one for open files gets what containerd was started with, not what Go's runtime raised it to.
func (c *compiler) limits() error {
	c.b.In(plan.Child, plan.Identity)
	nofile := false
	set := func(n int, name, source string, soft, hard uint64) {
		c.b.Add(plan.Step{Label: fmt.Sprintf("set %s to %d, at most %d", name, soft, hard), Source: source, Why: "prlimit(2)", Sys: abi.SysPrlimit64,
			Args: []plan.Arg{plan.V(0), plan.T(uint64(n), name), plan.A(c.b.Bytes(name, abi.Rlimit(soft, hard))), plan.V(0)}})
	}
	for i, l := range c.proc.Rlimits {
		n, ok := spec.RlimitNumber(l.Type)
		if !ok {
			return invalid(fmt.Sprintf("/process/rlimits/%d/type", i), "%q is no limit", l.Type)
		}
		nofile = nofile || n == rlimitNofile
		set(n, l.Type, fmt.Sprintf("/process/rlimits/%d", i), l.Soft, l.Hard)
	}
	if !nofile {
		set(rlimitNofile, "RLIMIT_NOFILE", "", c.in.Facts.Nofile.Soft, c.in.Facts.Nofile.Hard)
	}
	return nil
}

// identity makes the process the user it is to be, in the order that lets each step happen: bounding set, groups, gid, uid, capabilities.
func (c *compiler) identity() error {
	c.b.In(plan.Child, plan.Identity)
	enter := c.workingDir()
	umask := uint64(0o022)
	if c.proc.User.Umask != nil {
		umask = uint64(*c.proc.User.Umask)
	}
	c.b.Add(plan.Step{Label: fmt.Sprintf("set the umask to %#o", umask), Source: "/process/user/umask", Why: "umask(2)", Sys: abi.SysUmask, Args: []plan.Arg{plan.T(umask, fmt.Sprintf("%#o", umask))}})
	_, last := c.have()
	c.dropBounding(spec.CapMask(c.wantedCaps().Bounding), last)
	c.ids()
	enter()
	c.capabilities()
	if c.proc.NoNewPrivileges {
		c.prctl("gain no privileges from now on", "/process/noNewPrivileges", "PR_SET_NO_NEW_PRIVS", abi.PR_SET_NO_NEW_PRIVS, 1, "")
	}
	return nil
}

// wantedCaps are the process's sets, none of them nil.
func (c *compiler) wantedCaps() *specs.LinuxCapabilities {
	if c.proc.Capabilities == nil {
		return &specs.LinuxCapabilities{}
	}
	return c.proc.Capabilities
}

// have returns the capabilities that the child has, and the highest number the kernel knows: in a user namespace all of them.
func (c *compiler) have() (set uint64, last int) {
	last = min(c.in.Facts.LastCap, 63)
	if c.hasNamespace(specs.UserNamespace) {
		return 1<<(last+1) - 1, last
	}
	return c.in.Facts.Caps, last
}

func (c *compiler) prctl(label, source, name string, op, arg uint64, argText string) {
	a := plan.V(arg)
	if argText != "" {
		a = plan.T(arg, argText)
	}
	c.b.Add(plan.Step{Label: label, Source: source, Why: "prctl(2), capabilities(7)", Sys: abi.SysPrctl, Args: []plan.Arg{plan.T(op, name), a, plan.V(0), plan.V(0), plan.V(0)}})
}

func (c *compiler) dropBounding(bounding uint64, last int) {
	for n := range last + 1 {
		if bounding&(1<<n) != 0 {
			continue
		}
		name := spec.CapName(n)
		if name == "" {
			name = fmt.Sprintf("capability %d", n)
		}
		c.prctl("drop "+name, "/process/capabilities/bounding", "PR_CAPBSET_DROP", abi.PR_CAPBSET_DROP, uint64(n), name)
	}
}

func (c *compiler) ids() {
	u := c.proc.User
	c.prctl("keep the capabilities over the change of user", "/process/user", "PR_SET_KEEPCAPS", abi.PR_SET_KEEPCAPS, 1, "")
	gids := plan.V(0)
	if len(u.AdditionalGids) > 0 {
		gids = plan.A(c.b.Bytes("groups", abi.Groups(u.AdditionalGids)))
	}
	s := plan.Step{Label: fmt.Sprintf("be in %d additional groups", len(u.AdditionalGids)), Source: "/process/user/additionalGids", Why: "setgroups(2)", Sys: abi.SysSetgroups,
		Args: []plan.Arg{plan.V(uint64(len(u.AdditionalGids))), gids}}
	if c.deniesGroups() {
		s.Tolerate = []abi.Errno{abi.EPERM} // a namespace where setgroups is denied (user_namespaces(7)): nothing is left to give up
	}
	c.b.Add(s)
	for _, id := range []struct {
		sys  abi.Sys
		what string
		n    uint32
	}{{abi.SysSetresgid, "gid", u.GID}, {abi.SysSetresuid, "uid", u.UID}} {
		n := plan.V(uint64(id.n))
		c.b.Add(plan.Step{Label: fmt.Sprintf("become %s %d", id.what, id.n), Source: "/process/user/" + id.what, Why: id.sys.String() + "(2)", Sys: id.sys, Args: []plan.Arg{n, n, n}})
	}
}

// capabilities sets the sets. What the runtime itself does not have cannot be given: it is left out, and the label says so.
func (c *compiler) capabilities() {
	caps := c.wantedCaps()
	have, _ := c.have()
	label, warning, held := "set the capabilities", "", uint64(0)
	if c.holdsAdmin() {
		label, held = label+" and keep CAP_SYS_ADMIN until the filter is loaded", 1<<capSysAdmin
	}
	if out := missing(spec.CapMask(caps.Permitted)|spec.CapMask(caps.Inheritable), have); out != "" {
		label += ", without " + out + ", which the runtime does not have"
		warning = out + " cannot be given: the runtime does not have it" // config.md, "capabilities"
	}
	c.capset(label, held)
	c.b.Last().Warning = warning
	c.prctl("have no ambient capabilities", "/process/capabilities/ambient", "PR_CAP_AMBIENT", abi.PR_CAP_AMBIENT, abi.PR_CAP_AMBIENT_CLEAR_ALL, "PR_CAP_AMBIENT_CLEAR_ALL")
	ambient := spec.AmbientMask(caps) & have
	for n := range 64 {
		if ambient&(1<<n) != 0 {
			c.b.Add(plan.Step{Label: "raise " + spec.CapName(n), Source: "/process/capabilities/ambient", Why: "capabilities(7)", Sys: abi.SysPrctl,
				Args: []plan.Arg{plan.T(abi.PR_CAP_AMBIENT, "PR_CAP_AMBIENT"), plan.T(abi.PR_CAP_AMBIENT_RAISE, "PR_CAP_AMBIENT_RAISE"), plan.T(uint64(n), spec.CapName(n)), plan.V(0), plan.V(0)}})
		}
	}
}

// capset gives the process its sets, and held besides.
func (c *compiler) capset(label string, held uint64) {
	caps := c.wantedCaps()
	have, _ := c.have()
	mask := func(names []string) uint64 { return spec.CapMask(names) & have }
	data := c.b.Bytes("capabilities", abi.CapData(mask(caps.Effective)|held, mask(caps.Permitted)|held, mask(caps.Inheritable)))
	c.b.Add(plan.Step{Label: label, Source: "/process/capabilities", Why: "capset(2)", Sys: abi.SysCapset, Args: []plan.Arg{plan.A(data), plan.AtOff(data, 8)}})
}

// missing names the capabilities that are wanted and not there.
func missing(want, have uint64) string {
	var names []string
	for n := range 64 {
		if want&^have&(1<<n) != 0 {
			names = append(names, spec.CapName(n))
		}
	}
	return strings.Join(names, ", ")
}
