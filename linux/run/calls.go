package run

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// call carries out an OpCall step.
func (e *engine) call(s *plan.Step) (int64, string) {
	switch s.Call {
	case plan.CallHome:
		return errnoOf(e.setHome(int(e.im.Value(s.Args[1])), uint32(e.im.Value(s.Args[0]))))
	case plan.CallIDMap:
		return errnoOf(e.writeIDMaps(int(e.im.Value(s.Args[0])), e.text(s.Args[1]), e.text(s.Args[2])))
	case plan.CallUserns:
		fd, err := userns(e.text(s.Args[0]), e.text(s.Args[1]))
		if err != nil {
			return errnoOf(err)
		}
		return int64(fd), ""
	case plan.CallArmOOM:
		w, err := e.deps.ArmOOM(e.text(s.Args[0]))
		if err != nil {
			return errnoOf(err)
		}
		e.oom = w
		return 0, ""
	case plan.CallAdopt:
		return errnoOf(e.adopt(s.Args[0]))
	case plan.CallAgent:
		return errnoOf(e.agent(int(e.im.Value(s.Args[0])), e.text(s.Args[1]), int(e.im.Value(s.Args[2]))))
	case plan.CallReceive:
		fd, err := receiveFD(int(e.im.Value(s.Args[0])))
		if err != nil {
			return errnoOf(err)
		}
		return int64(fd), ""
	case plan.CallOOMScore:
		return errnoOf(writeOOMScore(int(e.im.Value(s.Args[0])), int(int64(e.im.Value(s.Args[1])))))
	case plan.CallMoveNetDevice:
		return errnoOf(e.moveDevice(int(e.im.Value(s.Args[0])), e.text(s.Args[1]), e.text(s.Args[2])))
	case plan.CallTimeOffsets:
		return errnoOf(writeTimeOffsets(e.text(s.Args[0]), int(e.im.Value(s.Args[1]))))
	case plan.CallMountMapped:
		return errnoOf(mountMapped(int(e.im.Value(s.Args[0])), e.text(s.Args[1]), e.text(s.Args[2]), e.text(s.Args[3]), uintptr(e.im.Value(s.Args[4])), e.text(s.Args[5])))
	case plan.CallMountLoop:
		return errnoOf(mountLoop(e.text(s.Args[0]), e.text(s.Args[1]), e.text(s.Args[2]), uintptr(e.im.Value(s.Args[3])), e.text(s.Args[4])))
	case plan.CallCgroup:
		fd, err := openCgroup(e.text(s.Args[0]), e.text(s.Args[1]), int(e.im.Value(s.Args[2])))
		if err != nil {
			return errnoOf(err)
		}
		return int64(fd), ""
	case plan.CallTarget:
		return errnoOf(e.makeTarget(s))
	case plan.CallMapMount:
		return errnoOf(e.mapMount(int(e.im.Value(s.Args[0])), int(e.im.Value(s.Args[1])), e.im.Value(s.Args[2]) == 1))
	case plan.CallCopyUp:
		return errnoOf(e.copyUp(s))
	case plan.CallHook:
		done := make(chan error, 1) // not on this thread, whose children may be in namespaces of the container
		go func() { done <- e.hook(e.ctx, e.text(s.Args[0]), int(e.im.Value(s.Args[1]))) }()
		return errnoOf(<-done)
	case plan.CallStartUnit:
		return errnoOf(ofSystemd(e.startUnit(s)))
	case plan.CallSetUnit:
		return errnoOf(ofSystemd(e.setUnit(s)))
	case plan.CallLeaveUnit:
		e.leaveUnit()
		return 0, ""
	case plan.CallSchemata:
		return errnoOf(writeSchemata(e.text(s.Args[0]), e.text(s.Args[1]), e.text(s.Args[2])))
	case plan.CallHasSchemata:
		return errnoOf(hasSchemata(e.text(s.Args[0]), e.text(s.Args[1])))
	case plan.CallMountIn:
		return errnoOf(mountIn(e.text(s.Args[0]), e.text(s.Args[1]), e.text(s.Args[2]), e.text(s.Args[3]), uintptr(e.im.Value(s.Args[4])), e.text(s.Args[5])))
	}
	return -int64(abi.ENOSYS), fmt.Sprintf("no function %q", s.Call)
}

