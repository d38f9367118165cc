package compile

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// namespace types: their CLONE_ flag and its name.
var nsTypes = map[specs.LinuxNamespaceType]struct {
	flag uint64
	text string
}{
	specs.PIDNamespace:     {abi.CLONE_NEWPID, "CLONE_NEWPID"},
	specs.NetworkNamespace: {abi.CLONE_NEWNET, "CLONE_NEWNET"},
	specs.MountNamespace:   {abi.CLONE_NEWNS, "CLONE_NEWNS"},
	specs.IPCNamespace:     {abi.CLONE_NEWIPC, "CLONE_NEWIPC"},
	specs.UTSNamespace:     {abi.CLONE_NEWUTS, "CLONE_NEWUTS"},
	specs.UserNamespace:    {abi.CLONE_NEWUSER, "CLONE_NEWUSER"},
	specs.CgroupNamespace:  {abi.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	specs.TimeNamespace:    {abi.CLONE_NEWTIME, "CLONE_NEWTIME"},
}

// namespaces is what the container gets.
type namespaces struct {
	create   uint64 // CLONE_ flags of the new ones
	joins    []join
	newUser  bool
	joinUser bool
}

// join is a namespace that is entered by its path.
type join struct {
	typ    specs.LinuxNamespaceType
	path   string
	source string
	reg    plan.Reg
	left   plan.Reg // result of the first try, negative when it is to be tried again
}

func (c *compiler) findNamespaces() error {
	for i, n := range c.spec.Linux.Namespaces {
		source := fmt.Sprintf("/linux/namespaces/%d", i)
		t, ok := nsTypes[n.Type]
		switch {
		case !ok:
			return refuse(source+"/type", "namespaces of type %q", n.Type)
		case n.Type == specs.TimeNamespace && c.in.Facts.TimeNamespace == facts.No:
			return refuse(source+"/type", "this kernel has no time namespaces")
		case n.Path == "":
			c.ns.create |= t.flag
		default:
			c.ns.joins = append(c.ns.joins, join{typ: n.Type, path: n.Path, source: source + "/path"})
		}
		if n.Type == specs.UserNamespace {
			c.ns.newUser, c.ns.joinUser = n.Path == "", n.Path != ""
		}
	}
	if err := c.checkHostMounts(); err != nil {
		return err
	}
	if c.childMakesTime() && c.ns.joinUser && len(c.spec.Linux.TimeOffsets) > 0 {
		return invalid("/linux/timeOffsets", "a plain user's container that joins a user namespace cannot set clocks: who is there already could reach it meanwhile")
	}
	if c.ns.newUser && len(c.spec.Linux.UIDMappings) == 0 {
		return invalid("/linux/uidMappings", "a new user namespace needs mappings")
	}
	return nil
}

// openNamespaces opens the namespaces to be joined. That of pids is entered by the launching thread, for its children (setns(2)).
func (c *compiler) openNamespaces() error {
	if err := c.openNull(); err != nil {
		return err
	}
	c.b.In(plan.Parent, plan.Prepare)
	for i := range c.ns.joins {
		j := &c.ns.joins[i]
		j.reg = c.open(plan.Step{Label: "open the " + string(j.typ) + " namespace", Source: j.source}, j.path, abi.O_RDONLY, "O_RDONLY")
		if c.entersItself(j) {
			c.keep = append(c.keep, j.reg)
		}
	}
	return nil
}

// entersItself says that the child joins a namespace, not its launching thread: all but that of pids, which is for children. A plain user's thread has no
// right to it; the child has, in a user namespace that it joins.
func (c *compiler) entersItself(j *join) bool {
	return j.typ != specs.PIDNamespace || c.rootless() && c.ns.joinUser
}

// born are the flags of clone3: everything new, but what a joined user namespace is to own, what depends on the cgroup, and time (see newTime).
func (c *compiler) born() uint64 {
	if c.ns.joinUser {
		return 0
	}
	later := uint64(abi.CLONE_NEWCGROUP | abi.CLONE_NEWTIME)
	if c.childMakesTime() {
		later |= abi.CLONE_NEWPID // see ownTime
	}
	if c.ns.newUser {
		later |= abi.CLONE_NEWIPC // see newNamespaces
	}
	return c.ns.create &^ later
}

func flagText(flags uint64) string {
	text := ""
	for _, t := range []specs.LinuxNamespaceType{"user", "mount", "pid", "network", "ipc", "uts", "cgroup", "time"} {
		if n := nsTypes[t]; flags&n.flag != 0 {
			text += "|" + n.text
		}
	}
	if text == "" {
		return "0"
	}
	return text[1:]
}

func (c *compiler) launch() error {
	c.b.In(plan.Parent, plan.Launch)
	for i := range c.ns.joins {
		if j := &c.ns.joins[i]; !c.entersItself(j) {
			c.setns(j, false)
		}
	}
	c.newTime()
	flags := c.born()
	c.b.Add(plan.Step{Op: plan.OpClone, Label: "fork the child", Source: "/linux/namespaces", Args: c.cloneArgs(flags),
		Why: "clone(2), namespaces(7)"})
	return nil
}

func (c *compiler) setns(j *join, mayFail bool) int {
	t := nsTypes[j.typ]
	s := plan.Step{Label: "join the " + string(j.typ) + " namespace", Source: j.source, Path: j.path, Why: "setns(2)", Sys: abi.SysSetns,
		Args: []plan.Arg{plan.R(j.reg), plan.T(t.flag, t.text)}}
	if mayFail {
		j.left = c.b.Temp("joined")
		s.Save, s.Tolerate = j.left, []abi.Errno{abi.EPERM}
	}
	return c.b.Add(s)
}

// isolate cuts the child off from the runtime and puts it into its cgroups and namespaces.
func (c *compiler) isolate() error {
	c.b.In(plan.Child, plan.Isolate)
	c.cutOff()
	c.joinCgroups()
	c.resetAffinity()
	c.joinClass()
	c.joinNamespaces()
	c.newNamespaces()
	c.setLabels()
	c.session()
	return nil
}

// cutOff is what every child does first.
func (c *compiler) cutOff() {
	c.b.Add(plan.Step{Label: "be not dumpable", Sys: abi.SysPrctl, Args: []plan.Arg{plan.T(abi.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), plan.V(0)},
		Why: "CVE-2016-9962: nobody in the container may trace us or open our files"})
	c.b.Add(plan.Step{Op: plan.OpCloseAll, Label: "close the runtime's descriptors", Keep: c.keep,
		Why: "CVE-2024-21626; and a container that waits for its start holds nobody's connection or fifo"})
	if c.proc.Terminal {
		for n := range stdio {
			c.dup(c.b.Reg("null"), n)
		}
		c.close(c.b.Reg("null"), "/dev/null")
	} else {
		for n, name := range stdio {
			c.dup(c.b.Reg(name), n)
			c.close(c.b.Reg(name), name)
		}
	}
	c.b.Add(plan.Step{Label: "have no umask", Sys: abi.SysUmask, Args: []plan.Arg{plan.V(0)}, Why: "what is made gets the mode it is made with"})
}

func (c *compiler) dup(r plan.Reg, to int) {
	c.b.Add(plan.Step{Label: fmt.Sprintf("make it descriptor %d", to), Sys: abi.SysDup3, Args: []plan.Arg{plan.R(r), plan.V(uint64(to)), plan.V(0)}})
}

// joinNamespaces enters the namespaces with a path: all but user's with the rights of the host; then user's; then those that were refused, with
// the rights there.
func (c *compiler) joinNamespaces() {
	for i := range c.ns.joins {
		if j := &c.ns.joins[i]; c.entersItself(j) && j.typ != specs.UserNamespace {
			c.setns(j, c.ns.joinUser)
		}
	}
	if !c.ns.joinUser {
		return
	}
	for i := range c.ns.joins {
		if j := &c.ns.joins[i]; j.typ == specs.UserNamespace {
			c.setns(j, false)
		}
	}
	for i := range c.ns.joins {
		j := &c.ns.joins[i]
		if j.left == 0 {
			continue
		}
		done := c.b.Label()
		n := c.b.Add(plan.Step{Label: "was it joined", Op: plan.OpCheck, Args: []plan.Arg{plan.R(j.left)}, Mask: 1 << 63, Equal: 1 << 63,
			Errno: abi.EEXIST, Tolerate: []abi.Errno{abi.EEXIST}})
		c.b.OnErr(n, done)
		again := *j
		c.setns(&again, false)
		c.b.Place(done)
	}
	c.becomeRoot()
	c.ownNamespaces()
}

// newNamespaces completes a new user namespace, and makes the cgroup namespace, whose root is the cgroup that the child is in by now.
func (c *compiler) newNamespaces() {
	if c.ns.newUser {
		uids, gids := string(spec.IDMap(c.spec.Linux.UIDMappings)), string(spec.IDMap(c.spec.Linux.GIDMappings))
		c.visible(func() {
			c.parentTurn(plan.Isolate, func() {
				c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallIDMap, Label: "write the maps of ids", Source: "/linux/uidMappings", Why: "user_namespaces(7)",
					Args: []plan.Arg{plan.R(c.b.Reg(plan.RegPid)), c.b.Str(uids), c.b.Str(gids)}})
			})
		})
		c.becomeRoot()
		c.ownTime()
		if c.ns.create&abi.CLONE_NEWIPC != 0 {
			c.b.Add(plan.Step{Label: "make the ipc namespace", Source: "/linux/namespaces", Why: "mq_overview(7): the root of its message queues is of who makes it, and must be mapped",
				Sys: abi.SysUnshare, Args: []plan.Arg{plan.T(abi.CLONE_NEWIPC, "CLONE_NEWIPC")}})
		}
	}
	if c.ns.create&abi.CLONE_NEWCGROUP != 0 {
		c.b.Add(plan.Step{Label: "make a cgroup namespace", Source: "/linux/namespaces", Why: "cgroup_namespaces(7)", Sys: abi.SysUnshare,
			Args: []plan.Arg{plan.T(abi.CLONE_NEWCGROUP, "CLONE_NEWCGROUP")}})
	}
}

