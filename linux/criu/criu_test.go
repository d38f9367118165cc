package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestMessage: every option arrives at CRIU.
func TestMessage(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	o := Options{
		ImagePath: "/i", LeaveRunning: true, TCPEstablished: true, TCPSkipInFlight: true, ExtUnixSk: true, ShellJob: true, FileLocks: true, AutoDedup: true,
		LinkRemap: true, LazyPages: true, ConfigFile: "/c", PageServer: "[::1]:8080", ManageCgroups: "full", EmptyNS: []string{"network"},
	}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	m, err := o.message(dir, dir, DumpLog)
	if err != nil {
		t.Fatal(err)
	}
	// As CRIU decodes it.
	data, err := (&rpc.CriuReq{Type: ptr(rpc.CriuReqType_DUMP), Opts: m}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	req := &rpc.CriuReq{}
	if err := req.UnmarshalVT(data); err != nil {
		t.Fatal(err)
	}
	got := req.GetOpts()
	fd := int32(dir.Fd())
	for name, ok := range map[string]bool{
		"images": got.GetImagesDirFd() == fd, "work": got.GetWorkDirFd() == fd, "log": got.GetLogFile() == "dump.log", "leave running": got.GetLeaveRunning(),
		"tcp": got.GetTcpEstablished(), "in flight": got.GetTcpSkipInFlight(), "unix": got.GetExtUnixSk(), "shell job": got.GetShellJob(), "locks": got.GetFileLocks(),
		"dedup": got.GetAutoDedup(), "remap": got.GetLinkRemap(), "lazy": got.GetLazyPages(), "config": got.GetConfigFile() == "/c",
		"page server": got.GetPs().GetAddress() == "::1" && got.GetPs().GetPort() == 8080, "cgroups": got.GetManageCgroupsMode() == rpc.CriuCgMode_FULL,
		"empty": got.GetEmptyNs() == unix.CLONE_NEWNET, "notify": got.GetNotifyScripts(), "terminal": got.GetOrphanPtsMaster(),
	} {
		if !ok {
			t.Errorf("%s did not arrive", name)
		}
	}
}

// TestNotCriu: what is called criu may be another program, or a CRIU that cannot start. What it prints is in the error.
func TestNotCriu(t *testing.T) {
	bin, images := t.TempDir(), t.TempDir()
	if err := os.Symlink("/bin/busybox", filepath.Join(bin, Program)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	err := (&Dump{Options: Options{ImagePath: images}, Pid: os.Getpid()}).Run()
	if err == nil || !strings.Contains(err.Error(), "without an answer") || !strings.Contains(err.Error(), "applet not found") {
		t.Errorf("dump: %v", err)
	}
	res, err := (&Restore{Options: Options{ImagePath: images}}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "applet not found") || res.Init != nil {
		t.Errorf("restore: %v", err)
	}
	worker := errors.New("no cgroup")
	_, err = (&Restore{Options: Options{ImagePath: images}, Worker: func(int) ([]CgroupRoot, error) { return nil, worker }}).Run(t.Context())
	if !errors.Is(err, worker) {
		t.Errorf("restore: %v", err)
	}
}

func TestFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"image path": (&Dump{Options: Options{ImagePath: file}}).Run(),
		"work path":  (&Dump{Options: Options{ImagePath: t.TempDir(), WorkPath: file}}).Run(),
	} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := (&Restore{Options: Options{ImagePath: "/no/such/images"}}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "image path") {
		t.Errorf("restore: %v", err)
	}
	if err := (&Dump{}).Run(); !errors.Is(err, errdefs.ErrInvalidArgument) {
		t.Errorf("without a path: %v", err)
	}
}

// TestLastErrors: the errors are shown, and without any the end.
func TestLastErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var log strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&log, "(00.%06d) line %d\n", i, i)
	}
	write := func() {
		if err := os.WriteFile(path, []byte(log.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if got := lastErrors(path); len(got) != logLines || got[logLines-1] != "(00.004999) line 4999" {
		t.Errorf("got %q", got)
	}
	log.WriteString("(01.0) Error (criu/x.c:1): x: it cannot " + strings.Repeat("y", 1000) + "\n(01.1) more\n\xff\n")
	write()
	if got := lastErrors(path); len(got) != 1 || !strings.Contains(got[0], "it cannot") || len(got[0]) > logLineLimit+len("…") {
		t.Errorf("got %q", got)
	}
	if got := lastErrors(path + "x"); got != nil {
		t.Errorf("got %q", got)
	}
}
