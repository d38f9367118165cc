package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestAptWaits holds the lock of apt's lists, as another apt does, in a folder of the test's own: apt_update waits for its end, and fails at once for another reason.
func TestAptWaits(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"state/lists/partial", "cache/archives/partial", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	config := write("apt.conf", sprintf("Dir::State %q;\nDir::Cache %q;\nDir::Etc::sourcelist %q;\nDir::Etc::sourceparts %q;\nDir::State::status %q;\nAPT::Sandbox::User \"root\";\n",
		dir+"/state", dir+"/cache", dir+"/sources", dir+"/etc", write("status", "")))
	write("sources", "")
	lock, err := os.Create(filepath.Join(dir, "state/lists/lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	held := syscall.Flock_t{Type: syscall.F_WRLCK}
	if err := syscall.FcntlFlock(lock.Fd(), syscall.F_SETLK, &held); err != nil {
		t.Fatal(err)
	}
	const hold = 1500 * time.Millisecond
	began := time.Now()
	cmd := exec.Command("bash", "-c", ". integration/setup/apt.sh; apt_update")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "APT_CONFIG="+config)
	time.AfterFunc(hold, func() {
		held.Type = syscall.F_UNLCK
		_ = syscall.FcntlFlock(lock.Fd(), syscall.F_SETLK, &held)
	})
	if out, err := cmd.CombinedOutput(); err != nil || time.Since(began) < hold {
		t.Errorf("after %v: %v\n%s", time.Since(began), err, out)
	}
	write("sources", "nonsense\n")
	cmd = exec.Command("bash", "-c", ". integration/setup/apt.sh; apt_update")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "APT_CONFIG="+config)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "sources") {
		t.Errorf("with a bad list of sources: %v\n%s", err, out)
	}
}
