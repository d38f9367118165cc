package shimrun

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// typed is one command of the page, with what it prints.
type typed struct {
	prompt, command string
	output          []string
	line            int
}

// page reads the commands of docs/shimrun.md.
func page(t *testing.T) []typed {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "docs", "shimrun.md"))
	if err != nil {
		t.Fatal(err)
	}
	var list []typed
	open := false
	for i, line := range strings.Split(string(data), "\n") {
		text, code := strings.CutPrefix(line, "    ")
		if !code {
			open = false
			continue
		}
		if prompt := text[:min(2, len(text))]; prompt == "# " || prompt == "$ " {
			list = append(list, typed{prompt: prompt, command: text[2:], line: i + 1})
			open = true
		} else if open {
			last := &list[len(list)-1]
			last.output = append(last.output, text)
		}
	}
	return list
}

// alike compares an output with the page's: "..." is anything, and runs of blanks are one.
func alike(want, got string) bool {
	parts := strings.Split(strings.Join(strings.Fields(want), " "), "...")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$").MatchString(strings.Join(strings.Fields(got), " "))
}

// shell is a bash that is talked to.
type shell struct {
	in  io.Writer
	out *bufio.Reader
}

// user is the plain user of the tests: one without an entry anywhere.
const user = 54321

func newShell(t *testing.T, dir string, plain bool) *shell {
	t.Helper()
	cmd := exec.Command("bash")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + dir + "/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + dir, "XDG_RUNTIME_DIR=" + dir + "/run"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // Go makes its mounts private
	if plain {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
		_ = r.Close()
	})
	s := &shell{in, bufio.NewReader(r)}
	if !plain { // root's states are where everybody's are: those of others are not to be seen
		if out := s.run(t, "mkdir -p /run/shimrun && mount -t tmpfs -o mode=700 tmpfs /run/shimrun"); len(out) > 0 {
			t.Fatalf("a place for the states: %q", out)
		}
		t.Cleanup(func() { s.run(t, "for id in $(shimrun list -q); do shimrun delete --force $id; done") }) // of a test that failed
	}
	return s
}

// run types a command and returns its lines.
func (s *shell) run(t *testing.T, command string) []string {
	t.Helper()
	const end = "--end-of-output--"
	if _, err := fmt.Fprintf(s.in, "%s\necho %s\n", command, end); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v after %q", command, err, lines)
		}
		if line = strings.TrimSuffix(line, "\n"); line == end {
			return lines
		}
		lines = append(lines, line)
	}
}

// newPlace makes a folder with the binary in it, that everybody can get at.
func newPlace(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "shimrun-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	data, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"bin", "run"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "shimrun"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestTutorial types what docs/shimrun.md says, and sees what it shows.
func TestTutorial(t *testing.T) {
	commands := page(t)
	if len(commands) < 30 {
		t.Fatalf("the page has %d commands: is it still read rightly?", len(commands))
	}
	places := map[string]*shell{}
	for _, c := range commands {
		if places[c.prompt] == nil {
			dir := newPlace(t)
			if c.prompt == "$ " {
				if err := os.Chown(dir, user, user); err != nil {
					t.Fatal(err)
				}
			}
			places[c.prompt] = newShell(t, dir, c.prompt == "$ ")
		}
		limit := time.AfterFunc(3*limit, func() { panic(fmt.Sprintf("line %d hangs: %s", c.line, c.command)) })
		got := places[c.prompt].run(t, c.command)
		limit.Stop()
		if len(got) != len(c.output) {
			t.Fatalf("docs/shimrun.md:%d: %s\nprinted %q\nthe page has %q", c.line, c.command, got, c.output)
		}
		for i := range got {
			if !alike(c.output[i], got[i]) {
				t.Errorf("docs/shimrun.md:%d: %s\nprinted  %s\nthe page %s", c.line, c.command, got[i], c.output[i])
			}
		}
	}
}
