package shimrun

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestInUserns runs containers as root of a user namespace, as rootless Podman does: the states are in the user's folder, devices are the host's, and a
// container without a cgroup of its own is told of.
func TestInUserns(t *testing.T) {
	dir := newPlace(t)
	bundle := newBundle(t, dir, "0")
	if err := os.Symlink("sleep", filepath.Join(bundle, "rootfs", "bin", "sh")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), `["sleep","0"]`, `["sh","-c","echo x > /dev/null; ! read x < /dev/null; echo in $HOSTNAME"]`, 1))
	if err := os.WriteFile(config, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("chown", "-R", fmt.Sprintf("%d:%d", user, user), dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	runtime := filepath.Join(dir, "run")
	script := "cd " + bundle + " && shimrun run one && shimrun list -q && ls -d $XDG_RUNTIME_DIR/shimrun"
	cmd := exec.Command("sh", "-ec", script)
	cmd.Env = []string{"PATH=" + filepath.Join(dir, "bin") + ":/usr/bin:/bin:/usr/sbin:/sbin", "XDG_RUNTIME_DIR=" + runtime}
	ids := []syscall.SysProcIDMap{{HostID: user, Size: 1000}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		Credential: &syscall.Credential{NoSetGroups: true}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.HasSuffix(string(out), "in shimrun\n"+runtime+"/shimrun\n") {
		t.Errorf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "no cgroup is delegated to us") {
		t.Errorf("nothing is said of the missing cgroup: %s", out)
	}
}
