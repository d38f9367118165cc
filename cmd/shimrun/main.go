// Command shimrun is an OCI runtime with runc's command line, on the core of this project: no daemon, one command, one container.
//
// One file a command. main.go has the global options, command.go what a command is.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"example.io/shim/linux/host"
)

// Set by the linker.
var (
	version = "dev"
	commit  = "unknown"
)

// The main thread is never given to other goroutines: a thread that has built a container ends with its work, and the main thread cannot.
func init() { goruntime.LockOSThread() }

// app is one invocation.
type app struct {
	prog     string // as it was called: texts of a runc that is a link to us say runc
	stdout   io.Writer
	log      logger
	commands []*command

	root          string
	rootGiven     bool
	debug         bool
	logFile       string
	logFormat     string
	systemdCgroup bool
	cgroupManager string
	rootless      string
	criu          string
	version       bool
	help          bool
}

func newApp(prog string, stdout io.Writer) *app {
	return &app{prog: prog, stdout: stdout, commands: commands()}
}

func main() {
	// Everything is done beside the main thread, which is kept (above): goroutines that wait for each other on one thread need no call of the kernel's.
	go func() { os.Exit(invoke()) }()
	select {}
}

// invoke carries out the command line and returns the exit status.
func invoke() int {
	a := newApp(filepath.Base(os.Args[0]), os.Stdout)
	err := errWithLibc()
	if err == nil {
		err = a.run(os.Args[1:])
	}
	if err == nil {
		return 0
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	var p *plainError
	if errors.As(err, &p) {
		a.log.debug("%v", err)
		fmt.Fprintln(os.Stderr, p.text)
	} else {
		a.log.fatal(err)
	}
	var f *failure
	if errors.As(err, &f) {
		return f.code
	}
	return 1
}

// exitCode is the exit code of a container's process, which becomes ours: nothing is said.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit status %d", int(c)) }

// plainError is an error of the container's program, not of ours: its text alone is shown, as the program would.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.err.Error() }
func (e *plainError) Unwrap() error { return e.err }

// failure is an error with an exit code of its own.
type failure struct {
	code int
	err  error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// globals defines the options before the command.
func (a *app) globals() *pflag.FlagSet {
	fs := newFlags(a.prog)
	fs.SetInterspersed(false)
	fs.StringVar(&a.root, "root", "", "folder of the containers' states, `DIR`; without it /run/shimrun, or $XDG_RUNTIME_DIR/shimrun for a plain user")
	fs.BoolVar(&a.debug, "debug", false, "say what is done, and more")
	fs.StringVar(&a.logFile, "log", "", "write the log to `FILE` instead of standard error")
	fs.StringVar(&a.logFormat, "log-format", "text", "form of the log, text or json")
	fs.BoolVar(&a.systemdCgroup, "systemd-cgroup", false, "let systemd make the cgroups: cgroupsPath is then SLICE:PREFIX:NAME")
	fs.StringVar(&a.cgroupManager, "cgroup-manager", managerFiles, "who makes the cgroups: cgroupfs (we), systemd (as --systemd-cgroup) or disabled (nobody)")
	fs.StringVar(&a.rootless, "rootless", "auto", "do without what only root may do: true, false or auto")
	fs.StringVar(&a.criu, "criu", "", "not used: criu is found by PATH")
	_ = fs.MarkHidden("criu")
	fs.BoolVarP(&a.version, "version", "v", false, "print the version")
	fs.BoolVarP(&a.help, "help", "h", false, "print help")
	return fs
}

func (a *app) run(args []string) error {
	fs := a.globals()
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := a.log.open(a.logFile, a.logFormat, a.debug); err != nil {
		return err
	}
	switch {
	case a.version:
		_, err := fmt.Fprintf(a.stdout, "%s version %s\ncommit: %s\nspec: %s\ngo: %s\n", a.prog, semver(version), commit, specs.Version, goruntime.Version())
		return err
	case a.help || fs.NArg() == 0:
		return a.usage(fs)
	}
	switch a.rootless {
	case "auto", "true", "false":
	default:
		return fmt.Errorf("--rootless: %q is none of true, false and auto", a.rootless)
	}
	switch a.cgroupManager {
	case managerFiles, managerNone:
	case managerSystemd:
		a.systemdCgroup = true
	default:
		return fmt.Errorf("--cgroup-manager: %q is none of %s, %s and %s", a.cgroupManager, managerFiles, managerSystemd, managerNone)
	}
	if a.criu != "" {
		a.log.warn("--criu is ignored: criu is found by PATH")
	}
	a.rootGiven = fs.Changed("root")
	if !a.rootGiven {
		a.root = defaultRoot()
	}
	var err error
	if a.root, err = filepath.Abs(a.root); err != nil {
		return err
	}
	return a.dispatch(fs.Arg(0), fs.Args()[1:])
}

// Values of --cgroup-manager, an option of crun's by which Podman asks for a container without cgroups of its own.
const (
	managerFiles   = "cgroupfs"
	managerSystemd = "systemd"
	managerNone    = "disabled"
)

// semver makes a version in three numbers of what is none: tools parse it.
func semver(v string) string {
	v = strings.TrimPrefix(v, "v")
	var major, minor, patch int
	if n, _ := fmt.Sscanf(v, "%d.%d.%d", &major, &minor, &patch); n < 3 {
		return "0.0.0-" + v
	}
	return v
}

// defaultRoot is where the states are. A plain user without a runtime folder cannot write to /run, which says so then. Podman runs us as root of the user's
// namespace, with the user's environment; who has become root there by a login (USER) has a /run.
func defaultRoot() string {
	if os.Geteuid() != 0 || host.InUserNamespace() && os.Getenv("USER") != "root" {
		if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
			return filepath.Join(dir, "shimrun")
		}
	}
	return "/run/shimrun"
}