// text returns the string that an argument is the address of.
func (e *engine) text(a plan.Arg) string {
	if a.Kind != plan.Addr {
		return ""
	}
	text, _, _ := bytes.Cut(e.im.Item(a.Data)[a.Value:], []byte{0})
	return string(text)
}

// writeOOMScore sets oom_score_adj of pid, which is a child of ours and not reaped.
func writeOOMScore(pid, score int) error {
	path := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	if err := os.WriteFile(path, []byte(strconv.Itoa(score)), 0); err != nil {
		return fmt.Errorf("write %d: %w", score, err)
	}
	return nil
}

// userns returns a descriptor of a new user namespace with these maps, for idmapped mounts (mount_setattr(2)). A child that waits
// and then leaves carries the namespace meanwhile.
func userns(uids, gids string) (fd int, err error) {
	b := plan.NewBuilder("userns")
	sync := b.Reg(plan.RegSyncC)
	b.In(plan.Parent, plan.Launch)
	b.Reg(plan.RegPidfd)
	b.Reg(plan.RegPid)
	b.Add(plan.Step{Op: plan.OpClone, Label: "make a user namespace", Args: []plan.Arg{plan.T(abi.CLONE_NEWUSER, "CLONE_NEWUSER")}})
	b.In(plan.Child, plan.Isolate)
	b.Add(plan.Step{Label: "close foreign descriptors", Op: plan.OpCloseAll, Keep: []plan.Reg{sync}})
	b.Add(plan.Step{Label: "wait", Sys: abi.SysRead, Args: []plan.Arg{plan.R(sync), plan.A(b.Buf("byte", 1)), plan.V(1)}})
	b.Add(plan.Step{Label: "leave", Sys: abi.SysExitGroup, Args: []plan.Arg{plan.V(0)}})
	ours, theirs, err := socketPair()
	if err != nil {
		return -1, err
	}
	e := &engine{id: "userns", action: "make", plan: b.Plan(), deps: &Deps{}, fds: map[plan.Reg]bool{}}
	if err := e.load(map[string]int{plan.RegSyncC: theirs}); err != nil {
		_ = unix.Close(ours)
		_ = unix.Close(theirs)
		return -1, err
	}
	defer func() {
		_ = unix.Close(ours) // the child reads EOF and leaves
		_ = e.abort()
	}()
	if err := e.steps(context.Background()); err != nil {
		return -1, err
	}
	if err := e.writeIDMaps(e.proc.Pid(), uids, gids); err != nil {
		return -1, err
	}
	path := "/proc/" + strconv.Itoa(e.proc.Pid()) + "/ns/user"
	fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return fd, nil
}

// fetch copies a descriptor of the child's (pidfd_getfd(2)).
func (e *engine) fetch(of int) (fd int, err error) {
	err = e.proc.Do(func(pidfd int) (err error) {
		fd, err = unix.PidfdGetfd(pidfd, of, 0)
		return err
	})
	if err != nil {
		return -1, fmt.Errorf("pidfd_getfd: %w", err)
	}
	return fd, nil
}

// adopt makes the process that the child cloned in its own place (CLONE_PARENT: it is our child too) the container's.
func (e *engine) adopt(arg plan.Arg) error {
	first := e.proc
	first.Reap() // it leaves right after its clone3, and has noted the pid then
	pid := int(e.im.Value(arg))
	if pid <= 0 {
		return fmt.Errorf("the child told of pid %d: %w", pid, unix.ESRCH)
	}
	proc, err := e.fork(func() (int, int, error) {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return 0, -1, fmt.Errorf("pidfd_open %d: %w", pid, err)
		}
		e.im.SetReg(e.plan.Reg(plan.RegPidfd), int64(pidfd))
		return pid, pidfd, nil
	})
	if err != nil {
		return err
	}
	e.proc = proc
	e.im.SetReg(e.plan.Reg(plan.RegPid), int64(pid))
	return nil
}

// mountIn is mount(2) with dir as the working directory, of this thread alone (the engine's thread ends with its work).
func mountIn(dir, source, target, fstype string, flags uintptr, data string) error {
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the working directory: %w", err)
	}
	if err := unix.Chdir(dir); err != nil {
		return fmt.Errorf("chdir %s: %w", dir, err)
	}
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

func socketPair() (a, b int, err error) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, -1, fmt.Errorf("socketpair: %w", err)
	}
	return p[0], p[1], nil
}

// devNull opens /dev/null; the caller gets a descriptor above 2.
func devNull() (int, error) {
	fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	return fd, nil
}
