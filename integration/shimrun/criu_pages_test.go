package shimrun

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/need"
)

// memory makes a process hold so many bytes that no later write touches.
func memory(bytes int) string {
	return fmt.Sprintf("x=$(head -c %d /dev/zero | tr '\\0' a); %s", bytes, counts("true"))
}

// pagesOf returns how many bytes of memory are in a folder of images: as long as the files are, and as much as they occupy.
func pagesOf(t *testing.T, dir string) (size, blocks int64) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "pages-*.img"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		size, blocks = size+st.Size, blocks+st.Blocks*512
	}
	return size, blocks
}

// feature says whether CRIU and the kernel have it.
func feature(name string) bool { return exec.Command("criu", "check", "--feature", name).Run() == nil }

// TestCriuPreDump: a dump upon an earlier one holds what was written since, and frees in it what it holds again.
func TestCriuPreDump(t *testing.T) {
	const bytes = 4 << 20
	m := newMoving(t, memory(bytes), nil)
	m.run()
	m.number(1)
	if !feature("mem_dirty_track") {
		m.refused("mem_dirty_track", "checkpoint", "--image-path", m.images, "--pre-dump", m.id)
		m.number(m.number(0) + 2)
		m.gone()
		return
	}
	first := filepath.Join(m.dir, "first")
	m.do("checkpoint", "--image-path", first, "--pre-dump", m.id)
	size, before := pagesOf(t, first)
	m.number(m.number(0) + 2)
	last := m.checkpoint("--parent-path", "../first", "--auto-dedup")
	second, _ := pagesOf(t, m.images)
	if size < bytes || second >= bytes/4 {
		t.Errorf("memory: %d bytes, then %d", size, second)
	}
	if _, after := pagesOf(t, first); after >= before {
		t.Errorf("the first dump occupies %d, and did %d", after, before)
	}
	m.restore(last)
	m.gone()
}

// TestCriuAutoDedup: a restore frees in the images what it has read.
func TestCriuAutoDedup(t *testing.T) {
	const bytes = 4 << 20
	m := newMoving(t, memory(bytes), nil)
	m.run()
	m.number(1)
	last := m.checkpoint()
	_, before := pagesOf(t, m.images)
	m.restore(last, "--auto-dedup")
	if _, after := pagesOf(t, m.images); after > before-bytes/2 {
		t.Errorf("the images occupy %d, and did %d", after, before)
	}
	m.gone()
}

