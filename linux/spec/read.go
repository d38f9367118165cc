package spec

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/quickjson"
)

// What is in nearly every configuration, and is carried out, is read by these tables. A member that is in none of them makes encoding/json read the whole document.

type reader = quickjson.Reader

func readSpec(r *reader, v *specs.Spec) { quickjson.Object(r, v, specFields) }

var specFields = []quickjson.Field[specs.Spec]{
	{Name: "ociVersion", Read: func(r *reader, v *specs.Spec) { quickjson.String(r, &v.Version) }},
	{Name: "process", Read: func(r *reader, v *specs.Spec) { quickjson.Pointer(r, &v.Process, readProcess) }},
	{Name: "root", Read: func(r *reader, v *specs.Spec) { quickjson.Pointer(r, &v.Root, readRoot) }},
	{Name: "hostname", Read: func(r *reader, v *specs.Spec) { quickjson.String(r, &v.Hostname) }},
	{Name: "domainname", Read: func(r *reader, v *specs.Spec) { quickjson.String(r, &v.Domainname) }},
	{Name: "mounts", Read: func(r *reader, v *specs.Spec) { quickjson.List(r, &v.Mounts, readMount) }},
	{Name: "hooks", Read: func(r *reader, v *specs.Spec) { quickjson.Pointer(r, &v.Hooks, readHooks) }},
	{Name: "annotations", Read: func(r *reader, v *specs.Spec) { quickjson.Map(r, &v.Annotations, quickjson.String) }},
	{Name: "linux", Read: func(r *reader, v *specs.Spec) { quickjson.Pointer(r, &v.Linux, readLinux) }},
}

func readProcess(r *reader, v *specs.Process) { quickjson.Object(r, v, processFields) }

var processFields = []quickjson.Field[specs.Process]{
	{Name: "terminal", Read: func(r *reader, v *specs.Process) { quickjson.Bool(r, &v.Terminal) }},
	{Name: "consoleSize", Read: func(r *reader, v *specs.Process) { quickjson.Pointer(r, &v.ConsoleSize, readBox) }},
	{Name: "user", Read: func(r *reader, v *specs.Process) { readUser(r, &v.User) }},
	{Name: "args", Read: func(r *reader, v *specs.Process) { quickjson.Strings(r, &v.Args) }},
	{Name: "env", Read: func(r *reader, v *specs.Process) { quickjson.Strings(r, &v.Env) }},
	{Name: "cwd", Read: func(r *reader, v *specs.Process) { quickjson.String(r, &v.Cwd) }},
	{Name: "capabilities", Read: func(r *reader, v *specs.Process) { quickjson.Pointer(r, &v.Capabilities, readCapabilities) }},
	{Name: "rlimits", Read: func(r *reader, v *specs.Process) { quickjson.List(r, &v.Rlimits, readRlimit) }},
	{Name: "noNewPrivileges", Read: func(r *reader, v *specs.Process) { quickjson.Bool(r, &v.NoNewPrivileges) }},
	{Name: "apparmorProfile", Read: func(r *reader, v *specs.Process) { quickjson.String(r, &v.ApparmorProfile) }},
	{Name: "oomScoreAdj", Read: func(r *reader, v *specs.Process) { quickjson.Pointer(r, &v.OOMScoreAdj, quickjson.Int) }},
	{Name: "selinuxLabel", Read: func(r *reader, v *specs.Process) { quickjson.String(r, &v.SelinuxLabel) }},
}

func readBox(r *reader, v *specs.Box) { quickjson.Object(r, v, boxFields) }

var boxFields = []quickjson.Field[specs.Box]{
	{Name: "height", Read: func(r *reader, v *specs.Box) { quickjson.Uint(r, &v.Height) }},
	{Name: "width", Read: func(r *reader, v *specs.Box) { quickjson.Uint(r, &v.Width) }},
}

func readUser(r *reader, v *specs.User) { quickjson.Object(r, v, userFields) }

var userFields = []quickjson.Field[specs.User]{
	{Name: "uid", Read: func(r *reader, v *specs.User) { quickjson.Uint(r, &v.UID) }},
	{Name: "gid", Read: func(r *reader, v *specs.User) { quickjson.Uint(r, &v.GID) }},
	{Name: "umask", Read: func(r *reader, v *specs.User) { quickjson.Pointer(r, &v.Umask, quickjson.Uint) }},
	{Name: "additionalGids", Read: func(r *reader, v *specs.User) { quickjson.List(r, &v.AdditionalGids, quickjson.Uint) }},
}

