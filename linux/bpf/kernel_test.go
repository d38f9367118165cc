package bpf

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// needed are what Go's runtime may call on any thread: they are allowed, and not tried. The last line's have another reason.
var needed = []string{"futex", "rt_sigreturn", "rt_sigprocmask", "rt_sigaction", "sigaltstack", "nanosleep", "clock_nanosleep", "sched_yield", "mmap", "munmap", "mprotect", "madvise",
	"clone", "clone3", "exit", "exit_group", "write", "getpid", "gettid", "tgkill", "epoll_pwait", "epoll_ctl", "eventfd2", "prctl", "set_robust_list", "rseq", "sched_getaffinity",
	"uretprobe", "uprobe"} // these two the kernel lets pass without asking a filter (since 6.14), and kills who is no probe

// answering makes a profile by chance whose every answer is an errno, so that no call that it decides is carried out.
func answering(r *rand.Rand) *specs.LinuxSeccomp {
	def := uint(250)
	p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, DefaultErrnoRet: &def, Architectures: []specs.Arch{specs.ArchX86, specs.ArchX32, specs.ArchARM}}
	p.Syscalls = []specs.LinuxSyscall{{Names: needed, Action: specs.ActAllow}}
	for errno := uint(1); errno < 120; errno++ {
		b := specs.LinuxSyscall{Action: specs.ActErrno, ErrnoRet: &errno}
		for range 1 + r.IntN(4) {
			if name := callName(r.IntN(callCount)); !slices.Contains(needed, name) {
				b.Names = append(b.Names, name)
			}
		}
		for range r.IntN(3) {
			b.Args = append(b.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(maxArgs)), Op: pick(r, operators), Value: pick(r, words), ValueTwo: pick(r, words)})
		}
		p.Syscalls = append(p.Syscalls, b)
	}
	return p
}

// TestKernel loads filters and makes every call: the kernel answers what the profile says.
func TestKernel(t *testing.T) {
	native, ok := Native(runtime.GOARCH)
	if !ok {
		t.Fatal("no table for", runtime.GOARCH)
	}
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 4))
		p := answering(r)
		list, err := Compile(p, native)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan []string)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with its filter
			done <- underFilter(p, list, native, r)
		}()
		for _, text := range <-done {
			t.Errorf("seed %d: %s", seed, text)
		}
	}
}

// underFilter loads the filter on this thread and says what the kernel answers otherwise than the profile.
func underFilter(p *specs.LinuxSeccomp, list []Insn, native Arch, r *rand.Rand) (wrong []string) {
	const tries = 6
	type call struct {
		d    Data
		want uint32
	}
	var calls []call
	for nr := range uint32(700) {
		if slices.ContainsFunc(needed, func(name string) bool { n, ok := Number(name, native); return ok && n == nr }) {
			continue
		}
		for range tries {
			d := Data{Nr: nr, Arch: native.Audit()}
			for i := range d.Args {
				d.Args[i] = pick(r, words)
			}
			calls = append(calls, call{d, evaluate(p, native, &d)})
		}
	}
	answers := make([]uintptr, len(calls))
	code := Bytes(list)
	prog := unix.SockFprog{Len: uint16(len(list)), Filter: (*unix.SockFilter)(unsafe.Pointer(&code[0]))}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return []string{err.Error()}
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		return []string{"the kernel does not take the filter: " + errno.Error()}
	}
	for i := range calls {
		c := &calls[i]
		if c.want&RetAction != RetErrno {
			continue // told below
		}
		a := &c.d.Args
		_, _, errno := unix.RawSyscall6(uintptr(c.d.Nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), uintptr(a[5]))
		answers[i] = uintptr(errno)
	}
	for i, c := range calls {
		if c.want != RetErrno|uint32(answers[i]) {
			wrong = append(wrong, fmt.Sprintf("%+v: errno %d, the profile says %#x", c.d, answers[i], c.want))
		}
	}
	return wrong
}
