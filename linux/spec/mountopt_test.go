package spec

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
)

func TestParseMountOptions(t *testing.T) {
	for _, c := range []struct {
		opts string // separated by spaces
		want MountOptions
	}{
		{"", MountOptions{}},
		{"defaults rw loud async", MountOptions{Clear: abi.MOUNT_ATTR_RDONLY, SuperClear: abi.MS_SILENT | abi.MS_SYNCHRONOUS}},
		{"nosuid noexec nodev ro", MountOptions{Set: abi.MOUNT_ATTR_NOSUID | abi.MOUNT_ATTR_NOEXEC | abi.MOUNT_ATTR_NODEV | abi.MOUNT_ATTR_RDONLY}},
		{"ro rw", MountOptions{Clear: abi.MOUNT_ATTR_RDONLY}},
		{"suid nosuid", MountOptions{Set: abi.MOUNT_ATTR_NOSUID}},
		{"strictatime", MountOptions{Set: abi.MOUNT_ATTR_STRICTATIME, Clear: abi.MOUNT_ATTR__ATIME}},
		{"noatime strictatime relatime", MountOptions{Clear: abi.MOUNT_ATTR__ATIME}},
		{"noatime atime", MountOptions{}},
		{"strictatime nodiratime nostrictatime", MountOptions{Set: abi.MOUNT_ATTR_NODIRATIME}},
		{"norelatime", MountOptions{}},
		{"nodiratime nosymfollow", MountOptions{Set: abi.MOUNT_ATTR_NODIRATIME | abi.MOUNT_ATTR_NOSYMFOLLOW}},
		{"rbind ro", MountOptions{Bind: true, Recursive: true, Set: abi.MOUNT_ATTR_RDONLY}},
		{"rbind rro rnoatime rsuid", MountOptions{Bind: true, Recursive: true, RecSet: abi.MOUNT_ATTR_RDONLY | abi.MOUNT_ATTR_NOATIME, RecClear: abi.MOUNT_ATTR__ATIME | abi.MOUNT_ATTR_NOSUID}},
		{"bind rslave shared", MountOptions{Bind: true, Propagation: []Propagation{{abi.MS_SLAVE, true}, {abi.MS_SHARED, false}}}},
		{"sync dirsync lazytime nolazytime", MountOptions{Super: abi.MS_SYNCHRONOUS | abi.MS_DIRSYNC, SuperClear: abi.MS_LAZYTIME}},
		{"tmpcopyup", MountOptions{TmpCopyUp: true}},
		{"idmap", MountOptions{IDMap: true}},
		{"ridmap", MountOptions{IDMap: true, RIDMap: true}},
		{"mode=755 newinstance size=", MountOptions{Data: []MountData{{"mode", "755", true, 0}, {"newinstance", "", false, 1}, {"size", "", true, 2}}}},
		{"nosuid mode=755,size=64k", MountOptions{Set: abi.MOUNT_ATTR_NOSUID, Data: []MountData{{"mode", "755", true, 1}, {"size", "64k", true, 1}}}},
		{`context="a:s0:c1,c2"`, MountOptions{Data: []MountData{{"context", `"a:s0:c1,c2"`, true, 0}}}},
		{`lowerdir=/a\,b:/c`, MountOptions{Data: []MountData{{"lowerdir", `/a\,b:/c`, true, 0}}}},
	} {
		got, err := ParseMountOptions(strings.Split(c.opts, " "))
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q:\ngot  %+v, %v\nwant %+v", c.opts, got, err, c.want)
		}
	}
	var oe *OptionError
	if _, err := ParseMountOptions([]string{"ro", "=x"}); !errors.As(err, &oe) || oe.Index != 1 {
		t.Errorf("got %v", err)
	}
	if s := (MountData{"a", "b", true, 0}).String() + (MountData{"c", "", false, 0}).String(); s != "a=bc" {
		t.Errorf("got %s", s)
	}
}

