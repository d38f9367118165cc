package criu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/children"
)

// Program is the name that CRIU is looked up by.
const Program = "criu"

const (
	// firstFD is the descriptor number of the first of exec.Cmd's ExtraFiles: CRIU's end of the socket. Those that a restore hands over follow.
	firstFD = 3
	// messageLimit is the size of CRIU's longest message, with room: an answer has a few numbers and a line of text.
	messageLimit = 1 << 16
	// outputLimit is how much of what CRIU prints before it has a log file is kept for the error.
	outputLimit = 1024
	// outputDrain is how long the output may stay open when CRIU has ended: a process that it left could hold it.
	outputDrain = 100 * time.Millisecond
)

// worker is a CRIU that serves one request.
type worker struct {
	cmd    *exec.Cmd
	sock   *os.File
	output lastBytes
	init   atomic.Pointer[children.Child] // the first process of a restore
	done   chan struct{}                  // closed when CRIU has ended; then status is valid
	status error
}

// Found says whether CRIU can be executed.
func Found() error {
	_, err := lookup()
	return err
}

func lookup() (string, error) {
	path, err := exec.LookPath(Program)
	if err != nil {
		return "", fmt.Errorf("%q was not found in PATH (%s): %w", Program, os.Getenv("PATH"), errdefs.ErrFailedPrecondition)
	}
	return path, nil
}

// start executes CRIU. The files get the numbers from firstFD+1 on. It is our child, so the calling thread's namespaces are its own.
func start(files []*os.File) (*worker, error) {
	path, err := lookup()
	if err != nil {
		return nil, err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "criu's socket")
	defer func() { _ = theirs.Close() }()
	if err := unix.SetNonblock(pair[1], false); err != nil { // CRIU waits in read
		_ = unix.Close(pair[0])
		return nil, fmt.Errorf("make criu's socket blocking: %w", err)
	}
	w := &worker{sock: os.NewFile(uintptr(pair[0]), "socket to criu"), output: lastBytes{limit: outputLimit}}
	w.cmd = exec.Command(path, "swrk", fmt.Sprint(firstFD))
	w.cmd.ExtraFiles = append([]*os.File{theirs}, files...)
	w.cmd.Stdout, w.cmd.Stderr, w.cmd.WaitDelay = &w.output, &w.output, outputDrain
	if err := children.StartCommand(w.cmd); err != nil {
		_ = w.sock.Close()
		return nil, fmt.Errorf("execute %s: %w", path, err)
	}
	w.done = make(chan struct{})
	go w.wait()
	return w, nil
}

// wait takes CRIU's exit. Processes that it restores have its socket until they run: there would be no end of file for us when it dies in the middle. What it
// has sent can still be read (unix_dgram_recvmsg in the kernel's net/unix/af_unix.c looks for messages first).
func (w *worker) wait() {
	defer close(w.done)
	err := children.WaitCommand(w.cmd)
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	w.status = err
	if raw, err := w.sock.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RD) }) // closed meanwhile: nobody reads any more
	}
}

// pid is CRIU's.
func (w *worker) pid() int { return w.cmd.Process.Pid }

// ask sends the request and has on called for each notification, with the descriptor that came along or nil, which is on's. An error of on ends the work:
// CRIU takes back what it did.
func (w *worker) ask(req *rpc.CriuReq, on func(n *rpc.CriuNotify, f *os.File) error) (*rpc.CriuResp, error) {
	var failed error
	for {
		if err := w.send(req); err != nil {
			return nil, errors.Join(failed, err)
		}
		resp, f, err := w.receive()
		switch {
		case err != nil:
			return nil, errors.Join(failed, err)
		case resp.GetType() == rpc.CriuReqType_NOTIFY:
			if failed == nil {
				failed = on(resp.GetNotify(), f)
			} else if f != nil {
				_ = f.Close()
			}
			req = &rpc.CriuReq{Type: ptr(rpc.CriuReqType_NOTIFY), NotifySuccess: ptr(failed == nil)}
		case failed != nil:
			return nil, failed
		default:
			return resp, nil
		}
	}
}

