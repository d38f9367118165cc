package run

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Numbers of i386 (arch/x86/entry/syscalls/syscall_32.tbl). On x86-64 they are other calls: 39 is getpid, 41 socket, 102 getuid, 199 fremovexattr.
const (
	i386Mkdir      = 39
	i386Socketcall = 102
	i386Getuid32   = 199
	i386Socket     = 359
	i386Newest     = 1000 // none yet
)

// i386Text is where the program is in memory; its string stands behind its headers.
const (
	i386Base   = 0x08048000
	i386Header = 52 + 32
	i386Path   = "/tmp/i386\x00"
	i386String = i386Base + i386Header
)

// i386Program is a static program of i386 that makes one call by int 0x80 and exits with its errno, or 0.
func i386Program(nr uint32, args [3]uint32) []byte {
	le := binary.LittleEndian
	var code []byte
	load := func(opcode byte, n uint32) { code = le.AppendUint32(append(code, opcode), n) } // mov $n, %eax..%edi
	load(0xb8, nr)
	load(0xbb, args[0])
	load(0xb9, args[1])
	load(0xba, args[2])
	code = append(code, 0xcd, 0x80, 0xf7, 0xd8, 0x89, 0xc3) // int $0x80; neg %eax; mov %eax, %ebx
	load(0xb8, 1)                                           // exit
	code = append(code, 0xcd, 0x80)
	size := uint32(i386Header + len(i386Path) + len(code))
	b := []byte("\x7fELF\x01\x01\x01")
	b = append(b, make([]byte, 9)...)
	for _, half := range []uint16{2, 3} { // ET_EXEC, EM_386
		b = le.AppendUint16(b, half)
	}
	for _, word := range []uint32{1, i386String + uint32(len(i386Path)), 52, 0, 0} {
		b = le.AppendUint32(b, word)
	}
	for _, half := range []uint16{52, 32, 1, 0, 0, 0} {
		b = le.AppendUint16(b, half)
	}
	for _, word := range []uint32{1, 0, i386Base, i386Base, size, size, 5, 0x1000} { // PT_LOAD, readable and executable
		b = le.AppendUint32(b, word)
	}
	return append(append(b, i386Path...), code...)
}

// TestSeccompI386: a 32-bit program is filtered by its own numbers, with arguments of 32 bits; without its architecture in the profile it is killed.
func TestSeccompI386(t *testing.T) {
	mkdir := withErrno(uint(unix.EXDEV), "mkdir")
	mode := withErrno(uint(unix.EXDEV), "mkdir")
	mode.Args = []specs.LinuxSeccompArg{{Index: 1, Value: 0o700, Op: specs.OpEqualTo}}
	only64 := profile(mkdir)
	only64.Architectures = only64.Architectures[:1]
	make700, make711 := [3]uint32{i386String, 0o700}, [3]uint32{i386String, 0o711}
	for name, c := range map[string]struct {
		p    *specs.LinuxSeccomp
		nr   uint32
		args [3]uint32
		want uint32
	}{
		"no profile":               {nil, i386Mkdir, make700, 0},
		"allowed":                  {profile(calls(specs.ActErrno, "rmdir")), i386Mkdir, make700, 0},
		"its number of another":    {profile(withErrno(uint(unix.EXDEV), "getpid")), i386Mkdir, make700, 0},
		"refused":                  {profile(mkdir), i386Mkdir, make700, uint32(unix.EXDEV)},
		"refused by an argument":   {profile(mode), i386Mkdir, make700, uint32(unix.EXDEV)},
		"allowed by an argument":   {profile(mode), i386Mkdir, make711, 0},
		"of 32 bits alone":         {profile(withErrno(uint(unix.EXDEV), "getuid32")), i386Getuid32, [3]uint32{}, uint32(unix.EXDEV)},
		"socket":                   {profile(withErrno(uint(unix.EXDEV), "socket")), i386Socket, [3]uint32{unix.AF_UNIX, unix.SOCK_STREAM}, uint32(unix.EXDEV)},
		"socket by its other call": {profile(withErrno(uint(unix.EXDEV), "socketcall")), i386Socketcall, [3]uint32{1, i386String}, uint32(unix.EXDEV)},
		"newer than the profile":   {profile(mkdir), i386Newest, [3]uint32{}, uint32(unix.ENOSYS)},
		"killed":                   {profile(calls(specs.ActKillProcess, "mkdir")), i386Mkdir, make700, 128 + uint32(unix.SIGSYS)},
		"another architecture":     {only64, i386Getuid32, [3]uint32{}, 128 + uint32(unix.SIGSYS)},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := newBundle(t, func(s *specs.Spec) { s.Process.Args, s.Linux.Seccomp = []string{"/bin/i386"}, c.p })
			if err := os.WriteFile(filepath.Join(bundle, "rootfs/bin/i386"), i386Program(c.nr, c.args), 0o755); err != nil {
				t.Fatal(err)
			}
			box, err := Create(t.Context(), newDeps(t), request(bundle))
			if err != nil {
				t.Fatal(err)
			}
			if err := box.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-box.Init().Done()
			if got, _ := box.Init().Exit(); got != c.want {
				t.Errorf("exit status %d, want %d", got, c.want)
			}
			if err := box.Delete(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
