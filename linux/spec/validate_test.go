package spec

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// valid is the base of the cases: a user namespace is there so that maps can be tried.
const valid = `{"ociVersion": "1.2.0", "root": {"path": "rootfs"}, "hostname": "web",
 "process": {"args": ["sh"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 1, "gid": 1}},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
 "linux": {"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}], "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
  "namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network", "path": "/run/netns/a"}]}}`

// patched returns valid with the object p merged into it (RFC 7396): objects are merged, null removes.
func patched(t *testing.T, p string) []byte {
	t.Helper()
	var doc, patch map[string]any
	if err := json.Unmarshal([]byte(valid), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(p), &patch); err != nil {
		t.Fatalf("%s: %v", p, err)
	}
	merge(doc, patch)
	out, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func merge(doc, patch map[string]any) {
	for k, v := range patch {
		sub, isObject := v.(map[string]any)
		old, was := doc[k].(map[string]any)
		switch {
		case v == nil:
			delete(doc, k)
		case isObject && was:
			merge(old, sub)
		default:
			doc[k] = v
		}
	}
}

// TestRules: one case a rule. want is the one problem, "pointer: words"; "" for none. A * before it says that it is not carried out.
func TestRules(t *testing.T) {
	for _, c := range []struct{ patch, want string }{
		{`{}`, ""},
		{`{"ociVersion": null}`, "/ociVersion: is missing"},
		{`{"ociVersion": "2.0.0"}`, "/ociVersion: \"2.0.0\": this runtime knows version 1.x"},
		{`{"ociVersion": "1"}`, "/ociVersion: \"1\" is no version"},
		{`{"ociVersion": "1.0.2-dev"}`, ""},
		{`{"ociVersion": "1.9.9+build"}`, ""},
		{`{"linux": null, "hostname": null}`, "/linux: is missing"},
		{`{"windows": {"servicing": true}}`, "/windows: is not for Linux (windows)"},
		{`{"solaris": {"milestone": "x"}}`, "/solaris: is not for Linux"},
		{`{"vm": {"kernel": {"path": "/k"}}}`, "/vm: is not for Linux"},
		{`{"zos": {"namespaces": [{"type": "pid"}]}}`, "/zos: is not for Linux"},
		{`{"hooks": {"poststop": [{"path": "/x", "args": ["x", "y"], "env": ["A=b"], "timeout": 3}]}}`, ""},
		{`{"hooks": {"createRuntime": [{"path": "/x"}, {}]}}`, "/hooks/createRuntime/1/path: is missing"},
		{`{"hooks": {"startContainer": [{"path": "x"}]}}`, "/hooks/startContainer/0/path: \"x\" is not an absolute path"},
		{`{"hooks": {"poststart": [{"path": "/x", "timeout": 0}]}}`, "/hooks/poststart/0/timeout: 0 is not in 1 to 2147483647 seconds"},
		{`{"annotations": {"org.systemd.property.TimeoutStopUSec": "uint64 1"}}`, ""},
		{`{"annotations": {"io.kubernetes.cri.sandbox-id": "x"}}`, ""},
		{`{"annotations": {"": "x"}}`, "/annotations: a name is empty"},

		{`{"root": null}`, "/root: is missing"},
		{`{"root": {"path": ""}}`, "/root/path: is missing"},
		{`{"root": {"path": "a\u0000b"}}`, "/root/path: holds a NUL"},
		{`{"linux": {"sysctl": {"net.x\u0000": "1"}}}`, "/linux/sysctl: the name \"net.x\\x00\" holds a NUL"},

		{`{"process": null}`, "/process: is missing"},
		{`{"process": {"args": []}}`, "/process/args: is missing"},
		{`{"process": {"args": [""]}}`, "/process/args/0: the command is empty"},
		{`{"process": {"args": ["sh", "a\u0000"]}}`, "/process/args/1: holds a NUL"},
		{`{"process": {"cwd": ""}}`, "/process/cwd: is missing"},
		{`{"process": {"cwd": "srv"}}`, `/process/cwd: "srv" is not an absolute path`},
		{`{"process": {"env": ["A=1", "B"]}}`, `/process/env/1: "B" has no =`},
		{`{"process": {"env": ["=1"]}}`, `/process/env/0: "=1" has no name`},
		{`{"process": {"env": ["A="]}}`, ""},
		{`{"process": {"oomScoreAdj": 1001}}`, "/process/oomScoreAdj: 1001 is not in -1000 to 1000"},
		{`{"process": {"oomScoreAdj": -1001}}`, "/process/oomScoreAdj: -1001"},
		{`{"process": {"user": {"umask": 512}}}`, "/process/user/umask: 01000 is more than 0777"},
		{`{"process": {"user": {"username": "x"}}}`, "/process/user/username: is not for Linux"},
		{`{"process": {"consoleSize": {"height": 65536}}}`, "/process/consoleSize/height: 65536"},
		{`{"process": {"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}}`, `/process/rlimits/0/type: "RLIMIT_X" is no resource`},
		{`{"process": {"rlimits": [{"soft": 1, "hard": 1}]}}`, `/process/rlimits/0/type: is missing`},
		{`{"process": {"rlimits": [{"type": "RLIMIT_CPU"}, {"type": "RLIMIT_CPU"}]}}`, "/process/rlimits/1/type: RLIMIT_CPU stands in the list"},
		{`{"process": {"rlimits": [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]}}`, "/process/rlimits/0/soft: 2 is more than the hard limit 1"},
		{`{"process": {"capabilities": {"bounding": ["CAP_FLY"]}}}`, `/process/capabilities/bounding/0: "CAP_FLY" is no capability`},
		{`{"process": {"capabilities": {"bounding": ["cap_chown"]}}}`, `/process/capabilities/bounding/0: "cap_chown": write CAP_CHOWN`},
		{`{"process": {"capabilities": {"permitted": ["KILL"]}}}`, `/process/capabilities/permitted/0: "KILL": write CAP_KILL`},
		{`{"process": {"capabilities": {"effective": ["CAP_KILL"]}}}`, `/process/capabilities/effective/0: CAP_KILL is not in the permitted`},
		{`{"process": {"capabilities": {"permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]}}}`, ``},

		{`{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {"type": "net"}]}}`, `/linux/namespaces/3/type: "net" is no namespace`},
		{`{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {"type": "uts", "path": "/x"}]}}`, `/linux/namespaces/3/type: uts stands in the list`},
		{`{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {}]}}`, `/linux/namespaces/3/type: is missing`},
		{`{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {"type": "pid", "path": "x"}]}}`, `/linux/namespaces/3/path: "x" is not an absolute`},
		{`{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {"type": "time"}]}}`, ``},
		{`{"linux": {"namespaces": [{"type": "user"}, {"type": "uts"}]}}`, `*/linux/namespaces: has no mount namespace`},
		{`{"linux": {"uidMappings": null, "gidMappings": null, "maskedPaths": ["/proc/x"], "namespaces": [{"type": "uts"}]}}`, `*/linux/maskedPaths: unable to restrict`},
		{`{"linux": {"uidMappings": null, "gidMappings": null, "readonlyPaths": ["/proc/x"], "namespaces": [{"type": "uts"}]}}`, `*/linux/readonlyPaths: unable to restrict`},
		{`{"linux": {"uidMappings": null, "gidMappings": null, "namespaces": [{"type": "uts"}]}}`, ``},
		{`{"linux": {"namespaces": [{"type": "user"}, {"type": "mount"}]}}`, `/hostname: would rename the host`},
		{`{"hostname": null, "domainname": "d", "linux": {"namespaces": [{"type": "user"}, {"type": "mount"}]}}`, `/domainname: would rename the host`},
		{`{"linux": {"namespaces": [{"type": "user"}, {"type": "mount"}, {"type": "uts", "path": "/run/uts"}]}}`, ``},
		{`{"hostname": "` + strings.Repeat("a", 65) + `"}`, "/hostname: 65 bytes"},

		{`{"linux": {"uidMappings": null}}`, "/linux/uidMappings: is missing"},
		{`{"linux": {"gidMappings": [], "namespaces": [{"type": "mount"}, {"type": "uts"}]}}`, "/linux/uidMappings: the container has no user namespace"},
		{`{"linux": {"uidMappings": [{"hostID": 5, "size": 9}, {"containerID": 9, "hostID": 1000}]}}`, "/linux/uidMappings/1/size: is 0"},
		{`{"linux": {"uidMappings": [{"size": 9}, {"containerID": 8, "hostID": 100, "size": 2}]}}`, "/linux/uidMappings/1/containerID: overlaps with mapping 0"},
		{`{"linux": {"gidMappings": [{"size": 9}, {"containerID": 9, "hostID": 8, "size": 2}]}}`, "/linux/gidMappings/1/hostID: overlaps with mapping 0"},
		{`{"linux": {"uidMappings": [{"size": 9}, {"containerID": 4294967295, "hostID": 100, "size": 2}]}}`, "/linux/uidMappings/1/size: 2 ids from 4294967295 in the container"},
		{`{"linux": {"uidMappings": [{"containerID": 1, "hostID": 5, "size": 9}]}}`, "/linux/uidMappings: 0 is not mapped"},
		{`{"process": {"user": {"uid": 10}}}`, "/process/user/uid: 10 is not mapped"},
		{`{"process": {"user": {"gid": 10}}}`, "/process/user/gid: 10 is not mapped"},
		{`{"process": {"user": {"additionalGids": [1, 10]}}}`, "/process/user/additionalGids/1: 10 is not mapped"},

		{`{"linux": {"sysctl": {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.7/forwarding": "1", "fs.mqueue.msg_max": "9", "kernel.shmmax": "1", "user.max_user_namespaces": "1"}}}`, ""},
		{`{"linux": {"sysctl": {"kernel.panic": "1"}}}`, "/linux/sysctl/kernel.panic: belongs to no namespace"},
		{`{"linux": {"sysctl": {"kernel/panic": "1"}}}`, "/linux/sysctl/kernel~1panic: belongs to no namespace"},
		{`{"linux": {"sysctl": {"net.ipv4.ip_forward": "1", "net/ipv4/ip_forward": "0"}}}`, `/linux/sysctl/net~1ipv4~1ip_forward: is the same setting as "net.ipv4.ip_forward"`},
		{`{"linux": {"sysctl": {"net/../kernel/panic": "1"}}}`, "/linux/sysctl/net~1..~1kernel~1panic: is no name"},
		{`{"linux": {"sysctl": {"net..x": "1"}}}`, "/linux/sysctl/net..x: is no name"},
		{`{"linux": {"sysctl": {"kernel.hostname": "x"}}}`, "/linux/sysctl/kernel.hostname: contradicts the field /hostname"},
		{`{"hostname": null, "linux": {"sysctl": {"kernel.hostname": "x"}}}`, ""},
		{`{"linux": {"sysctl": {"kernel.sem": "1"}, "namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}]}}`, "/linux/sysctl/kernel.sem: would be set for the host: the container has no ipc"},
		{`{"linux": {"sysctl": {"net.x": "1"}, "namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}]}}`, "/linux/sysctl/net.x: would be set for the host: the container has no network"},

		{`{"mounts": [{"type": "tmpfs"}]}`, "/mounts/0/destination: is missing"},
		{`{"mounts": [{"type": "tmpfs", "destination": "a/../.."}]}`, "/mounts/0/destination: \"a/../..\" is the root"},
		{`{"mounts": [{"type": "tmpfs", "destination": "run"}]}`, ""},
		{`{"mounts": [{"destination": "/a"}]}`, "/mounts/0/type: is missing"},
		{`{"mounts": [{"destination": "/a", "type": "ext4", "source": "/b", "options": ["ro", "iversion"]}]}`, ""},
		{`{"mounts": [{"destination": "/a", "options": ["remount", "iversion"]}]}`, `*/mounts/0/options/1: iversion cannot be added`},
		{`{"mounts": [{"destination": "/a", "type": "ext4", "source": "/b", "options": ["remount", "iversion", "noiversion"]}]}`, ""},
		{`{"mounts": [{"destination": "/a", "type": "bind", "source": "/b"}]}`, `/mounts/0/type: "bind" needs bind or rbind`},
		{`{"mounts": [{"destination": "/a", "type": "bind", "source": "/b", "options": ["rbind", "rro", "rslave"]}]}`, ``},
		{`{"mounts": [{"destination": "/a", "options": ["bind"]}]}`, `/mounts/0/source: is missing`},
		{`{"mounts": [{"destination": "/a", "source": "/b", "options": ["bind", "ro", "size=5"]}]}`, `/mounts/0/options/2: "size=5" is neither`},
		{`{"mounts": [{"destination": "/a", "source": "/b", "options": ["sync", "bind"]}]}`, `/mounts/0/options/0: "sync" changes the file system`},
		{`{"mounts": [{"destination": "/a", "type": "tmpfs", "options": ["=x"]}]}`, `/mounts/0/options/0: "=x": nothing stands before`},
		{`{"mounts": [{"destination": "/a", "type": "tmpfs", "options": ["NOSUID"]}]}`, `/mounts/0/options/0: "NOSUID": options are case sensitive`},
		{`{"mounts": [{"destination": "/a", "type": "tmpfs", "options": ["remount", "ro"]}]}`, ""},
		{`{"mounts": [{"destination": "/a", "type": "tmpfs", "options": ["remount", "tmpcopyup"]}]}`, "/mounts/0/options: remount changes a mount that is there: neither mappings nor tmpcopyup go with it"},
		{`{"mounts": [{"destination": "/a", "source": "/b", "options": ["bind", "tmpcopyup"]}]}`, `/mounts/0/options: tmpcopyup is for tmpfs`},
		{`{"mounts": [{"destination": "/proc/self/attr", "source": "/b", "options": ["bind"]}]}`, `/mounts/0/destination: "/proc/self/attr": a mount below /proc`},
		{`{"mounts": [{"destination": "/proc/uptime", "source": "/b", "options": ["bind"]}]}`, ``},
		{`{"mounts": [{"destination": "/proc/pressure/io", "source": "/b", "options": ["bind"]}]}`, ``},

		{`{"linux": {"devices": [{"path": "/dev/x", "type": "q"}]}}`, `/linux/devices/0/type: "q" is none of`},
		{`{"linux": {"devices": [{"type": "c"}]}}`, `/linux/devices/0/path: is missing`},
		{`{"linux": {"devices": [{"path": "dev/x", "type": "c"}]}}`, `/linux/devices/0/path: "dev/x" is no absolute path`},
		{`{"linux": {"devices": [{"path": "/dev/x", "type": "c", "major": -1}]}}`, `/linux/devices/0/major: -1`},
		{`{"linux": {"devices": [{"path": "/dev/x", "type": "b", "minor": 1048576}]}}`, `/linux/devices/0/minor: 1048576`},
		{`{"linux": {"devices": [{"path": "/dev/x", "type": "p", "minor": 1}]}}`, `/linux/devices/0/major: a fifo has no`},
		{`{"linux": {"devices": [{"path": "/dev/x", "type": "c"}, {"path": "/dev//x", "type": "c"}]}}`, ``},
		{`{"linux": {"devices": [{"path": "/dev/x", "type": "c"}, {"path": "/dev/x", "type": "b"}]}}`, `/linux/devices/1/path: "/dev/x" stands in the list`},
		{`{"linux": {"devices": [{"path": "/dev/x", "type": "c", "fileMode": 8630}]}}`, ``},
		{`{"linux": {"devices": [{"path": "/dev/x", "type": "c", "fileMode": 65536}]}}`, `/linux/devices/0/fileMode: 0200000`},
		{`{"linux": {"rootfsPropagation": "rslave"}}`, ``},
		{`{"linux": {"rootfsPropagation": "none"}}`, `/linux/rootfsPropagation: "none" is none of`},
		{`{"linux": {"maskedPaths": ["/a", "b"]}}`, `/linux/maskedPaths/1: "b" is not an absolute`},
		{`{"linux": {"readonlyPaths": ["/"]}}`, `/linux/readonlyPaths/0: "/" is the whole`},

		{`{"linux": {"resources": {"devices": [{"type": "x"}]}}}`, `/linux/resources/devices/0/type: "x" is none`},
		{`{"linux": {"resources": {"devices": [{"access": "rx"}]}}}`, `/linux/resources/devices/0/access: "rx" is not`},
		{`{"linux": {"resources": {"devices": [{"major": -2}]}}}`, `/linux/resources/devices/0/major: -2`},
		{`{"linux": {"resources": {"memory": {"limit": -2}}}}`, `/linux/resources/memory/limit: -2 is less`},
		{`{"linux": {"resources": {"memory": {"limit": 100, "swap": 50}}}}`, `/linux/resources/memory/swap: 50 is memory and swap`},
		{`{"linux": {"resources": {"memory": {"swap": 50}}}}`, `/linux/resources/memory/swap: is memory and swap together`},
		{`{"linux": {"resources": {"memory": {"swappiness": 101}}}}`, `/linux/resources/memory/swappiness: 101`},
		{`{"linux": {"resources": {"memory": {"kernel": 0}}}}`, `*/linux/resources/memory/kernel: cannot be carried out`},
		{`{"linux": {"resources": {"memory": {"useHierarchy": false}}}}`, `*/linux/resources/memory/useHierarchy: cannot be false`},
		{`{"linux": {"resources": {"cpu": {"quota": 10}}}}`, `/linux/resources/cpu/quota: 10`},
		{`{"linux": {"resources": {"cpu": {"quota": -1, "cpus": "0-3,7"}}}}`, ``},
		{`{"linux": {"resources": {"cpu": {"period": 10}}}}`, `/linux/resources/cpu/period: 10`},
		{`{"linux": {"resources": {"cpu": {"idle": 2}}}}`, `/linux/resources/cpu/idle: 2`},
		{`{"linux": {"resources": {"cpu": {"cpus": "3-1"}}}}`, `/linux/resources/cpu/cpus: "3-1"`},
		{`{"linux": {"resources": {"cpu": {"mems": "a"}}}}`, `/linux/resources/cpu/mems: "a"`},
		{`{"linux": {"resources": {"pids": {"limit": -2}}}}`, `/linux/resources/pids/limit: -2`},
		{`{"linux": {"resources": {"pids": {"limit": 0}}}}`, ``},
		{`{"linux": {"resources": {"blockIO": {"weight": 5}}}}`, `/linux/resources/blockIO/weight: 5`},
		{`{"linux": {"resources": {"blockIO": {"leafWeight": 5}}}}`, `*/linux/resources/blockIO/leafWeight: cannot be carried out`},
		{`{"linux": {"resources": {"blockIO": {"throttleReadBpsDevice": [{"major": 5000}]}}}}`, `/linux/resources/blockIO/throttleReadBpsDevice/0/major: 5000`},
		{`{"linux": {"resources": {"hugepageLimits": [{"pageSize": "2M"}]}}}`, `/linux/resources/hugepageLimits/0/pageSize: "2M"`},
		{`{"linux": {"resources": {"unified": {"memory.high": "1"}}}}`, `*/linux/resources/unified: is for cgroup v2`},
		{`{"linux": {"resources": {"network": {"priorities": [{"name": ""}]}}}}`, `/linux/resources/network/priorities/0/name: ""`},
	} {
		s, err := Parse(patched(t, c.patch))
		if err != nil {
			t.Errorf("%s: %v", c.patch, err)
			continue
		}
		err = Validate(s, Options{CgroupVersion: 1})
		want, later := strings.CutPrefix(c.want, "*")
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", c.patch, err)
			}
			continue
		}
		var list Errors
		if !errors.As(err, &list) || len(list) != 1 || !strings.HasPrefix(list[0].Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", c.patch, err, want)
			continue
		}
		if errors.Is(err, errdefs.ErrNotImplemented) != later || errors.Is(err, errdefs.ErrInvalidArgument) == later {
			t.Errorf("%s: class of %v", c.patch, err)
		}
	}
}

