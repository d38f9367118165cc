package self

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/leak"
)

// envRole makes the test binary play the program: "hello" says so; "wait" prints its pid and waits for the end of its
// stdin; "hold" executes its view as one that waits; "again" prints what ReadOnly
// returns to it, and executes that; "weak" does so without capabilities; "files" counts its descriptors of its own file.
const envRole = "SELF_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leak.Main(m)
}

func play(role string) error {
	switch role {
	case "hello":
		fmt.Print("hello")
		return nil
	case "wait":
		fmt.Printf("%10d", os.Getpid())
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case "hold":
		path, c, err := ReadOnly()
		if err != nil {
			return err
		}
		cmd := command(path, "wait")
		cmd.Stdin, cmd.Stdout = os.Stdin, os.Stdout
		return errors.Join(cmd.Run(), c.Close())
	case "weak":
		runtime.LockOSThread() // capabilities are a thread's
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &make([]unix.CapUserData, 2)[0]); err != nil {
			return err
		}
		fallthrough
	case "again":
		path, c, err := ReadOnly()
		if err != nil {
			return err
		}
		defer c.Close()
		out, err := command(path, "hello").Output()
		fmt.Printf("%s %s", path, out)
		return err
	case "files":
		exe, err := os.Stat("/proc/self/exe")
		if err != nil {
			return err
		}
		list, err := os.ReadDir("/proc/self/fd")
		n := 0
		for _, e := range list {
			if info, err := os.Stat("/proc/self/fd/" + e.Name()); err == nil && os.SameFile(info, exe) {
				n++
			}
		}
		fmt.Print(n)
		return err
	}
	return errors.New("no such role")
}

// command is the view of this program, or another path to it, in a role.
func command(path, role string) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Env = append(os.Environ(), envRole+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

func view(t *testing.T) string {
	t.Helper()
	path, c, err := ReadOnly()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return path
}

// tryWrite changes a file in all ways, to what it is.
func tryWrite(path string, size int) map[string]error {
	errs := map[string]error{}
	for name, flags := range map[string]int{"write": unix.O_WRONLY, "read and write": unix.O_RDWR, "append": unix.O_WRONLY | unix.O_APPEND} {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err == nil {
			unix.Close(fd)
		}
		errs[name] = err
	}
	errs["truncate"] = unix.Truncate(path, int64(size))
	errs["chmod"] = unix.Chmod(path, 0o755)
	errs["chown"] = unix.Chown(path, 0, 0)
	errs["utimes"] = unix.Utimes(path, make([]unix.Timeval, 2))
	return errs
}

// TestReadOnly lets a program execute itself, and attacks its file as a process does that was traced out of a container: by root with all
// capabilities, through /proc/PID/exe, while it runs and, by a descriptor that was kept, when it has ended. By the plain path that succeeds, or the
// test proves nothing.
func TestReadOnly(t *testing.T) {
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "program") // of which no other process runs
	if err := os.WriteFile(program, data, 0o755); err != nil {
		t.Fatal(err)
	}
	for role, want := range map[string]struct{ running, ended error }{"hold": {unix.EROFS, unix.EROFS}, "wait": {unix.ETXTBSY, nil}} {
		cmd := command(program, role)
		in, err1 := cmd.StdinPipe()
		out, err2 := cmd.StdoutPipe()
		if err := errors.Join(err1, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		pid := make([]byte, 10)
		if _, err := io.ReadFull(out, pid); err != nil {
			t.Error(err)
		}
		exe := "/proc/" + strings.TrimSpace(string(pid)) + "/exe"
		for what, err := range tryWrite(exe, len(data)) {
			busy := errors.Is(err, unix.ETXTBSY) // a file that runs is not opened for writing, wherever it is mounted
			if !errors.Is(err, want.running) && !busy && (want.ended != nil || err != nil) {
				t.Errorf("%s: %s while it runs: %v, want %v", role, what, err, want.running)
			}
		}
		kept, err := unix.Open(exe, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		for what, err := range tryWrite(fmt.Sprintf("/proc/self/fd/%d", kept), len(data)) {
			if !errors.Is(err, want.ended) {
				t.Errorf("%s: %s when it has ended: %v, want %v", role, what, err, want.ended)
			}
		}
		unix.Close(kept)
	}
}

// TestSameFile looks whether the view is our file, not a copy.
func TestSameFile(t *testing.T) {
	a, err1 := os.Stat(view(t))
	b, err2 := os.Stat("/proc/self/exe")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) {
		t.Error("the view is another file")
	}
}

// TestDescriptor: the program that is executed by the view does not inherit it, and Close gives it back.
func TestDescriptor(t *testing.T) {
	before := leak.Take().Descriptors()
	path, c, err := ReadOnly()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := command(path, "files").Output(); err != nil || string(out) != "0" {
		t.Errorf("the program has %q descriptors of its own file: %v", out, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if after := leak.Take().Descriptors(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// TestExecuted tries it in places where the view may not be made: the path that comes back is still this program.
func TestExecuted(t *testing.T) {
	plain, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, role, want string }{
		"from the plain path":                {plain, "again", "/proc/self/fd/"},
		"from the view":                      {view(t), "again", "/proc/self/"},
		"by one who must not mount":          {plain, "weak", "/proc/self/exe"},
		"from the view, by one who must not": {view(t), "weak", "/proc/self/exe"},
	} {
		out, err := command(c.path, c.role).Output()
		path, said, _ := strings.Cut(string(out), " ")
		if err != nil || !strings.HasPrefix(path, c.want) || said != "hello" {
			t.Errorf("%s: path %q, which executed says %q: %v", name, path, said, err)
		}
	}
}
