package ttrpc

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Sockets are used without package net: its init and what it brings along would be paid by every container's shim, and a Unix socket is three system calls.

// Listener is a listening Unix socket.
type Listener struct{ file *os.File }

// socket makes a descriptor that Go's poller can wait for.
func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fd, os.NewSyscallError("socket", err)
}

// Listen makes a socket at path that only its owner may connect to.
func Listen(path string) (*Listener, error) {
	fd, err := socket()
	if err != nil {
		return nil, err
	}
	l := &Listener{os.NewFile(uintptr(fd), path)}
	// The file that bind(2) makes has the mode of the descriptor, less the umask: nobody can connect before it is right.
	if err := unix.Fchmod(fd, 0o600); err != nil {
		return nil, errors.Join(os.NewSyscallError("fchmod", err), l.Close())
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, errors.Join(os.NewSyscallError("bind", err), l.Close())
	}
	if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
		return nil, errors.Join(os.NewSyscallError("listen", err), os.Remove(path), l.Close())
	}
	return l, nil
}

// Inherit takes a listening socket that another process has made; the descriptor is the Listener's from then on.
func Inherit(fd int) (*Listener, error) {
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	} else if on == 0 {
		return nil, fmt.Errorf("it does not listen")
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return &Listener{os.NewFile(uintptr(fd), "listener")}, nil
}

// File is the socket, still the Listener's, to be given to another process.
func (l *Listener) File() *os.File { return l.file }

// Close ends the listening, also that which is under way. The file stays.
func (l *Listener) Close() error { return l.file.Close() }

// accept waits for a connection.
func (l *Listener) accept() (*os.File, error) {
	raw, err := l.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	var failed error
	err = raw.Read(func(listener uintptr) bool {
		for {
			fd, _, failed = unix.Accept4(int(listener), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if failed != unix.EINTR && failed != unix.ECONNABORTED { // the latter gave up before we came
				return failed != unix.EAGAIN
			}
		}
	})
	if err := errors.Join(err, os.NewSyscallError("accept4", failed)); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "connection"), nil
}

// peer returns the user of the other end, as it was when it connected (SO_PEERCRED in unix(7)).
func peer(f *os.File) (uid uint32, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) { cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return 0, err
	}
	if failed != nil {
		return 0, os.NewSyscallError("getsockopt", failed)
	}
	return cred.Uid, nil
}

// connect connects to the socket at path. It does not wait: the kernel completes the connection itself, or says that nobody listens (ECONNREFUSED), or that too
// many wait to be accepted (EAGAIN, unix(7)).
func connect(path string) (*os.File, error) {
	fd, err := socket()
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, &os.PathError{Op: "connect", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Listens says whether anybody listens at path.
func Listens(path string) bool {
	f, err := connect(path)
	if err != nil {
		return errors.Is(err, unix.EAGAIN)
	}
	_ = f.Close()
	return true
}

// temporary says that accepting may work later: there is no descriptor, or no memory, now.
func temporary(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM)
}

// hungUp says that an error of reading is only the other end's leaving, also in the middle of a message.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) || errors.Is(err, unix.EPIPE) || errors.Is(err, os.ErrClosed)
}
