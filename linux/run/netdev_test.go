package run

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/children"
)

// ip runs busybox's ip on the host.
func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := hostCommand(busybox, append([]string{"ip"}, args...)...)
	if err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return out
}

// hostCommand runs a program of the host.
func hostCommand(name string, args ...string) (string, error) {
	return output(exec.Command(name, args...))
}

// output runs a command and returns what it writes to both streams. This process reaps orphans: its exit is its own because it is registered.
func output(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := children.StartCommand(cmd); err != nil {
		return "", err
	}
	err := children.WaitCommand(cmd)
	return out.String(), err
}

// netDevice makes a network device with addresses, of which the last is none to keep. Its end in the other direction goes with it.
func netDevice(t *testing.T, name string, up bool) {
	t.Helper()
	ip(t, "link", "add", name, "type", "veth")
	t.Cleanup(func() { _, _ = hostCommand(busybox, "ip", "link", "del", name) })
	ip(t, "link", "set", name, "mtu", "1400")
	ip(t, "addr", "add", "198.51.100.7/24", "broadcast", "198.51.100.255", "dev", name)
	ip(t, "addr", "add", "2001:db8::7/64", "dev", name)
	ip(t, "addr", "add", "203.0.113.9/24", "scope", "link", "dev", name)
	if up {
		ip(t, "link", "set", name, "up")
	}
}

var kept = []string{"mtu 1400", "inet 198.51.100.7/24 brd 198.51.100.255 scope global", "inet6 2001:db8::7/64 scope global"}

// wantMoved wants a device that was moved: the address that is good on its old link only is not there.
func wantMoved(t *testing.T, got string) {
	t.Helper()
	wantAddresses(t, got, true)
	if strings.Contains(got, "203.0.113.9") {
		t.Errorf("the address of the link is there:\n%s", got)
	}
}

func wantAddresses(t *testing.T, got string, up bool) {
	t.Helper()
	for _, want := range kept {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, ",UP") != up {
		t.Errorf("up should be %v:\n%s", up, got)
	}
}

// TestNetDevices: a device comes with its addresses, is up, and has its new name; the container with a joined namespace gets its own too.
func TestNetDevices(t *testing.T) {
	names := []string{fmt.Sprintf("sha%d", os.Getpid()), fmt.Sprintf("shb%d", os.Getpid()), fmt.Sprintf("shc%d", os.Getpid())}
	for i, name := range names {
		netDevice(t, name, i == 0)
	}
	box := sleeping(t, newDeps(t), func(s *specs.Spec) {
		s.Linux.NetDevices = map[string]specs.LinuxNetDevice{names[0]: {Name: "eth0"}, names[1]: {}}
	})
	for _, name := range []string{"eth0", names[1]} {
		wantMoved(t, execIn(t, box, nil, "/bin/busybox ip addr show "+name))
	}
	other := sleeping(t, newDeps(t), func(s *specs.Spec) {
		s.Linux.Namespaces[4].Path = fmt.Sprintf("/proc/%d/ns/net", box.Init().Pid())
		s.Linux.NetDevices = map[string]specs.LinuxNetDevice{names[2]: {Name: "eth%d"}}
	})
	wantMoved(t, execIn(t, other, nil, "/bin/busybox ip addr show eth1"))
}

// TestNetDevicesRestored: after a create that fails the host has its devices again, as they were.
func TestNetDevicesRestored(t *testing.T) {
	name := fmt.Sprintf("shd%d", os.Getpid())
	for _, up := range []bool{true, false} {
		netDevice(t, name, up)
		for want, edit := range map[string]func(*specs.Spec){
			"there is a network device lo already":             func(s *specs.Spec) { s.Linux.NetDevices[name] = specs.LinuxNetDevice{Name: "lo"} },
			"no-such\": executable file not found":             func(s *specs.Spec) { s.Process.Args = []string{"no-such"} },
			"network device no-such: no such device":           func(s *specs.Spec) { s.Linux.NetDevices["no-such"] = specs.LinuxNetDevice{} },
			"(/linux/netDevices/lo): move_net_device: invalid": func(s *specs.Spec) { s.Linux.NetDevices["lo"] = specs.LinuxNetDevice{Name: "lo9"} },
		} {
			bundle := newBundle(t, func(s *specs.Spec) {
				s.Linux.NetDevices = map[string]specs.LinuxNetDevice{name: {Name: "eth7"}}
				edit(s)
			})
			before := takeTrace(t, bundle)
			_, err := Create(t.Context(), newDeps(t), request(bundle))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
			noTrace(t, before, bundle)
			wantAddresses(t, ip(t, "addr", "show", name), up)
		}
		ip(t, "link", "del", name)
	}
}
