package host

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestParseSystemd(t *testing.T) {
	for text, want := range map[string]string{
		"0::/init.scope\n": "/",
		"5:memory:/\n1:name=systemd:/init.scope\n0::/init.scope\n":  "/",
		"5:memory:/docker/x\n1:name=systemd:/docker/x/init.scope\n": "/docker/x",
		"0::/docker/x/init.scope\n":                                 "/docker/x",
		"5:memory:/a\n":                                             "/",
		"0::/\n":                                                    "/",
	} {
		if got := parseSystemd([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got, err := SystemdCgroup(); err != nil || got == "" {
		t.Error(got, err)
	}
}

func TestInUserNamespace(t *testing.T) {
	cmd := exec.Command("cat", "/proc/self/uid_map")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: []syscall.SysProcIDMap{{HostID: 0, Size: 1}}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Join(strings.Fields(string(out)), " ") == "0 0 4294967295" {
		t.Error("a new user namespace looks like the first one")
	}
	if InUserNamespace() {
		t.Error("the tests are not in a user namespace")
	}
}
