package run

import (
	"errors"
	"time"

	"example.io/shim/linux/cgroup"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/quickjson"
)

// The state is written in each container's life, and read by each later command: by encoding/json, tables of its types would cost more than the
// rest. The form is encoding/json's; members that few containers have are written by it, and a state with them is read by it.

// stateRoom is how long a usual state is, nine hierarchies twice and a configuration.
const stateRoom = 8 << 10

func (s *State) marshal() ([]byte, error) {
	w := quickjson.NewWriter(stateRoom)
	w.Uint("version", uint64(s.Version))
	w.String("id", s.ID)
	w.String("namespace", s.Namespace)
	w.String("bundle", s.Bundle)
	w.String("rootfs", s.Rootfs)
	w.Bool("rootfsMounted", s.MountsMade)
	if s.OnHost > 0 {
		w.Uint("onHost", uint64(s.OnHost))
	}
	w.Value(appendDirs(w.Name("cgroupDirs"), s.CgroupDirs))
	errs := []error{writeCgroup(w, s.Cgroup)}
	if len(s.Resctrl) > 0 {
		w.Strings("resctrl", s.Resctrl)
	}
	s.writeStarted(w)
	b := append(w.Name("created"), '"')
	w.Value(append(s.Created.AppendFormat(b, time.RFC3339Nano), '"'))
	if len(s.Poststop) > 0 {
		errs = append(errs, w.Any("poststop", s.Poststop))
	}
	if len(s.Annotations) > 0 {
		errs = append(errs, w.Any("annotations", s.Annotations))
	}
	if s.UID != 0 {
		w.Uint("uid", uint64(s.UID))
	}
	if s.NoNewKeyring {
		w.Bool("noNewKeyring", true)
	}
	if len(s.Config) > 0 {
		w.Raw("config", s.Config)
	}
	if len(s.StartSteps) > 0 {
		errs = append(errs, w.Any("startSteps", s.StartSteps))
	}
	return w.End(), errors.Join(errs...)
}

// marshalStarted is what is known of a container once its process exists.
func (s *State) marshalStarted() []byte {
	w := quickjson.NewWriter(0)
	s.writeStarted(w)
	return w.End()
}

func (s *State) writeStarted(w *quickjson.Writer) {
	if s.Pid != 0 {
		w.Uint("pid", uint64(s.Pid))
	}
	if s.StartTime != 0 {
		w.Uint("startTime", s.StartTime)
	}
	if s.Restored {
		w.Bool("restored", true)
	}
	if s.Streams != [3]string{} {
		w.Strings("streams", s.Streams[:])
	}
}

func writeCgroup(w *quickjson.Writer, c cgroup.State) error {
	in := quickjson.NewWriter(stateRoom / 2)
	in.Uint("version", uint64(c.Version))
	if c.None {
		in.Bool("none", true)
	}
	in.Value(appendDirs(in.Name("dirs"), c.Dirs))
	var err error
	if c.Unit != nil {
		err = in.Any("unit", c.Unit)
	}
	w.Raw("cgroup", in.End())
	return err
}

