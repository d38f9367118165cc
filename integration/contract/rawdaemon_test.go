package contract

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/integration/daemon"
)

// logReader reads the log fifo as containerd does.
type logReader struct {
	t    *testing.T
	file *os.File
	data []byte
}

func (r *raw) readLog() *logReader {
	r.t.Helper()
	f, err := os.OpenFile(filepath.Join(r.bundle, "log"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	r.ok(err)
	r.t.Cleanup(func() { _ = f.Close() })
	return &logReader{t: r.t, file: f}
}

// until reads until text was read.
func (l *logReader) until(text string) {
	l.t.Helper()
	_ = l.file.SetReadDeadline(time.Now().Add(stepLimit))
	buf := make([]byte, 64<<10)
	for !bytes.Contains(l.data, []byte(text)) {
		n, err := l.file.Read(buf)
		if err != nil {
			l.t.Fatalf("%q is not in the log: %v: %.2000q", text, err, l.data)
		}
		l.data = append(l.data, buf[:n]...)
	}
}

// TestLog: a log that nobody reads neither blocks nor kills the shim; SIGUSR1 writes all goroutines to it.
func TestLog(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"sleep", "1000"})
		r.env = append(r.env, "TTRPC_ADDRESS=/no/such.ttrpc") // each event that is not taken is a line of the log
		r.start()
		full, err := os.OpenFile(filepath.Join(r.bundle, "log"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		r.ok(err)
		conn, err := full.SyscallConn()
		r.ok(err)
		r.ok(conn.Write(func(fd uintptr) bool {
			for err == nil {
				_, err = syscall.Write(int(fd), make([]byte, 4096))
			}
			return true
		}))
		r.ok(full.Close())
		r.ok(syscall.Kill(r.pid, syscall.SIGUSR1))
		r.create(nil)
		r.begin("")
		log := r.readLog()
		log.until("event /tasks/create: ") // once there is room
		for range 2 {
			r.ok(syscall.Kill(r.pid, syscall.SIGUSR1))
			log.until("=== goroutines ===")
			log.until("=== end ===")
			if !bytes.Contains(log.data, []byte("shim.serve(")) {
				t.Errorf("goroutines: %s", log.data)
			}
			r.ok(log.file.Close()) // containerd restarts: the shim gets no SIGPIPE
			r.ok(syscall.Kill(r.pid, syscall.SIGUSR1))
			r.ok(r.errOf("Connect", &taskapi.ConnectRequest{}))
			log = r.readLog()
		}
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE} {
			r.ok(syscall.Kill(r.pid, sig)) // ends by a Shutdown only
		}
		r.ok(r.errOf("Connect", &taskapi.ConnectRequest{}))
		r.finish()
	})
}

// TestOtherUser: the socket and its folder keep other users off; so does the server, when the modes do not.
func TestOtherUser(t *testing.T) {
	const nobody = 65534
	each(t, func(t *testing.T, d *daemon.Daemon) {
		dir, err := os.MkdirTemp("", "s")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		r := newRaw(t, d, []string{"true"})
		p := r.params()
		sub := filepath.Join(dir, "s")
		p.SocketDir = &sub
		if _, errs, err := r.command(encode(t, p), "start").run(); err != nil {
			t.Fatal(err, errs)
		}
		r.dial("unix://" + socketOf(sub, r))
		r.ok(os.Chmod(dir, 0o755))
		if conn, err := dialAs(nobody, r.socket); err == nil {
			_ = conn.Close()
			t.Error("another user was connected")
		}
		r.ok(os.Chmod(sub, 0o755))
		if conn, err := dialAs(nobody, r.socket); err == nil {
			_ = conn.Close()
			t.Error("another user was connected, the socket alone is closed to him")
		}
		r.ok(os.Chmod(r.socket, 0o666))
		for uid, want := range map[int]bool{nobody: false, 0: true} {
			conn, err := dialAs(uid, r.socket)
			r.ok(err)
			r.client = ttrpc.NewClient(conn)
			_, err = ask[taskapi.ConnectResponse](r, "Connect", &taskapi.ConnectRequest{})
			if (err == nil) != want {
				t.Errorf("uid %d: %v", uid, err)
			}
			_ = r.client.Close()
		}
		r.dial("unix://" + r.socket)
		r.shutdown()
	})
}

