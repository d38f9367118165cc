#include "textflag.h"

#define SYS_write 1
#define SYS_read 0
#define SYS_close 3
#define SYS_clone 56
#define SYS_execve 59
#define SYS_fcntl 72
#define SYS_clock_gettime 228
#define SYS_exit_group 231
#define SYS_openat 257
#define SYS_faccessat 269
#define SYS_dup3 292
#define SYS_pipe2 293
#define SYS_execveat 322
#define SYS_open_tree 428
#define SYS_mount_setattr 442

#define AT_FDCWD -100
#define AT_EMPTY_PATH 0x1000
#define F_SETFD 2
#define O_CLOEXEC 0x80000
#define OPEN_TREE_CLONE 1
#define VFORK 0x4111 // CLONE_VM|CLONE_VFORK|SIGCHLD: the child has our memory, and we stand still, until it executes
#define READ_ONLY 3  // MOUNT_ATTR_RDONLY|MOUNT_ATTR_NOSUID
#define MS_PRIVATE 0x40000
#define WORD_FD 3

#define STAR 0x72617473 // "star"
#define SERV 0x76726573 // "serv"
#define DELE 0x656c6564 // "dele"

// What containerd says at least: the program, -namespace NS -address SOCKET -publish-binary FILE -id ID -bundle DIR delete.
#define DELETE_ARGC 12
#define ARGV_ID_FLAG 56     // argv[7]
#define ARGV_BUNDLE_FLAG 72 // argv[9]
#define ARGV_BUNDLE 80      // argv[10]
#define O_DIRECTORY 0x210000 // O_PATH|O_DIRECTORY
#define ENOENT 2

DATA exe<>+0(SB)/8, $"/proc/se"
DATA exe<>+8(SB)/8, $"lf/exe\x00\x00"
GLOBL exe<>(SB), RODATA, $16

DATA died<>+0(SB)/8, $"the shim"
DATA died<>+8(SB)/8, $" died be"
DATA died<>+16(SB)/8, $"fore it "
DATA died<>+24(SB)/8, $"answered"
GLOBL died<>(SB), RODATA, $32

DATA state<>+0(SB)/8, $"shim-sta"
DATA state<>+8(SB)/8, $"te.json\x00"
GLOBL state<>(SB), RODATA, $16

DATA address<>+0(SB)/8, $"address\x00"
GLOBL address<>(SB), RODATA, $8

// Places in the frame, which is below argc: the pipe, the byte that comes through it, and struct mount_attr.
#define pipes 0
#define word 8
#define attr 16
#define now 0   // struct timespec
#define answer 16
#define FRAME 64

// The kernel enters here: argc at SP, behind it argv, a null, and the environment (the psABI's "Initial Stack and Register State").
// R12 argc, R13 argv, R14 the last argument, R15 the daemon's end of the pipe.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0
	MOVQ 0(SP), R12
	LEAQ 8(SP), R13
	CMPQ R12, $2
	JLT runtime
	MOVQ 8(R13), BX // argv[1] is a flag in what containerd says; `explain` is not
	CMPB (BX), $0x2d
	JNE runtime
	MOVQ -8(R13)(R12*8), R14
	CMPL (R14), $DELE
	JEQ delete
	CMPL (R14), $STAR
	JNE runtime
	CMPW 4(R14), $0x74 // "t" and the end
	JNE runtime
	SUBQ $FRAME, SP
	MOVQ $SYS_pipe2, AX
	LEAQ pipes(SP), DI
	MOVQ $O_CLOEXEC, SI
	SYSCALL
	TESTQ AX, AX
	JNZ back
	MOVL (pipes+4)(SP), R15
	MOVQ $SYS_clone, AX
	MOVQ $VFORK, DI
	MOVQ $0, SI
	MOVQ $0, DX
	MOVQ $0, R10
	MOVQ $0, R8
	SYSCALL
	TESTQ AX, AX
	JZ child
	JLT back
	MOVQ $SYS_close, AX
	MOVQ R15, DI
	SYSCALL
	MOVQ $SYS_read, AX
	MOVL pipes(SP), DI
	LEAQ word(SP), SI
	MOVQ $1, DX
	SYSCALL
	MOVBLZX word(SP), DI
	CMPQ AX, $1
	JEQ exit
	MOVQ $SYS_write, AX
	MOVQ $2, DI
	LEAQ died<>(SB), SI
	MOVQ $32, DX
	SYSCALL
	MOVQ $1, DI
exit:
	MOVQ $SYS_exit_group, AX
	SYSCALL
	JMP exit

child:
	MOVQ $SYS_dup3, AX // without O_CLOEXEC
	MOVQ R15, DI
	MOVQ $WORD_FD, SI
	MOVQ $0, DX
	CMPQ DI, SI
	JEQ inherit
	SYSCALL
	JMP view