// freePort returns a port that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// TestCriuLazyPages: a container goes on under another name while its memory is still with the first one, which ends when all is fetched.
func TestCriuLazyPages(t *testing.T) {
	// CRIU serves pages by a pipe of some MiB (F_SETPIPE_SZ in fcntl(2)), and without it forgets to open where it throws away what nobody asked for.
	if !hasResource(t) {
		need.Resources.Lacking(t, "CapEff in /proc/self/status")
	}
	m := newMoving(t, memory(4<<20), nil)
	m.run()
	m.number(1)
	m.refused("cannot be written", "checkpoint", "--image-path", m.images, "--lazy-pages", "--status-fd", "0", m.id)
	if !feature("uffd-noncoop") {
		m.refused("uffd-noncoop", "checkpoint", "--image-path", m.images, "--lazy-pages", m.id)
		m.gone()
		return
	}
	port := freePort(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	dump := m.command("checkpoint", "--image-path", m.images, "--lazy-pages", "--page-server", "127.0.0.1:"+port, "--status-fd", "3", m.id)
	out := &strings.Builder{}
	dump.ExtraFiles, dump.Stdout, dump.Stderr = []*os.File{w}, out, out
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}
	dumped := make(chan error, 1)
	go func() { dumped <- dump.Wait() }()
	w.Close()
	ready := make([]byte, 2)
	_ = r.SetReadDeadline(time.Now().Add(patience))
	if n, err := r.Read(ready); n != 1 || ready[0] != 0 {
		t.Fatalf("status: %q, %v", ready[:n], err)
	}
	for len(m.numbers) > 0 {
		m.seen = <-m.numbers
	}
	last := m.seen
	pages := exec.Command("criu", "lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", port, "-D", m.images)
	text := &strings.Builder{}
	pages.Stdout, pages.Stderr = text, text
	if err := pages.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pages.Process.Kill() }()
	first := m.id
	m.id += "-2" // where the memory is, the first one still is
	defer func() { m.id = first }()
	m.edit(func(config map[string]any) { config["linux"].(map[string]any)["cgroupsPath"] = cgroupsPath(m.id) })
	began, socket := time.Now(), filepath.Join(m.images, "lazy-pages.socket")
	for _, err := os.Stat(socket); err != nil && time.Since(began) < patience; _, err = os.Stat(socket) {
		time.Sleep(10 * time.Millisecond)
	}
	defer func() {
		if t.Failed() {
			t.Logf("criu lazy-pages: %s", text)
		}
	}()
	m.restore(last, "--lazy-pages", "--work-path", m.images, "--manage-cgroups-mode", "ignore")
	select {
	case err := <-dumped:
		if err != nil {
			t.Errorf("checkpoint: %v: %s", err, out)
		}
	case <-time.After(patience):
		t.Error("the checkpoint does not end")
	}
	if err := pages.Wait(); err != nil {
		t.Errorf("criu lazy-pages: %v: %s", err, text)
	}
	m.number(m.number(0) + 2)
	if out := m.do("exec", m.id, "/bin/cat", "/proc/1/status"); !strings.Contains(out, "State:") {
		t.Errorf("exec: %q", out)
	}
	m.gone()
	m.refused("does not exist", "state", first)
}

// hasResource says whether we have CAP_SYS_RESOURCE.
func hasResource(t *testing.T) bool {
	t.Helper()
	hdr, data := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		t.Fatal(err)
	}
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// cgroupsPath is that of a container of this name, in the driver's form.
func cgroupsPath(id string) string { return "/" + id }

// TestCriuPageServer: memory goes to another machine's folder, the rest is there.
func TestCriuPageServer(t *testing.T) {
	m := newMoving(t, memory(4<<20), nil)
	m.run()
	m.number(1)
	port, far := freePort(t), filepath.Join(m.dir, "far")
	if err := os.Mkdir(far, 0o700); err != nil {
		t.Fatal(err)
	}
	server := exec.Command("criu", "page-server", "-D", far, "--port", port, "--address", "127.0.0.1")
	out := &strings.Builder{}
	server.Stdout, server.Stderr = out, out
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Process.Kill() }()
	listening(t, port)
	last := m.checkpoint("--page-server", "127.0.0.1:"+port)
	if err := server.Wait(); err != nil {
		t.Errorf("criu page-server: %v: %s", err, out)
	}
	if size, _ := pagesOf(t, far); size < 4<<20 {
		t.Errorf("there are %d bytes of memory in the other folder", size)
	}
	if size, _ := pagesOf(t, m.images); size != 0 {
		t.Errorf("there are %d bytes of memory here", size)
	}
	list, err := filepath.Glob(filepath.Join(m.images, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		if err := os.Rename(path, filepath.Join(far, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	m.images = far
	m.restore(last)
	m.gone()
	for _, bad := range []string{"nowhere", "127.0.0.1", ":99", "127.0.0.1:x"} {
		m.run()
		m.refused("it is not HOST:PORT", "checkpoint", "--image-path", m.images, "--page-server", bad, m.id)
		m.do("delete", "--force", m.id)
	}
}

// listening waits until somebody listens at the port, without connecting: a page server serves one connection.
func listening(t *testing.T, port string) {
	t.Helper()
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), fmt.Sprintf(":%04X 00000000:0000 0A", n)) {
			return
		}
	}
	t.Fatalf("nobody listens at %s", port)
}