func (w *worker) send(req *rpc.CriuReq) error {
	data, err := req.MarshalVT()
	if err != nil {
		return fmt.Errorf("encode the request to criu: %w", err)
	}
	if _, err := w.sock.Write(data); err != nil {
		return fmt.Errorf("send to criu: %w", gone(err))
	}
	return nil
}

// receive reads one message, perhaps with a descriptor.
func (w *worker) receive() (*rpc.CriuResp, *os.File, error) {
	raw, err := w.sock.SyscallConn()
	if err != nil {
		return nil, nil, fmt.Errorf("receive from criu: %w", err)
	}
	buf, oob := make([]byte, messageLimit), make([]byte, unix.CmsgSpace(4))
	var n, noob, flags int
	var got error
	err = raw.Read(func(fd uintptr) bool {
		n, noob, flags, _, got = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		return got != unix.EAGAIN && got != unix.EINTR
	})
	f := passed(oob[:noob])
	fail := func(err error) (*rpc.CriuResp, *os.File, error) {
		if f != nil {
			_ = f.Close()
		}
		return nil, nil, fmt.Errorf("receive from criu: %w", err)
	}
	switch {
	case err != nil || got != nil:
		return fail(gone(errors.Join(err, got)))
	case n == 0:
		return fail(errGone)
	case flags&unix.MSG_TRUNC != 0:
		return fail(fmt.Errorf("a message longer than %d bytes", messageLimit))
	}
	resp := &rpc.CriuResp{}
	if err := resp.UnmarshalVT(buf[:n]); err != nil {
		return fail(err)
	}
	return resp, f, nil
}

var errGone = fmt.Errorf("it has ended without an answer: %w", io.ErrUnexpectedEOF)

// gone makes one error of the three that the end of CRIU has.
func gone(err error) error {
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return errGone
	}
	return err
}

// passed returns the descriptor in a control message, or nil. There is room for one only.
func passed(oob []byte) *os.File {
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range list {
		if fds, err := unix.ParseUnixRights(&list[i]); err == nil && len(fds) > 0 {
			return os.NewFile(uintptr(fds[0]), "from criu")
		}
	}
	return nil
}

// end closes the socket, which ends CRIU, and waits for it.
func (w *worker) end() error {
	_ = w.sock.Close()
	<-w.done
	return w.status
}

// Who is not wanted any more is told so by the answer to its next notification. firstGrace is how long CRIU may take to come there, most of a restore of a
// small process; then the process that it makes is killed, which it notices in most places (4.2 waits for ever in one). lastGrace is how long it may take back
// what it did before it is killed too, and leaves folders behind.
const (
	firstGrace = time.Second
	lastGrace  = 5 * time.Second
)

// bound ends CRIU's work when ctx ends. The context that it returns ends with CRIU too; the function ends it.
func (w *worker) bound(ctx context.Context) (context.Context, func()) {
	with, cancel := context.WithCancelCause(ctx)
	go func() {
		if endsBefore(w.done, with.Done()) {
			cancel(errGone)
			return
		}
		if endsBefore(w.done, time.After(firstGrace)) {
			return
		}
		if init := w.init.Load(); init != nil {
			_ = init.Signal(unix.SIGKILL) // it may have ended
		}
		if !endsBefore(w.done, time.After(lastGrace)) {
			_ = w.cmd.Process.Kill() // it may have ended
		}
	}()
	return with, func() { cancel(nil) }
}

// endsBefore waits for the first of two ends, and says whether it is a's.
func endsBefore[T any](a <-chan struct{}, b <-chan T) bool {
	select {
	case <-a:
		return true
	case <-b:
		return false
	}
}

// refusal is the error of an answer that says no, nil for one that says yes.
func (w *worker) refusal(resp *rpc.CriuResp, err error) error {
	if err == nil && !resp.GetSuccess() {
		text := resp.GetCrErrmsg()
		if text == "" && resp.GetCrErrno() != 0 {
			text = unix.Errno(resp.GetCrErrno()).Error()
		}
		if text == "" {
			text = "no reason given"
		}
		err = fmt.Errorf("criu failed: %s", strings.TrimSpace(text))
	}
	return err
}

// lastBytes keeps the last bytes that are written to it.
type lastBytes struct {
	limit int
	data  []byte
}

func (t *lastBytes) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if n := len(t.data) - t.limit; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(p), nil
}