inherit: // it is that one already: have it outlive execve
	MOVQ $SYS_fcntl, AX
	MOVQ R15, DI
	MOVQ $F_SETFD, SI
	MOVQ $0, DX
	SYSCALL
view:
	MOVL $SERV, (R14)
	MOVW $0x65, 4(R14)
	MOVQ $SYS_open_tree, AX
	MOVQ $AT_FDCWD, DI
	LEAQ exe<>(SB), SI
	MOVQ $(OPEN_TREE_CLONE|O_CLOEXEC), DX
	SYSCALL
	TESTQ AX, AX
	JLT plain
	MOVQ AX, R15
	MOVQ $READ_ONLY, (attr+0)(SP)
	MOVQ $0, (attr+8)(SP)
	MOVQ $MS_PRIVATE, (attr+16)(SP)
	MOVQ $0, (attr+24)(SP)
	MOVQ $SYS_mount_setattr, AX
	MOVQ R15, DI
	LEAQ exe<>+15(SB), SI // ""
	MOVQ $AT_EMPTY_PATH, DX
	LEAQ attr(SP), R10
	MOVQ $32, R8
	SYSCALL
	TESTQ AX, AX
	JNZ plain
	MOVQ $SYS_execveat, AX
	MOVQ R15, DI
	LEAQ exe<>+15(SB), SI
	MOVQ R13, DX
	LEAQ 8(R13)(R12*8), R10
	MOVQ $AT_EMPTY_PATH, R8
	SYSCALL
plain: // where the kernel does not let us mount
	MOVQ $SYS_execve, AX
	LEAQ exe<>(SB), DI
	MOVQ R13, SI
	LEAQ 8(R13)(R12*8), DX
	SYSCALL
	MOVQ $1, DI
	JMP exit

// A delete where nothing is left: neither the container's state nor the file with the socket's address is in the bundle.
delete:
	CMPL 3(R14), $0x657465 // "ete" and the end
	JNE runtime
	CMPQ R12, $DELETE_ARGC
	JLT runtime
	MOVQ ARGV_ID_FLAG(R13), BX
	CMPL (BX), $0x64692d // "-id" and the end
	JNE runtime
	MOVQ ARGV_BUNDLE_FLAG(R13), BX
	CMPL (BX), $0x6e75622d // "-bun", "dle" and the end
	JNE runtime
	CMPL 4(BX), $0x656c64
	JNE runtime
	SUBQ $FRAME, SP
	MOVQ $SYS_openat, AX
	MOVQ $AT_FDCWD, DI
	MOVQ ARGV_BUNDLE(R13), SI
	MOVQ $O_DIRECTORY, DX
	SYSCALL
	MOVQ AX, R15
	TESTQ AX, AX
	JLT back
	MOVQ $SYS_faccessat, AX
	MOVQ R15, DI
	LEAQ state<>(SB), SI
	MOVQ $0, DX
	SYSCALL
	CMPQ AX, $-ENOENT
	JNE left
	MOVQ $SYS_faccessat, AX
	MOVQ R15, DI
	LEAQ address<>(SB), SI
	MOVQ $0, DX
	SYSCALL
	CMPQ AX, $-ENOENT
	JNE left
	MOVQ $SYS_clock_gettime, AX
	MOVQ $0, DI // CLOCK_REALTIME
	LEAQ now(SP), SI
	SYSCALL
	// containerd.task.v2.DeleteResponse: exit_status = 2 is 137, exited_at = 3 is a Timestamp of seconds = 1 and nanos = 2.
	LEAQ answer(SP), DI
	MOVL $0x1a018910, (DI)
	LEAQ 5(DI), DI // its length comes to byte 4
	MOVB $0x08, (DI)
	INCQ DI
	MOVQ (now+0)(SP), AX
	MOVQ $1, CX
varint:
	CMPQ AX, $0x80
	JCS last
	MOVQ AX, BX
	ORQ $0x80, BX
	MOVB BX, (DI)
	INCQ DI
	SHRQ $7, AX
	JMP varint
last:
	MOVB AX, (DI)
	INCQ DI
	DECQ CX
	JLT encoded
	MOVB $0x10, (DI)
	INCQ DI
	MOVQ (now+8)(SP), AX
	JMP varint
encoded:
	MOVQ DI, DX
	LEAQ answer(SP), SI
	SUBQ SI, DX
	LEAQ -5(DX), AX
	MOVB AX, 4(SI)
	MOVQ DX, R14
	MOVQ $1, DI
	MOVQ $SYS_write, AX
	SYSCALL
	MOVQ $0, DI
	CMPQ AX, R14
	JEQ exit
	MOVQ $1, DI
	JMP exit

left: // Go's part removes it
	MOVQ $SYS_close, AX
	MOVQ R15, DI
	SYSCALL
back:
	ADDQ $FRAME, SP
runtime:
	JMP example·io∕shim∕linux∕slack·entry(SB)
