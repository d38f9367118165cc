package child

import (
	"encoding/binary"
	"io"
	"os"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// spawn lowers p into a new arena, forks, and returns the image and the child's wait status.
func spawn(t testing.TB, p *plan.Plan, regs map[string]int64) (*plan.Image, unix.WaitStatus) {
	t.Helper()
	a, err := NewArena(plan.Size(p))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Free()
	im, err := plan.Lower(p, runtime.GOARCH, a.Bytes(), a.Base())
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range regs {
		im.SetReg(p.Reg(name), v)
	}
	nr, _ := abi.SysCloseRange.Number(runtime.GOARCH)
	var keep []int
	for _, r := range im.CloseAllKeeps() {
		keep = append(keep, int(im.Reg(r)))
	}
	im.FillCloseAll(nr, keep)
	runtime.LockOSThread()
	pid, err := Fork(a, im, 0, -1, p.Reg(plan.RegPidfd))
	runtime.UnlockOSThread()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(int(im.Reg(p.Reg(plan.RegPidfd))))
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
		t.Fatal(err)
	}
	im.Bytes = append([]byte(nil), im.Bytes...) // outlives the arena
	return im, ws
}

func builder(name string) *plan.Builder {
	b := plan.NewBuilder(name)
	b.Reg(plan.RegPidfd)
	b.In(plan.Child, plan.Start)
	return b
}

func exit(b *plan.Builder, code uint64) {
	b.Add(plan.Step{Label: "leave", Sys: abi.SysExitGroup, Args: []plan.Arg{plan.V(code)}})
}

func TestChildWritesAndExecs(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := builder("hello")
	out := b.Reg("out")
	b.Add(plan.Step{Op: plan.OpCloseAll, Keep: []plan.Reg{out}})
	b.Add(plan.Step{Sys: abi.SysDup3, Args: []plan.Arg{plan.R(out), plan.V(1), plan.V(0)}, HasWant: true, Want: 1})
	b.Add(plan.Step{Sys: abi.SysWrite, Args: []plan.Arg{plan.V(1), b.Str("hello "), plan.V(6)}, HasWant: true, Want: 6})
	argv := b.Vec("argv", []string{"sh", "-c", "echo world $X; ls /proc/self/fd | wc -l"}, 0)
	envp := b.Vec(plan.ItemEnv, []string{"X=42", "PATH=/bin:/usr/bin"}, 1)
	b.Add(plan.Step{Sys: abi.SysExecve, Args: []plan.Arg{b.Str("/bin/sh"), plan.A(argv), plan.A(envp)}})
	im, ws := spawn(t, b.Plan(), map[string]int64{"out": int64(w.Fd())})
	w.Close()
	text, _ := io.ReadAll(r)
	// ls sees 1 and the folder: 0 and 2 were closed, and the original of fd 1 goes at execve.
	if got := string(text); got != "hello world 42\n2\n" || ws.ExitStatus() != 0 {
		t.Fatalf("got %q, status %v, step %d, result %d", got, ws, im.Header(plan.HdrFailed), int64(im.Header(plan.HdrResult)))
	}
}

func TestChildReportsFailure(t *testing.T) {
	b := builder("fail")
	b.Add(plan.Step{Sys: abi.SysGetpid})
	b.Add(plan.Step{Sys: abi.SysChdir, Args: []plan.Arg{b.Str("/does/not/exist")}})
	exit(b, 0)
	im, ws := spawn(t, b.Plan(), nil)
	if ws.ExitStatus() != 1 || im.Header(plan.HdrState) != plan.StateFailed || im.Header(plan.HdrFailed) != 1 ||
		int64(im.Header(plan.HdrResult)) != -int64(unix.ENOENT) {
		t.Fatalf("status %v, header %v", ws, im.Bytes[:32])
	}
}

