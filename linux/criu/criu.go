// Package criu has CRIU dump and restore processes. CRIU is a program of the host's: it is started for one request ("criu swrk"), and asked over a socket
// with the messages of its RPC library.
package criu

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
)

// Options are what people can choose for a checkpoint and for a restore. The zero value is CRIU's default but for what is said.
type Options struct {
	ImagePath string // folder of the images; a dump makes it
	// Images, if not nil, is that folder for a restore, opened in another way. It is the caller's to close.
	Images   *os.File
	WorkPath string // folder of the logs and statistics; empty is ImagePath

	LeaveRunning bool // dump: the processes go on
	PreDump      bool // dump: memory only, and the processes go on
	// ParentPath is the folder of an earlier dump, relative to ImagePath: only memory that was written since is dumped.
	ParentPath string

	TCPEstablished, TCPSkipInFlight bool
	ExtUnixSk                       bool // sockets with a peer outside
	ShellJob                        bool // processes of a session outside
	FileLocks                       bool
	AutoDedup                       bool // dump: punch out of parent images what is dumped again; restore: out of images what was read
	LinkRemap                       bool // unlinked files get a name for the time between dump and restore

	LazyPages  bool     // memory is served by this dump, or fetched by a lazy-pages daemon while the restored processes run
	StatusFD   *os.File // with LazyPages: gets a NUL byte, and is closed, when the page server is ready
	PageServer string   // HOST:PORT that memory is dumped to

	ManageCgroups string   // one of CgroupsModes; empty is "soft"
	EmptyNS       []string // namespaces whose content is neither dumped nor restored: "network"

	LSMProfile, LSMMountContext string // restore: instead of the dumped ones

	ConfigFile string // of CRIU's (criu(8), "CONFIGURATION FILES"): what it says goes before what stands here. One that is not there says nothing
}

// CgroupsModes are the words for how cgroups are dumped and restored (criu(8), --manage-cgroups).
var CgroupsModes = map[string]rpc.CriuCgMode{
	"": rpc.CriuCgMode_SOFT, "ignore": rpc.CriuCgMode_IGNORE, "none": rpc.CriuCgMode_CG_NONE, "props": rpc.CriuCgMode_PROPS, "soft": rpc.CriuCgMode_SOFT,
	"full": rpc.CriuCgMode_FULL, "strict": rpc.CriuCgMode_STRICT,
}

// emptyNamespaces are those that CRIU can leave empty (criu(8), --empty-ns).
var emptyNamespaces = map[string]uint32{"network": unix.CLONE_NEWNET}

// Check says whether the options have a meaning. Errors begin with the option's name.
func (o *Options) Check() error {
	if o.ImagePath == "" {
		return fmt.Errorf("image path: there is none: %w", errdefs.ErrInvalidArgument)
	}
	if _, ok := CgroupsModes[o.ManageCgroups]; !ok {
		return fmt.Errorf("cgroups mode %q: it is none of ignore, none, props, soft, full, strict: %w", o.ManageCgroups, errdefs.ErrInvalidArgument)
	}
	for _, ns := range o.EmptyNS {
		if emptyNamespaces[ns] == 0 {
			return fmt.Errorf("empty namespace %q: only network can be: %w", ns, errdefs.ErrInvalidArgument)
		}
	}
	if _, err := pageServer(o.PageServer); err != nil {
		return err
	}
	if err := o.checkStatus(); err != nil {
		return err
	}
	return o.CheckParent()
}

// CheckParent says whether the parent path is a folder that the images can name: they are moved together.
func (o *Options) CheckParent() error {
	switch {
	case o.ParentPath == "":
		return nil
	case filepath.IsAbs(o.ParentPath):
		return fmt.Errorf("parent path %q: it is relative to the image path: %w", o.ParentPath, errdefs.ErrInvalidArgument)
	}
	path := filepath.Join(o.ImagePath, o.ParentPath)
	if st, err := os.Stat(path); err != nil || !st.IsDir() {
		return fmt.Errorf("parent path %q: %s is no folder: %w", o.ParentPath, path, errdefs.ErrInvalidArgument)
	}
	return nil
}

// pageServer parses HOST:PORT; nil for "". (Package net does that too, but brings cgo or an own resolver into the binary.)
func pageServer(s string) (*rpc.CriuPageServerInfo, error) {
	if s == "" {
		return nil, nil
	}
	i := strings.LastIndexByte(s, ':')
	host, port := strings.Trim(s[:max(i, 0)], "[]"), s[i+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" {
		return nil, fmt.Errorf("page server %q: it is not HOST:PORT: %w", s, errdefs.ErrInvalidArgument)
	}
	return &rpc.CriuPageServerInfo{Address: &host, Port: ptr(int32(n))}, nil
}

// logLevel is how much CRIU logs: errors with what led to them (criu(8), -v4).
const logLevel = 4

// message are the options as CRIU's RPC has them. Descriptors are ours: CRIU opens them through /proc.
func (o *Options) message(images, work *os.File, log string) (*rpc.CriuOpts, error) {
	ps, err := pageServer(o.PageServer)
	if err != nil {
		return nil, err
	}
	mode := CgroupsModes[o.ManageCgroups]
	m := &rpc.CriuOpts{
		ImagesDirFd: fdOf(images), WorkDirFd: fdOf(work), LogFile: &log, LogLevel: ptr(int32(logLevel)), NotifyScripts: ptr(true), OrphanPtsMaster: ptr(true),
		LeaveRunning: &o.LeaveRunning, TcpEstablished: &o.TCPEstablished, TcpSkipInFlight: &o.TCPSkipInFlight, ExtUnixSk: &o.ExtUnixSk, ShellJob: &o.ShellJob,
		FileLocks: &o.FileLocks, AutoDedup: &o.AutoDedup, LinkRemap: &o.LinkRemap, LazyPages: &o.LazyPages, Ps: ps,
		ManageCgroups: ptr(true), ManageCgroupsMode: &mode,
		// The tree that a container's mounts were copied from is often a shared one; its copies are slaves (mount_namespaces(7)).
		ExtMasters: ptr(true),
	}
	if o.ConfigFile != "" {
		m.ConfigFile = &o.ConfigFile
	}
	for _, ns := range o.EmptyNS {
		m.EmptyNs = ptr(m.GetEmptyNs() | emptyNamespaces[ns])
	}
	return m, nil
}

func ptr[T any](v T) *T { return &v }

func fdOf(f *os.File) *int32 { return ptr(int32(f.Fd())) }