// TestMountOptionTable: set and clear of an option are exclusive, and every recursive option has its plain twin.
func TestMountOptionTable(t *testing.T) {
	for _, name := range MountOptionNames() {
		m, err := ParseMountOptions([]string{name})
		if err != nil || len(m.Data) > 0 {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
		if atime := uint64(abi.MOUNT_ATTR__ATIME); m.Set&m.Clear&^atime != 0 || m.RecSet&m.RecClear&^atime != 0 || m.Super&m.SuperClear != 0 {
			t.Errorf("%s sets and clears", name)
		}
		if e, _ := mountOption(name); e.rec {
			twin, ok := mountOption(name[1:])
			if twin.kind == optNoAtime { // mount_setattr(2) has no mode to take back
				twin.kind = optAtime
			}
			if !ok || twin.kind != e.kind || twin.flags != e.flags {
				t.Errorf("%s: its twin %s differs", name, name[1:])
			}
		}
	}
}

func FuzzParseMountOptions(f *testing.F) {
	f.Add("ro nosuid size=5,mode=1 =")
	f.Fuzz(func(t *testing.T, s string) {
		opts := strings.Split(s, " ")
		m, err := ParseMountOptions(opts)
		var oe *OptionError
		if err != nil && (!errors.As(err, &oe) || oe.Index >= len(opts)) {
			t.Errorf("%v", err)
		}
		for _, d := range m.Data {
			if d.Key == "" || d.Index >= len(opts) || !strings.Contains(opts[d.Index], d.String()) {
				t.Errorf("%q: %+v", s, d)
			}
		}
	})
}

func TestNames(t *testing.T) {
	for n := range LastCap + 1 {
		if got, ok := CapNumber(CapName(n)); !ok || got != n {
			t.Errorf("capability %d: %d", n, got)
		}
	}
	for name, n := range map[string]int{"CAP_CHOWN": 0, "CAP_SYS_ADMIN": 21, "CAP_SETFCAP": 31, "CAP_MAC_OVERRIDE": 32, "CAP_CHECKPOINT_RESTORE": 40} {
		if got, ok := CapNumber(name); !ok || got != n {
			t.Errorf("%s: %d", name, got)
		}
	}
	for name, n := range map[string]int{"RLIMIT_CPU": 0, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_AS": 9, "RLIMIT_RTTIME": 15} {
		if got, ok := RlimitNumber(name); !ok || got != n || RlimitName(n) != name {
			t.Errorf("%s: %d", name, got)
		}
	}
	if CapName(-1)+CapName(41)+RlimitName(-1)+RlimitName(16) != "" {
		t.Error("names beyond the ends")
	}
	if got := AmbientMask(&specs.LinuxCapabilities{Permitted: []string{"CAP_KILL", "CAP_CHOWN"}, Inheritable: []string{"CAP_KILL"}, Ambient: []string{"CAP_KILL", "CAP_CHOWN", "CAP_BPF"}}); got != 1<<5 {
		t.Errorf("ambient %#x", got)
	}
	if got := CapMask([]string{"CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "x"}); got != 1|1<<40 {
		t.Errorf("mask %#x", got)
	}
}

func TestIDs(t *testing.T) {
	m := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65535}}
	for _, c := range []struct {
		container, host uint32
		ok              bool
	}{{0, 1000, true}, {1, 100000, true}, {65535, 165534, true}, {65536, 0, false}} {
		if host, ok := ToHost(m, c.container); host != c.host || ok != c.ok {
			t.Errorf("ToHost(%d) = %d, %v", c.container, host, ok)
		}
		if back, ok := ToContainer(m, c.host); c.ok && (back != c.container || !ok) {
			t.Errorf("ToContainer(%d) = %d, %v", c.host, back, ok)
		}
	}
	if got := string(IDMap(m)); got != "0 1000 1\n1 100000 65535\n" {
		t.Errorf("got %q", got)
	}
	for name, want := range map[string]string{"net.ipv4.ip_forward": "net/ipv4/ip_forward", "net/ipv4/conf/eth0.7/x": "net/ipv4/conf/eth0.7/x", "net.ipv4.conf.eth0/7.x": "net/ipv4/conf/eth0.7/x", "a": "a"} {
		if got, ok := SysctlPath(name); got != want || !ok {
			t.Errorf("%s: %s", name, got)
		}
	}
}