// ownNamespaces makes the new namespaces of a container that joined its user namespace: they are to belong to that one. A new pid namespace is
// for children only, so the child clones itself once more, as a brother (CLONE_PARENT).
func (c *compiler) ownNamespaces() {
	rest := c.ns.create &^ (abi.CLONE_NEWCGROUP | abi.CLONE_NEWPID | abi.CLONE_NEWTIME)
	if rest != 0 {
		c.b.Add(plan.Step{Label: "make the namespaces", Source: "/linux/namespaces", Why: "unshare(2)", Sys: abi.SysUnshare, Args: []plan.Arg{plan.T(rest, flagText(rest))}})
	}
	if c.childMakesTime() {
		c.unshareTime()
	}
	joinsPids := slices.ContainsFunc(c.ns.joins, func(j join) bool { return j.typ == specs.PIDNamespace && c.entersItself(&j) })
	if joinsPids || c.ns.create&abi.CLONE_NEWPID != 0 || c.childMakesTime() {
		c.bornAgain("/linux/namespaces", c.ns.create&abi.CLONE_NEWPID)
	}
}

// becomeRoot takes the ids of root in a user namespace: until then the child's ids are not mapped, and it could make no file.
func (c *compiler) becomeRoot() {
	for _, sys := range []abi.Sys{abi.SysSetresgid, abi.SysSetresuid} {
		c.b.Add(plan.Step{Label: "become root of the user namespace", Why: "user_namespaces(7)", Sys: sys, Args: []plan.Arg{plan.V(0), plan.V(0), plan.V(0)}})
	}
}

// session gives the child a session and a keyring of its own.
func (c *compiler) session() {
	c.b.Add(plan.Step{Label: "make a session", Sys: abi.SysSetsid, Why: "setsid(2)"})
	if c.in.NoNewKeyring {
		return
	}
	c.b.Add(plan.Step{Label: "make a session keyring", Why: "keyctl_join_session_keyring(3): the runtime's keys are not the container's", Sys: abi.SysKeyctl,
		Args: []plan.Arg{plan.T(abi.KEYCTL_JOIN_SESSION_KEYRING, "KEYCTL_JOIN_SESSION_KEYRING"), c.b.Str("_ses." + c.in.ID)},

		Tolerate: []abi.Errno{abi.ENOSYS}}) // a kernel without keys has none to hide
}
