package spec

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// process checks a process whose fields have been walked.
func (p *problems) process(here string, ps *specs.Process) {
	if len(ps.Args) == 0 {
		p.bad(here+"/args", "is missing: there is nothing to run")
	} else if ps.Args[0] == "" {
		p.bad(here+"/args/0", "the command is empty")
	}
	switch {
	case ps.Cwd == "":
		p.bad(here+"/cwd", "is missing")
	case !path.IsAbs(ps.Cwd):
		p.bad(here+"/cwd", "%q is not an absolute path", ps.Cwd)
	}
	for i, e := range ps.Env {
		// execve(2) would take any text; programs, and the next runtime in line, do not.
		name, _, ok := strings.Cut(e, "=")
		switch {
		case !ok:
			p.bad(at(here, "env", i), "%q has no =", e)
		case name == "":
			p.bad(at(here, "env", i), "%q has no name before the =", e)
		}
	}
	if b := ps.ConsoleSize; b != nil {
		if b.Height > maxConsole {
			p.bad(here+"/consoleSize/height", "%s", inRange(b.Height, 0, maxConsole))
		}
		if b.Width > maxConsole {
			p.bad(here+"/consoleSize/width", "%s", inRange(b.Width, 0, maxConsole))
		}
	}
	if s := ps.OOMScoreAdj; s != nil && (*s < -maxOOMScore || *s > maxOOMScore) {
		p.bad(here+"/oomScoreAdj", "%s", inRange(*s, -maxOOMScore, maxOOMScore))
	}
	if ps.Scheduler != nil {
		p.scheduler(here+"/scheduler", ps.Scheduler)
	}
	if ps.IOPriority != nil {
		p.ioPriority(here+"/ioPriority", ps.IOPriority)
	}
	if ps.ExecCPUAffinity != nil {
		p.affinity(here+"/execCPUAffinity", ps.ExecCPUAffinity)
	}
	p.user(here+"/user", &ps.User)
	p.rlimits(here+"/rlimits", ps.Rlimits)
	if ps.Capabilities != nil {
		p.capabilities(here+"/capabilities", ps.Capabilities)
	}
}

func (p *problems) user(here string, u *specs.User) {
	const none = ^uint32(0) // setresuid(2) takes it for "leave as it is"
	if u.UID == none {
		p.bad(here+"/uid", "%d is no id", u.UID)
	}
	if u.GID == none {
		p.bad(here+"/gid", "%d is no id", u.GID)
	}
	if u.Umask != nil && *u.Umask > maxUmask {
		p.bad(here+"/umask", "%#o is more than %#o", *u.Umask, maxUmask)
	}
	if len(u.AdditionalGids) > maxGroups {
		p.bad(here+"/additionalGids", "%d groups: at most %d", len(u.AdditionalGids), maxGroups)
	}
	if i := slices.Index(u.AdditionalGids, none); i >= 0 {
		p.bad(at(here, "additionalGids", i), "%d is no id", none)
	}
}

func (p *problems) rlimits(here string, limits []specs.POSIXRlimit) {
	seen := map[string]bool{}
	for i, l := range limits {
		switch _, known := RlimitNumber(l.Type); {
		case l.Type == "":
			p.bad(at(here, i, "type"), "is missing")
		case !known:
			p.bad(at(here, i, "type"), "%q is no resource of getrlimit(2), such as RLIMIT_NOFILE", l.Type)
		case seen[l.Type]:
			p.bad(at(here, i, "type"), "%s stands in the list before", l.Type)
		}
		seen[l.Type] = true
		if l.Soft > l.Hard {
			p.bad(at(here, i, "soft"), "%d is more than the hard limit %d", l.Soft, l.Hard)
		}
	}
}

func (p *problems) capabilities(here string, c *specs.LinuxCapabilities) {
	for _, set := range []struct {
		name string
		list []string
	}{{"bounding", c.Bounding}, {"effective", c.Effective}, {"inheritable", c.Inheritable}, {"permitted", c.Permitted}, {"ambient", c.Ambient}} {
		for i, name := range set.list {
			if _, ok := CapNumber(name); ok {
				continue
			}
			up := strings.ToUpper(name)
			if !strings.HasPrefix(up, "CAP_") {
				up = "CAP_" + up
			}
			if _, ok := CapNumber(up); ok {
				p.bad(at(here, set.name, i), "%q: write %s", name, up)
			} else {
				p.bad(at(here, set.name, i), "%q is no capability", name)
			}
		}
	}
	// The kernel would refuse these with EPERM (capset(2)). For the ambient set see AmbientMask.
	permitted := CapMask(c.Permitted)
	for i, name := range c.Effective {
		if CapMask([]string{name})&^permitted != 0 {
			p.bad(at(here, "effective", i), "%s is not in the permitted set", name)
		}
	}
}
