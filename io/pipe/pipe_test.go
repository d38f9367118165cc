package pipe

import (
	"testing"

	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/iotest"
	"example.io/shim/io/internal/nonblock"
)

func TestMain(m *testing.M) { iotest.Main(m) }

func TestOnlyOurEndIsNonBlocking(t *testing.T) {
	for ours, want := range map[Ours][2]bool{Neither: {false, false}, Read: {true, false}, Write: {false, true}} {
		p, err := New(ours, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]bool{iotest.NonBlocking(t, p.R), iotest.NonBlocking(t, p.W)}; got != want {
			t.Errorf("%d: non-blocking: %v, want %v", ours, got, want)
		}
		if err := nonblock.Close(p.R, p.W); err != nil {
			t.Error(err)
		}
	}
}

func TestOwnerAndCloseOnExec(t *testing.T) {
	p, err := New(Read, 1234, 5678)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name    string
		control func(func(fd int) error) error
	}{
		{"read", func(fn func(int) error) error { return nonblock.Control(p.R, fn) }},
		{"write", func(fn func(int) error) error { return nonblock.Control(p.W, fn) }},
	} {
		var st unix.Stat_t
		var flags int
		err := f.control(func(fd int) (err error) {
			if flags, err = unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
				return err
			}
			return unix.Fstat(fd, &st)
		})
		if err != nil || st.Uid != 1234 || st.Gid != 5678 || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s end: owner %d:%d, flags %#x, %v", f.name, st.Uid, st.Gid, flags, err)
		}
	}
	if err := nonblock.Close(p.R, p.W); err != nil {
		t.Error(err)
	}
}