// dialAs connects with another effective user id, which is that of one thread for as long.
func dialAs(uid int, path string) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const keep = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return nil, errno
	}
	defer func() {
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep); errno != 0 {
			panic(errno) // the thread must not go on as somebody else
		}
	}()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}); err != nil {
		return nil, err
	}
	return net.FileConn(file)
}

// TestOOMScore: one above containerd's, a thousand at most; the container has its own.
func TestOOMScore(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for own, want := range map[int]int{0: 1, 500: 501, 999: 1000, 1000: 1000} {
			r := newRaw(t, d, []string{"sleep", "1000"}, func() oci.SpecOpts {
				score := 300
				return edit(func(s *specs.Spec) { s.Process.OOMScoreAdj = &score })[0]
			}())
			c := r.command("", "start")
			c.cmd.Path = "/bin/sh"
			c.cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`echo %d > /proc/self/oom_score_adj && exec "$0" "$@"`, own), program()}, c.cmd.Args[1:]...)
			if out, errs, err := c.run(); err != nil {
				t.Fatal(err, out, errs)
			}
			r.dial("unix://" + socketOf("/run/containerd/s", r))
			r.create(nil)
			for pid, want := range map[int]int{r.pid: want, r.init: 300} {
				data, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
				if got, _ := strconv.Atoi(strings.TrimSpace(string(data))); err != nil || got != want {
					t.Errorf("containerd's %d: score %s of %d, want %d (%v)", own, data, pid, want, err)
				}
			}
			r.remove("")
			r.shutdown()
		}
	})
}

// TestSubreaper: a process whose parent has ended is the shim's, and the shim reaps it.
func TestSubreaper(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"sh", "-c", "(sleep 0.01 & sleep 0.02 & sleep 2000 & echo $! > /tmp/orphan); exec sleep 1000"}, oci.WithHostNamespace(specs.PIDNamespace)).start()
		r.create(nil)
		r.begin("")
		var orphan int
		for end := time.Now().Add(stepLimit); orphan == 0 && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			data, _ := os.ReadFile(filepath.Join(r.tree(), "tmp/orphan"))
			orphan, _ = strconv.Atoi(strings.TrimSpace(string(data)))
		}
		parent := func() string { data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", orphan)); return string(data) }
		want := fmt.Sprintf("PPid:\t%d\n", r.pid)
		for end := time.Now().Add(stepLimit); !strings.Contains(parent(), want) && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		}
		if got := parent(); !strings.Contains(got, want) {
			t.Errorf("the orphan %d is not the shim's, %d: %s", orphan, r.pid, got)
		}
		left := zombies(r.pid) // asked once for each answer: the sleepers end one after the other
		for end := time.Now().Add(stepLimit); left != "" && time.Now().Before(end); left = zombies(r.pid) {
			time.Sleep(5 * time.Millisecond)
		}
		if left != "" {
			t.Errorf("not reaped: %s", left)
		}
		r.finish()
	})
}

// zombies lists the dead children of a process.
func zombies(parent int) string {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	var list []string
	for _, f := range files {
		if data, _ := os.ReadFile(f); strings.Contains(string(data), fmt.Sprintf(") Z %d ", parent)) {
			list = append(list, string(data))
		}
	}
	return strings.Join(list, "; ")
}

// TestPublishBinary: without a ttrpc address the events go out by containerd's program.
func TestPublishBinary(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		events := record(t, d)
		r := newRaw(t, d, []string{"sleep", "1000"})
		r.env = []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=2"}
		r.start()
		r.create(nil)
		r.begin("")
		r.signal("", syscall.SIGKILL)
		r.wait("")
		r.remove("")
		events.want(t, r.id, "create", "start", "exit init 137", "delete")
		r.shutdown()
	})
}
