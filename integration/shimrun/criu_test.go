package shimrun

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/integration/trace"
	"example.io/shim/internal/need"
)

// patience is how long something of CRIU's may take.
var patience = trace.Limit(10 * time.Second)

// moving is a bundle with a shell in it, whose container is dumped and restored.
type moving struct {
	t                  *testing.T
	dir, bundle, id    string
	global             []string // options before the command
	images             string
	numbers            chan int
	seen               int // the last number
	ours, theirs, null *os.File
}

// counts makes a container's process count, after what script does before.
func counts(script string) string {
	return script + "; i=0; while :; do i=$((i+1)); echo $i; sleep 0.2; done"
}

// newMoving makes a bundle whose process is a shell with that script. edit may change config.json.
func newMoving(t *testing.T, script string, edit func(config map[string]any)) *moving {
	t.Helper()
	need.WorkingCriu(t)
	m := &moving{t: t, dir: newPlace(t), id: "moving-" + strconv.Itoa(os.Getpid())}
	m.bundle, m.images = newBundle(t, m.dir, "1"), filepath.Join(m.dir, "images")
	for _, name := range []string{"busybox", "sh", "sleep", "nc", "cat", "logger", "ls", "stty", "head", "tr", "true", "netstat", "ln"} {
		if err := os.Symlink("sleep", filepath.Join(m.bundle, "rootfs/bin", name)); err != nil && name != "sleep" {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(m.bundle, "rootfs/tmp"), 0o777); err != nil {
		t.Fatal(err)
	}
	m.edit(func(config map[string]any) {
		config["process"].(map[string]any)["args"] = []string{"sh", "-c", script}
		config["root"].(map[string]any)["readonly"] = false
		if edit != nil {
			edit(config)
		}
	})
	var err error
	if m.null, err = os.Open(os.DevNull); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.command("delete", "--force", m.id).Run()
		_ = m.command("delete", "--force", m.id+"-2").Run()
		m.null.Close()
		m.closePipe()
	})
	return m
}

// edit changes config.json.
func (m *moving) edit(f func(config map[string]any)) {
	m.t.Helper()
	editConfig(m.t, m.bundle, f)
}

func (m *moving) command(args ...string) *exec.Cmd {
	return command(m.dir, append(slices.Clone(m.global), args...)...)
}

func (m *moving) closePipe() {
	if m.ours != nil {
		m.ours.Close()
		m.theirs.Close()
	}
}

// launch runs a command that makes the container, with a new pipe as its output. A terminal of ours could not be dumped.
func (m *moving) launch(args ...string) {
	m.t.Helper()
	m.closePipe()
	var err error
	if m.ours, m.theirs, err = os.Pipe(); err != nil {
		m.t.Fatal(err)
	}
	cmd := m.command(args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = m.bundle, m.null, m.theirs, m.theirs
	numbers := make(chan int, 10000)
	m.numbers = numbers
	said := &strings.Builder{}
	go func(r *os.File) {
		defer close(numbers)
		for s := bufio.NewScanner(r); s.Scan(); {
			if n, err := strconv.Atoi(strings.TrimSpace(s.Text())); err == nil {
				numbers <- n
			} else {
				said.WriteString(s.Text() + "\n")
			}
		}
	}(m.ours)
	if err := runLimited(cmd); err != nil {
		m.theirs.Close()
		_ = m.ours.SetReadDeadline(time.Now().Add(time.Second)) // who is left has the other end
		for range numbers {
		}
		m.t.Fatalf("shimrun %s: %v: %s", strings.Join(args, " "), err, said)
	}
}

// runLimited runs a command, and kills one that hangs.
func runLimited(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	defer time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() }).Stop()
	return cmd.Wait()
}

func (m *moving) run() {
	m.t.Helper()
	m.launch("run", "-d", "-b", m.bundle, m.id)
}

// number waits for a number that is at least min.
func (m *moving) number(min int) int {
	m.t.Helper()
	for end := time.After(patience); ; {
		select {
		case n, ok := <-m.numbers:
			if !ok {
				m.t.Fatalf("the output has ended before %d", min)
			}
			m.seen = n
			if n >= min {
				return n
			}
		case <-end:
			m.t.Fatalf("no number %d in %s", min, patience)
		}
	}
}