func TestAllProblems(t *testing.T) {
	s, err := Parse([]byte(`{"linux": {"resources": {"memory": {"kernel": 1}}}, "process": {"args": ["a"]}}`))
	if err != nil {
		t.Fatal(err)
	}
	err = Validate(s, Options{})
	var list Errors
	if !errors.As(err, &list) || len(list) != 4 {
		t.Fatalf("got %v", err)
	}
	if list[3].Pointer != "/linux/resources/memory/kernel" {
		t.Errorf("what is not carried out comes behind what is wrong: %v", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	many := make(Errors, 20)
	for i := range many {
		many[i] = &FieldError{"/a", "b", errdefs.ErrInvalidArgument}
	}
	if !strings.HasSuffix(many.Error(), "; and 12 more") {
		t.Errorf("got %s", many)
	}
}

func TestValidateProcessAndResources(t *testing.T) {
	ps, err := ParseProcess([]byte(`{"args": [], "cwd": "/", "commandLine": "x"}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ValidateProcess(ps, Options{}).Error(), "/commandLine: is not for Linux (windows); /args: is missing: there is nothing to run"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r, err := ParseResources([]byte(`{"memory": {"swap": 5, "kernel": 5}, "pids": {"limit": -5}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ValidateResources(r, Options{}).Error(), "/pids/limit: -5 is less than -1; /memory/kernel: cannot be carried out (Linux 5.16 and later have no such limit)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