func appendDirs(b []byte, dirs []files.Dir) []byte {
	if dirs == nil {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, d := range dirs {
		if i > 0 {
			b = append(b, ',')
		}
		w := quickjson.Append(b)
		if len(d.Controllers) > 0 {
			w.Strings("controllers", d.Controllers)
		}
		w.String("mount", d.Mount)
		w.String("path", d.Path)
		w.String("own", d.Own)
		if d.Unified {
			w.Bool("unified", true)
		}
		b = w.End()
	}
	return append(b, ']')
}

type reader = quickjson.Reader

func readStateOf(r *reader, v *State) {
	quickjson.Object(r, v, stateFields)
	if r.Another() {
		quickjson.Object(r, v, stateFields)
	}
}

var stateFields = []quickjson.Field[State]{
	{Name: "version", Read: func(r *reader, v *State) { quickjson.Int(r, &v.Version) }},
	{Name: "id", Read: func(r *reader, v *State) { quickjson.String(r, &v.ID) }},
	{Name: "namespace", Read: func(r *reader, v *State) { quickjson.String(r, &v.Namespace) }},
	{Name: "bundle", Read: func(r *reader, v *State) { quickjson.String(r, &v.Bundle) }},
	{Name: "rootfs", Read: func(r *reader, v *State) { quickjson.String(r, &v.Rootfs) }},
	{Name: "onHost", Read: func(r *reader, v *State) { quickjson.Int(r, &v.OnHost) }},
	{Name: "rootfsMounted", Read: func(r *reader, v *State) { quickjson.Bool(r, &v.MountsMade) }},
	{Name: "cgroupDirs", Read: func(r *reader, v *State) { quickjson.List(r, &v.CgroupDirs, readDir) }},
	{Name: "cgroup", Read: func(r *reader, v *State) { quickjson.Object(r, &v.Cgroup, cgroupFields) }},
	{Name: "pid", Read: func(r *reader, v *State) { quickjson.Int(r, &v.Pid) }},
	{Name: "startTime", Read: func(r *reader, v *State) { quickjson.Uint(r, &v.StartTime) }},
	{Name: "restored", Read: func(r *reader, v *State) { quickjson.Bool(r, &v.Restored) }},
	{Name: "streams", Read: readStreams},
	{Name: "created", Read: readCreated},
	{Name: "uid", Read: func(r *reader, v *State) { quickjson.Uint(r, &v.UID) }},
	{Name: "noNewKeyring", Read: func(r *reader, v *State) { quickjson.Bool(r, &v.NoNewKeyring) }},
	{Name: "config", Read: func(r *reader, v *State) { v.Config = r.Raw() }},
}

func readDir(r *reader, v *files.Dir) { quickjson.Object(r, v, dirFields) }

var dirFields = []quickjson.Field[files.Dir]{
	{Name: "controllers", Read: func(r *reader, v *files.Dir) { quickjson.Strings(r, &v.Controllers) }},
	{Name: "mount", Read: func(r *reader, v *files.Dir) { quickjson.String(r, &v.Mount) }},
	{Name: "path", Read: func(r *reader, v *files.Dir) { quickjson.String(r, &v.Path) }},
	{Name: "own", Read: func(r *reader, v *files.Dir) { quickjson.String(r, &v.Own) }},
	{Name: "unified", Read: func(r *reader, v *files.Dir) { quickjson.Bool(r, &v.Unified) }},
}

var cgroupFields = []quickjson.Field[cgroup.State]{
	{Name: "version", Read: func(r *reader, v *cgroup.State) { quickjson.Int(r, &v.Version) }},
	{Name: "none", Read: func(r *reader, v *cgroup.State) { quickjson.Bool(r, &v.None) }},
	{Name: "dirs", Read: func(r *reader, v *cgroup.State) { quickjson.List(r, &v.Dirs, readDir) }},
	{Name: "unit", Read: func(r *reader, v *cgroup.State) { quickjson.Pointer(r, &v.Unit, readUnit) }},
}

func readUnit(r *reader, v *unit.Unit) { quickjson.Object(r, v, unitFields) }

var unitFields = []quickjson.Field[unit.Unit]{
	{Name: "name", Read: func(r *reader, v *unit.Unit) { quickjson.String(r, &v.Name) }},
	{Name: "slice", Read: func(r *reader, v *unit.Unit) { quickjson.String(r, &v.Slice) }},
	{Name: "user", Read: func(r *reader, v *unit.Unit) { quickjson.Bool(r, &v.User) }},
}

func readStreams(r *reader, v *State) {
	var list []string
	quickjson.Strings(r, &list)
	if copy(v.Streams[:], list) != len(v.Streams) {
		r.Fail()
	}
}

func readCreated(r *reader, v *State) {
	var text string
	quickjson.String(r, &text)
	var err error
	if v.Created, err = time.Parse(time.RFC3339Nano, text); err != nil {
		r.Fail()
	}
}