// do runs a command that is to succeed, and returns what it prints.
func (m *moving) do(args ...string) string {
	m.t.Helper()
	out, err := m.try(args...)
	if err != nil {
		m.t.Fatalf("shimrun %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a command. Its output is a file: a container that is left would hold a pipe open.
func (m *moving) try(args ...string) (string, error) {
	m.t.Helper()
	out, err := os.CreateTemp(m.dir, "output")
	if err != nil {
		m.t.Fatal(err)
	}
	defer out.Close()
	cmd := m.command(args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = m.bundle, out, out
	ended := runLimited(cmd)
	text, err := os.ReadFile(out.Name())
	if err != nil {
		m.t.Fatal(err)
	}
	return string(text), ended
}

// refused runs a command that is to fail with that text.
func (m *moving) refused(text string, args ...string) {
	m.t.Helper()
	if out, err := m.try(args...); err == nil || !strings.Contains(out, text) {
		m.t.Errorf("shimrun %s: %v: %q, want %q", strings.Join(args, " "), err, out, text)
	}
}

// checkpoint ends the container by a dump with these options, and returns the last number that it wrote.
func (m *moving) checkpoint(options ...string) int {
	m.t.Helper()
	m.do(append(append([]string{"checkpoint", "--image-path", m.images}, options...), m.id)...)
	m.theirs.Close()
	for n := range m.numbers {
		m.seen = n
	}
	m.refused("does not exist", "state", m.id)
	return m.seen
}

// restore restores the container, whose count is to go on after last.
func (m *moving) restore(last int, options ...string) {
	m.t.Helper()
	m.launch(append(append([]string{"restore", "-d", "-b", m.bundle, "--image-path", m.images}, options...), m.id)...)
	if n := m.number(0); n < last || n > last+1 {
		m.t.Errorf("it goes on at %d after %d", n, last)
	}
	m.number(last + 2)
}

// status returns what state says.
func (m *moving) status(id string) (status string, pid int) {
	m.t.Helper()
	var s struct {
		Status string `json:"status"`
		Pid    int    `json:"pid"`
	}
	if err := json.Unmarshal([]byte(m.do("state", id)), &s); err != nil {
		m.t.Fatal(err)
	}
	return s.Status, s.Pid
}

// gone ends the container; nothing may be left of it.
func (m *moving) gone() {
	m.t.Helper()
	m.do("delete", "--force", m.id)
	var rest []string
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		if rest = left(m.t, m.dir, m.id, "none"); len(rest) == 0 {
			return
		}
		if time.Now().After(end) {
			m.t.Fatalf("left: %q", rest)
		}
	}
}

// TestCriuRoundTrip is what people type, and the states that they see between.
func TestCriuRoundTrip(t *testing.T) {
	m := newMoving(t, counts("true"), nil)
	m.do("create", "-b", m.bundle, m.id)
	m.refused("Container cannot be checkpointed in created state", "checkpoint", m.id)
	m.do("delete", "--force", m.id)
	m.run()
	m.number(2)
	m.refused("does not exist", "checkpoint", "--image-path", m.images, m.id+"-none")
	m.refused("it is none of ignore, none,", "checkpoint", "--image-path", m.images, "--manage-cgroups-mode", "firm", m.id)
	m.refused("--parent-path", "checkpoint", "--image-path", m.images, "--parent-path", m.dir, m.id)
	m.refused("--parent-path", "checkpoint", "--image-path", m.images, "--parent-path", "../none", m.id)
	m.do("checkpoint", "--image-path", filepath.Join(m.dir, "live"), "--leave-running", m.id)
	m.number(m.number(0) + 2)
	m.do("pause", m.id)
	m.do("checkpoint", "--image-path", filepath.Join(m.dir, "paused"), "--leave-running", m.id)
	if s, _ := m.status(m.id); s != "paused" {
		t.Errorf("after the dump of a paused container it is %s", s)
	}
	m.do("resume", m.id)
	m.number(m.number(0) + 2)
	work, pidFile := filepath.Join(m.dir, "work"), filepath.Join(m.dir, "pid")
	child := "1"
	for range 3 {
		last := m.checkpoint("--work-path", work)
		m.restore(last, "--work-path", work, "--pid-file", pidFile)
		s, pid := m.status(m.id)
		if data, err := os.ReadFile(pidFile); err != nil || s != "running" || string(data) != strconv.Itoa(pid) {
			t.Errorf("restored: %s, pid %d, in the file %q, %v", s, pid, data, err)
		}
		for _, log := range []string{"dump.log", "restore.log"} {
			if _, err := os.Stat(filepath.Join(work, log)); err != nil {
				t.Error(err)
			}
		}
		if out := m.do("exec", m.id, "/bin/cat", "/proc/1/cmdline"); !strings.Contains(out, "echo $i") {
			t.Errorf("exec: %q", out)
		}
		// What an exec has left goes along the next time.
		m.do("exec", m.id, "/bin/ls", "/proc/"+child)
		child = strings.TrimSpace(m.do("exec", m.id, "/bin/sh", "-c", "sleep 1000 </dev/null >/dev/null 2>&1 & echo $!"))
	}
	m.refused("already exists", "restore", "-d", "-b", m.bundle, "--image-path", m.images, m.id)
	m.gone()
	m.refused("not the images", "restore", "-d", "-b", m.bundle, "--image-path", work, m.id)
}

// TestCriuForeground: without --detach restore waits, and ends as the container does.
func TestCriuForeground(t *testing.T) {
	m := newMoving(t, "trap 'exit 7' TERM; "+counts("true"), nil)
	m.run()
	last := m.checkpoint()
	cmd := m.command("restore", "-b", m.bundle, "--image-path", m.images, m.id)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = m.null
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if n, err := strconv.Atoi(lines.Text()); err == nil && n > last+1 {
			break
		}
	}
	_ = cmd.Process.Signal(unix.SIGTERM)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("restore has ended with %v", err)
	}
	m.refused("does not exist", "state", m.id)
}

// TestCriuConsole: the terminal of a container that is left alone goes to who listens at the socket, again and again.
func TestCriuConsole(t *testing.T) {
	m := newMoving(t, "stty -echo; n=0; while read x; do n=$((n+x)); echo sum $n; done", func(config map[string]any) {
		config["process"].(map[string]any)["terminal"] = true
	})
	socket := filepath.Join(m.dir, "console")
	var console *os.File // whose end is the end of the process
	add := func(x, want int, args ...string) {
		t.Helper()
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		m.do(append(args, "--console-socket", socket, m.id)...)
		if console != nil {
			console.Close()
		}
		console = receiveConsole(t, l)
		fmt.Fprintln(console, x)
		text, buf := "", make([]byte, 1000)
		_ = console.SetReadDeadline(time.Now().Add(patience))
		for !strings.Contains(text, fmt.Sprintf("sum %d\r\n", want)) {
			n, err := console.Read(buf)
			if err != nil {
				t.Fatalf("%q, want %d: %v", text, want, err)
			}
			text += string(buf[:n])
		}
	}
	add(40, 40, "run", "-d", "-b", m.bundle)
	for _, want := range []int{42, 44} {
		m.do("checkpoint", "--image-path", m.images, m.id)
		add(2, want, "restore", "-d", "-b", m.bundle, "--image-path", m.images)
	}
	defer console.Close()
	m.refused("needs --console-socket", "restore", "-d", "-b", m.bundle, "--image-path", m.images, m.id+"-2")
	m.gone()
}

// receiveConsole takes a terminal's master from who connects.
func receiveConsole(t *testing.T, l *net.UnixListener) *os.File {
	t.Helper()
	_ = l.SetDeadline(time.Now().Add(patience))
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	list, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fds[0]), "console")
}

// TestCriuRunc: what runc has dumped is restored, and runc restores what was dumped here.
func TestCriuRunc(t *testing.T) {
	m := newMoving(t, counts("true"), nil)
	r, w, err := os.Pipe() // runc gives back streams that are pipes
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	m.null.Close()
	m.null = r
	ours := program
	defer func() { program = ours }()
	peer, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	for _, first := range []string{peer, ours} {
		program = first
		m.run()
		m.do("checkpoint", "--image-path", m.images, "--work-path", m.dir, m.id)
		m.theirs.Close()
		for n := range m.numbers {
			m.seen = n
		}
		last := m.seen
		program = map[string]string{peer: ours, ours: peer}[first]
		m.restore(last, "--work-path", m.dir)
		m.do("delete", "--force", m.id)
	}
	program = ours
	m.gone()
}
