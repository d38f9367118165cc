package host

import (
	"os/exec"
	"strconv"
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

// TestInUserNamespace: another user namespace has another inode than the first, also one that maps every id to itself.
func TestInUserNamespace(t *testing.T) {
	const all = 1<<32 - 1
	every := []syscall.SysProcIDMap{{Size: all}}
	cmd := exec.Command("stat", "-L", "-c", "%i", "/proc/self/ns/user")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: every, GidMappings: every}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.TrimSpace(string(out)) == strconv.FormatUint(firstUserns, 10) {
		t.Error("a new user namespace looks like the first one")
	}
	if InUserNamespace() {
		t.Error("the tests are not in a user namespace")
	}
}
