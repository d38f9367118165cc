package files

import (
	"path"
	"strings"
)

// Enabling is a write to a cgroup.subtree_control that gives controllers to the children.
type Enabling struct {
	Dir  string // of the cgroup
	File string // absolute
	All  string // the write of all at once
	Full string // what the file has when all are given
	// Each is the same one controller a write, for when the kernel refuses All: some do not go into this subtree (threaded cgroups, cpu with
	// realtime processes). Which of them the container needs is seen when its files are written.
	Each []string
}

// Enable returns what makes the controllers of the v2 directory d available in it: a write for the mount and each cgroup between, the outermost
// first, each after its directory is made. A controller that is enabled already costs the kernel nothing.
func Enable(d Dir) []Enabling {
	if !d.Unified || len(d.Controllers) == 0 {
		return nil
	}
	var e Enabling
	for _, c := range d.Controllers {
		e.Each = append(e.Each, "+"+c)
		e.All += " +" + c
	}
	e.All, e.Full = e.All[1:], strings.Join(d.Controllers, " ")+"\n"
	var list []Enabling
	for _, dir := range append([]string{d.Mount}, d.Parents()...) {
		if dir != d.Path {
			e.Dir, e.File = dir, path.Join(dir, "cgroup.subtree_control")
			list = append(list, e)
		}
	}
	return list
}
