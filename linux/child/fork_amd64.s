#include "textflag.h"

// The numbers are those of package plan (lower.go): offsets in the header (hdr) and in an instruction (in).
#define hdr_step 0
#define hdr_state 8
#define hdr_failed 16
#define hdr_result 24
#define hdr_times 32
#define in_op 0
#define in_flags 4
#define in_number 8
#define in_args 16
#define in_load 64
#define in_save 72
#define in_want 80
#define in_mask 88
#define in_errnos 96
#define in_onok 104
#define in_onerr 108
#define in_retries 112
#define in_retryon 116
#define in_errno 120
#define in_step 124

#define SYS_rt_sigprocmask 14
#define SYS_exit_group 231
#define SYS_clone3 435
#define SYS_clock_gettime 228
#define SIG_SETMASK 2
#define CLOCK_MONOTONIC 1

// func forkChild(args, size, entry, hdr uintptr) int64
//
// In the child: R12 the instruction, R13 the header. No stack, no g, no TLS from the label child on: the memory
// that SP names is not mapped there.
TEXT ·forkChild(SB), NOSPLIT, $16-40
	// Block all signals; the old mask lies in the frame.
	MOVQ $-1, all-8(SP)
	MOVQ $SIG_SETMASK, DI
	LEAQ all-8(SP), SI
	LEAQ old-16(SP), DX
	MOVQ $8, R10
	MOVQ $SYS_rt_sigprocmask, AX
	SYSCALL
	MOVQ args+0(FP), DI
	MOVQ size+8(FP), SI
	MOVQ entry+16(FP), R12
	MOVQ hdr+24(FP), R13
	MOVQ $SYS_clone3, AX
	SYSCALL
	TESTQ AX, AX
	JZ next
	MOVQ AX, ret+32(FP)
	MOVQ $SIG_SETMASK, DI
	LEAQ old-16(SP), SI
	MOVQ $0, DX
	MOVQ $8, R10
	MOVQ $SYS_rt_sigprocmask, AX
	SYSCALL
	RET

next: // carry out the instruction at R12
	MOVL in_step(R12), AX
	MOVQ AX, hdr_step(R13)
	MOVQ hdr_times(R13), SI
	TESTQ SI, SI
	JNZ stamp
begin:
	MOVQ in_load(R12), BX
	MOVQ (in_args+0)(R12), DI
	TESTQ $1, BX
	JZ arg1
	MOVQ (DI), DI
arg1:
	MOVQ (in_args+8)(R12), SI
	TESTQ $2, BX
	JZ arg2
	MOVQ (SI), SI
arg2:
	MOVQ (in_args+16)(R12), DX
	TESTQ $4, BX
	JZ arg3
	MOVQ (DX), DX
arg3:
	MOVQ (in_args+24)(R12), R10
	TESTQ $8, BX
	JZ arg4
	MOVQ (R10), R10
arg4:
	MOVQ (in_args+32)(R12), R8
	TESTQ $16, BX
	JZ arg5
	MOVQ (R8), R8
arg5:
	MOVQ (in_args+40)(R12), R9
	TESTQ $32, BX
	JZ dispatch
	MOVQ (R9), R9

dispatch:
	MOVL in_op(R12), AX
	CMPL AX, $1
	JEQ check
	CMPL AX, $2
	JEQ move
	CMPL AX, $3
	JEQ fault
	CMPL AX, $4
	JEQ end
	MOVQ in_number(R12), AX
	SYSCALL
	CMPQ AX, $-4095
	JCC error // unsigned: -4095 to -1
	MOVL in_flags(R12), BX
	TESTL $2, BX
	JZ want
	TESTQ AX, AX
	JNZ left
	JMP advance // the pid is saved by the process that leaves, which runs beside this one
want:
	TESTL $1, BX
	JZ good
	CMPQ AX, in_want(R12)
	JNE failed
good:
	MOVQ in_save(R12), BX
	TESTQ BX, BX
	JZ advance
	MOVQ AX, (BX)
advance:
	MOVL in_onok(R12), AX
	ADDQ AX, R12
	JMP next

stamp: // note when the step begins: a struct timespec of the table
	SHLQ $4, AX
	ADDQ AX, SI
	MOVQ $CLOCK_MONOTONIC, DI
	MOVQ $SYS_clock_gettime, AX
	SYSCALL
	JMP begin

check: // argument 0 masked is the wanted value
	ANDQ in_mask(R12), DI
	MOVQ $0, AX
	CMPQ DI, in_want(R12)
	JEQ advance
fault:
	MOVL in_errno(R12), AX
	NEGQ AX
	JMP error

move: // argument 0 to the place argument 1
	MOVQ DI, (SI)
	JMP advance

error: // AX is -errno: another try, go on, or give up
	MOVQ AX, CX
	NEGQ CX
	MOVL in_retries(R12), BX
	TESTL BX, BX
	JZ tolerate
	CMPL CX, in_retryon(R12)
	JNE tolerate
	DECL BX
	MOVL BX, in_retries(R12)
	JMP next
tolerate:
	MOVWLZX (in_errnos+0)(R12), BX
	CMPL CX, BX
	JEQ tolerated
	MOVWLZX (in_errnos+2)(R12), BX
	CMPL CX, BX
	JEQ tolerated
	MOVWLZX (in_errnos+4)(R12), BX
	CMPL CX, BX
	JEQ tolerated
	MOVWLZX (in_errnos+6)(R12), BX
	CMPL CX, BX
	JNE failed
tolerated:
	MOVQ in_save(R12), BX
	TESTQ BX, BX
	JZ skip
	MOVQ AX, (BX)
skip:
	MOVL in_onerr(R12), AX
	ADDQ AX, R12
	JMP next

failed:
	MOVQ AX, hdr_result(R13)
	MOVL in_step(R12), AX
	MOVQ AX, hdr_failed(R13)
	MOVQ $1, AX
	MOVQ AX, hdr_state(R13)
	MOVQ $1, DI
	JMP exit

end: // with the status argument 0 and the wanted value together
	ORQ in_want(R12), DI
	JMP exit

left: // the clone goes on; this process has done its part
	MOVQ in_save(R12), BX
	TESTQ BX, BX
	JZ leave
	MOVQ AX, (BX)
leave:
	MOVQ $0, DI
exit:
	MOVQ $SYS_exit_group, AX
	SYSCALL
	UNDEF // a seccomp filter has not let it end: a fault does, which no filter and no mask holds back