// TestChildBranches goes through tolerated errors, jumps, retries, checks, moves and faults in one plan that ends in 77 only if every
// one of them does as told.
func TestChildBranches(t *testing.T) {
	b := builder("branches")
	res, word := b.Reg("res"), b.Buf("word", 16)
	trap := func() { exit(b, 3) }
	over := b.Label()
	i := b.Add(plan.Step{Sys: abi.SysChdir, Args: []plan.Arg{b.Str("/nope")}, Tolerate: []abi.Errno{abi.EPERM, abi.EACCES, abi.EIO, abi.ENOENT}, Save: res})
	b.OnErr(i, over)
	trap()
	b.Place(over)
	b.Add(plan.Step{Op: plan.OpCheck, Args: []plan.Arg{plan.R(res)}, Mask: ^uint64(0), Equal: ^uint64(0) - 1, Errno: abi.EDOM}) // -2
	ok := b.Label()
	i = b.Add(plan.Step{Sys: abi.SysGetppid, Save: res})
	b.OnOK(i, ok)
	trap()
	b.Place(ok)
	b.Add(plan.Step{Op: plan.OpMove, Args: []plan.Arg{plan.R(res), plan.AtOff(word, 8)}})
	b.Add(plan.Step{Op: plan.OpCheck, Args: []plan.Arg{plan.M(word, 8)}, Mask: ^uint64(0), Equal: uint64(os.Getpid()), Errno: abi.EDOM})
	i = b.Add(plan.Step{Op: plan.OpCheck, Args: []plan.Arg{plan.M(word, 0)}, Mask: 0xff, Equal: 1, Errno: abi.ESRCH, Tolerate: []abi.Errno{abi.ESRCH}})
	end := b.Label()
	b.OnErr(i, end)
	trap()
	b.Place(end)
	b.Add(plan.Step{Sys: abi.SysGetpid, Fault: abi.EIO, Tolerate: []abi.Errno{abi.EIO}, Save: res})
	b.Add(plan.Step{Op: plan.OpCheck, Args: []plan.Arg{plan.R(res)}, Mask: 1 << 63, Equal: 1 << 63, Errno: abi.EDOM})
	b.Add(plan.Step{Sys: abi.SysClose, Args: []plan.Arg{plan.N(-1)}, Retry: 3, RetryOn: abi.EBADF, Tolerate: []abi.Errno{abi.EBADF}})
	exit(b, 77)
	im, ws := spawn(t, b.Plan(), nil)
	if ws.ExitStatus() != 77 {
		t.Fatalf("status %v, failed step %d, result %d", ws, im.Header(plan.HdrFailed), int64(im.Header(plan.HdrResult)))
	}
}

// TestChildExit ends with a status that is in memory, with a bit added.
func TestChildExit(t *testing.T) {
	b := builder("exit")
	word := b.Buf("word", 16)
	b.Add(plan.Step{Op: plan.OpMove, Args: []plan.Arg{plan.V(15), plan.AtOff(word, 8)}})
	b.Add(plan.Step{Op: plan.OpExit, Args: []plan.Arg{plan.M(word, 8)}, Equal: 128})
	exit(b, 3)
	im, ws := spawn(t, b.Plan(), nil)
	if ws.ExitStatus() != 128+15 || im.Header(plan.HdrState) != plan.StateRunning {
		t.Fatalf("status %v, state %d", ws, im.Header(plan.HdrState))
	}
}

// TestChildHasNoHeap proves that the runtime's memory is not in the child: a write of it gives EFAULT.
func TestChildHasNoHeap(t *testing.T) {
	secret := make([]byte, 1<<20)
	copy(secret, "secret")
	b := builder("heap")
	b.Add(plan.Step{Sys: abi.SysWrite, Args: []plan.Arg{plan.V(1), plan.V(addressOf(secret)), plan.V(6)}})
	exit(b, 0)
	im, _ := spawn(t, b.Plan(), nil)
	runtime.KeepAlive(secret)
	if int64(im.Header(plan.HdrResult)) != -int64(unix.EFAULT) {
		t.Fatalf("result %d, want EFAULT", int64(im.Header(plan.HdrResult)))
	}
}

// TestForkStorm forks under garbage collection from many goroutines.
func TestForkStorm(t *testing.T) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-stop:
				return
			default:
				garbage := make([][]byte, 100)
				for i := range garbage {
					garbage[i] = make([]byte, 10000)
				}
				runtime.GC()
			}
		}
	}()
	var forks sync.WaitGroup
	for range 8 {
		forks.Go(func() {
			for n := range uint64(60) {
				b := builder("storm")
				b.Add(plan.Step{Sys: abi.SysPrctl, Args: []plan.Arg{plan.V(abi.PR_SET_DUMPABLE), plan.V(0)}})
				exit(b, n)
				if _, ws := spawn(t, b.Plan(), nil); ws.ExitStatus() != int(n) {
					t.Errorf("status %v, want %d", ws, n)
				}
			}
		})
	}
	forks.Wait()
	close(stop)
	wg.Wait()
}

func TestLeftOut(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-00452000 r-xp 00000000 08:02 173521 /bin/shim":               false,
		"00452000-00553000 r--p 00052000 08:02 173521 /bin/shim":               false,
		"00553000-00570000 rw-p 00152000 08:02 173521 /bin/shim":               true,
		"c000000000-c000400000 rw-p 00000000 00:00 0 ":                         true,
		"c000400000-c004000000 ---p 00000000 00:00 0 ":                         true,
		"7f0000000000-7f0000004000 rw-s 00000000 00:01 17 /dev/zero (deleted)": true,
		"7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]":              true,
		"7ffd000fa000-7ffd000fe000 r--p 00000000 00:00 0 [vvar]":               false,
		"7ffd000fe000-7ffd00100000 r-xp 00000000 00:00 0 [vdso]":               false,
		"nonsense": false,
	} {
		if _, _, out := leftOut([]byte(line)); out != want {
			t.Errorf("%s: left out %v, want %v", line, out, want)
		}
	}
}

func BenchmarkForkExit(b *testing.B) {
	heap := make([]byte, 64<<20)
	for i := 0; i < len(heap); i += 4096 {
		heap[i] = 1
	}
	for b.Loop() {
		pb := builder("bench")
		exit(pb, 0)
		spawn(b, pb.Plan(), nil)
	}
	_ = binary.LittleEndian.Uint64(heap)
}
