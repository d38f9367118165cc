// Package leak lets the tests of a package fail when they leave something behind: a descriptor, a goroutine, a mount or a child process.
package leak

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settleLimit is how long what the kernel and the runtime finish on their own (threads, goroutines that were told to end) may take.
const settleLimit = 5 * time.Second

// envPrivate marks a test binary that has a mount namespace of its own.
const envPrivate = "LEAK_PRIVATE_MOUNTS"

// Main runs a package's tests, as root, in a mount namespace of their own, so that what others mount meanwhile is not counted. setup runs before the
// first look: what it starts may stay.
func Main(m *testing.M, setup ...func() error) {
	if err := privateMounts(); err != nil {
		fmt.Fprintln(os.Stderr, "leak:", err)
		os.Exit(1)
	}
	warmUp()
	for _, f := range setup {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	before := Take()
	code := m.Run()
	if left := before.Left(); left != "" {
		fmt.Fprintf(os.Stderr, "leak: %s\n%s", left, stacks())
		code = 1
	}
	os.Exit(code)
}

// privateMounts starts this program again with its own copy of the mounts. execve keeps the namespaces of the calling thread and the pid.
func privateMounts() error {
	if os.Getenv(envPrivate) != "" {
		return os.Unsetenv(envPrivate) // not for the processes that the tests start
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mounts (the tests need root): %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	path, err := os.Executable() // by its path: /proc/self/exe would be the file on the mount of the namespace that we left
	if err != nil {
		return err
	}
	return syscall.Exec(path, os.Args, append(os.Environ(), envPrivate+"=1"))
}

// warmUp makes the runtime open what it keeps (its poller).
func warmUp() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	_, _ = r.Close(), w.Close()
}

// State is what there is: descriptors as "number file", mounts, children as "pid name", by kind.
type State struct {
	lists      map[string][]string
	goroutines int
}

// Take looks.
func Take() State {
	s := State{lists: map[string][]string{}, goroutines: runtime.NumGoroutine()}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	listing := fmt.Sprintf("/proc/%d/fd", os.Getpid())
	for _, e := range fds {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name())); err == nil && to != listing { // the listing's own
			s.lists["descriptor"] = append(s.lists["descriptor"], e.Name()+" "+to)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		panic(err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line)
		s.lists["mount"] = append(s.lists["mount"], f[0]+" "+f[4])
	}
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		panic(err)
	}
	for _, path := range tasks {
		pids, _ := os.ReadFile(path) // the thread may be gone
		for pid := range strings.FieldsSeq(string(pids)) {
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			s.lists["child"] = append(s.lists["child"], pid+" "+strings.TrimSpace(string(comm)))
		}
	}
	return s
}

// Descriptors counts the open files.
func (s State) Descriptors() int { return len(s.lists["descriptor"]) }

// Left looks until all is as before or settleLimit is over, and returns how it differs, "" for not at all. What was there and is gone counts too:
// somebody closed or unmounted what was not theirs.
func (s State) Left() string {
	for end := time.Now().Add(settleLimit); ; time.Sleep(time.Millisecond) {
		diff := s.diff(Take())
		if diff == "" || time.Now().After(end) {
			return diff
		}
	}
}

func (s State) diff(now State) string {
	var list []string
	kinds := maps.Clone(s.lists)
	maps.Copy(kinds, now.lists)
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for _, x := range now.lists[kind] {
			if !slices.Contains(s.lists[kind], x) {
				list = append(list, "new "+kind+" "+x)
			}
		}
		for _, x := range s.lists[kind] {
			if !slices.Contains(now.lists[kind], x) {
				list = append(list, "lost "+kind+" "+x)
			}
		}
	}
	if now.goroutines > s.goroutines {
		list = append(list, strconv.Itoa(now.goroutines-s.goroutines)+" new goroutines")
	}
	return strings.Join(list, "; ")
}

func stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}