func readCapabilities(r *reader, v *specs.LinuxCapabilities) {
	quickjson.Object(r, v, capabilitiesFields)
}

var capabilitiesFields = []quickjson.Field[specs.LinuxCapabilities]{
	{Name: "bounding", Read: func(r *reader, v *specs.LinuxCapabilities) { quickjson.Strings(r, &v.Bounding) }},
	{Name: "effective", Read: func(r *reader, v *specs.LinuxCapabilities) { quickjson.Strings(r, &v.Effective) }},
	{Name: "inheritable", Read: func(r *reader, v *specs.LinuxCapabilities) { quickjson.Strings(r, &v.Inheritable) }},
	{Name: "permitted", Read: func(r *reader, v *specs.LinuxCapabilities) { quickjson.Strings(r, &v.Permitted) }},
	{Name: "ambient", Read: func(r *reader, v *specs.LinuxCapabilities) { quickjson.Strings(r, &v.Ambient) }},
}

func readRlimit(r *reader, v *specs.POSIXRlimit) { quickjson.Object(r, v, rlimitFields) }

var rlimitFields = []quickjson.Field[specs.POSIXRlimit]{
	{Name: "type", Read: func(r *reader, v *specs.POSIXRlimit) { quickjson.String(r, &v.Type) }},
	{Name: "hard", Read: func(r *reader, v *specs.POSIXRlimit) { quickjson.Uint(r, &v.Hard) }},
	{Name: "soft", Read: func(r *reader, v *specs.POSIXRlimit) { quickjson.Uint(r, &v.Soft) }},
}

func readRoot(r *reader, v *specs.Root) { quickjson.Object(r, v, rootFields) }

var rootFields = []quickjson.Field[specs.Root]{
	{Name: "path", Read: func(r *reader, v *specs.Root) { quickjson.String(r, &v.Path) }},
	{Name: "readonly", Read: func(r *reader, v *specs.Root) { quickjson.Bool(r, &v.Readonly) }},
}

func readMount(r *reader, v *specs.Mount) { quickjson.Object(r, v, mountFields) }

var mountFields = []quickjson.Field[specs.Mount]{
	{Name: "destination", Read: func(r *reader, v *specs.Mount) { quickjson.String(r, &v.Destination) }},
	{Name: "type", Read: func(r *reader, v *specs.Mount) { quickjson.String(r, &v.Type) }},
	{Name: "source", Read: func(r *reader, v *specs.Mount) { quickjson.String(r, &v.Source) }},
	{Name: "options", Read: func(r *reader, v *specs.Mount) { quickjson.Strings(r, &v.Options) }},
	{Name: "uidMappings", Read: func(r *reader, v *specs.Mount) { quickjson.List(r, &v.UIDMappings, readMapping) }},
	{Name: "gidMappings", Read: func(r *reader, v *specs.Mount) { quickjson.List(r, &v.GIDMappings, readMapping) }},
}

func readHooks(r *reader, v *specs.Hooks) { quickjson.Object(r, v, hooksFields) }

var hooksFields = []quickjson.Field[specs.Hooks]{
	{Name: "prestart", Read: func(r *reader, v *specs.Hooks) { quickjson.List(r, &v.Prestart, readHook) }},
	{Name: "createRuntime", Read: func(r *reader, v *specs.Hooks) { quickjson.List(r, &v.CreateRuntime, readHook) }},
	{Name: "createContainer", Read: func(r *reader, v *specs.Hooks) { quickjson.List(r, &v.CreateContainer, readHook) }},
	{Name: "startContainer", Read: func(r *reader, v *specs.Hooks) { quickjson.List(r, &v.StartContainer, readHook) }},
	{Name: "poststart", Read: func(r *reader, v *specs.Hooks) { quickjson.List(r, &v.Poststart, readHook) }},
	{Name: "poststop", Read: func(r *reader, v *specs.Hooks) { quickjson.List(r, &v.Poststop, readHook) }},
}

func readHook(r *reader, v *specs.Hook) { quickjson.Object(r, v, hookFields) }

var hookFields = []quickjson.Field[specs.Hook]{
	{Name: "path", Read: func(r *reader, v *specs.Hook) { quickjson.String(r, &v.Path) }},
	{Name: "args", Read: func(r *reader, v *specs.Hook) { quickjson.Strings(r, &v.Args) }},
	{Name: "env", Read: func(r *reader, v *specs.Hook) { quickjson.Strings(r, &v.Env) }},
	{Name: "timeout", Read: func(r *reader, v *specs.Hook) { quickjson.Pointer(r, &v.Timeout, quickjson.Int) }},
}
