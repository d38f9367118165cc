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

#define SYS_rt_sigprocmask 135
#define SYS_exit_group 94
#define SYS_clone3 435
#define SYS_clock_gettime 113
#define SIG_SETMASK 2
#define CLOCK_MONOTONIC 1

// func forkChild(args, size, entry, hdr uintptr) int64
//
// In the child: R19 the instruction, R20 the header. No stack, no g, no TLS from the label next on: the memory
// that SP names is not mapped there.
TEXT ·forkChild(SB), NOSPLIT, $16-40
	// Block all signals; the old mask lies in the frame.
	MOVD $-1, R3
	MOVD R3, all-8(SP)
	MOVD $SIG_SETMASK, R0
	MOVD $all-8(SP), R1
	MOVD $old-16(SP), R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	MOVD args+0(FP), R0
	MOVD size+8(FP), R1
	MOVD entry+16(FP), R19
	MOVD hdr+24(FP), R20
	MOVD $SYS_clone3, R8
	SVC
	CBZ R0, next
	MOVD R0, ret+32(FP)
	MOVD $SIG_SETMASK, R0
	MOVD $old-16(SP), R1
	MOVD $0, R2
	MOVD $8, R3
	MOVD $SYS_rt_sigprocmask, R8
	SVC
	RET

next: // carry out the instruction at R19
	MOVWU in_step(R19), R9
	MOVD R9, hdr_step(R20)
	MOVD hdr_times(R20), R1
	CBNZ R1, stamp
begin:
	MOVD in_load(R19), R10
	MOVD (in_args+0)(R19), R0
	TBZ $0, R10, arg1
	MOVD (R0), R0
arg1:
	MOVD (in_args+8)(R19), R1
	TBZ $1, R10, arg2
	MOVD (R1), R1
arg2:
	MOVD (in_args+16)(R19), R2
	TBZ $2, R10, arg3
	MOVD (R2), R2
arg3:
	MOVD (in_args+24)(R19), R3
	TBZ $3, R10, arg4
	MOVD (R3), R3
arg4:
	MOVD (in_args+32)(R19), R4
	TBZ $4, R10, arg5
	MOVD (R4), R4
arg5:
	MOVD (in_args+40)(R19), R5
	TBZ $5, R10, dispatch
	MOVD (R5), R5

dispatch:
	MOVWU in_op(R19), R9
	CMPW $1, R9
	BEQ check
	CMPW $2, R9
	BEQ move
	CMPW $3, R9
	BEQ fault
	CMPW $4, R9
	BEQ end
	MOVD in_number(R19), R8
	SVC
	CMN $4095, R0
	BHS error // unsigned: -4095 to -1
	MOVWU in_flags(R19), R10
	TBZ $1, R10, want
	CBNZ R0, left
	B advance // the pid is saved by the process that leaves, which runs beside this one
want:
	TBZ $0, R10, good
	MOVD in_want(R19), R9
	CMP R9, R0
	BNE failed
good:
	MOVD in_save(R19), R9
	CBZ R9, advance
	MOVD R0, (R9)
advance:
	MOVWU in_onok(R19), R9
	ADD R9, R19
	B next

stamp: // note when the step begins: a struct timespec of the table
	LSL $4, R9, R9
	ADD R9, R1, R1
	MOVD $CLOCK_MONOTONIC, R0
	MOVD $SYS_clock_gettime, R8
	SVC
	JMP begin

check: // argument 0 masked is the wanted value
	MOVD in_mask(R19), R9
	AND R9, R0
	MOVD in_want(R19), R9
	CMP R9, R0
	BEQ advance
fault:
	MOVWU in_errno(R19), R0
	NEG R0, R0
	B error

move: // argument 0 to the place argument 1
	MOVD R0, (R1)
	B advance

error: // R0 is -errno: another try, go on, or give up
	NEG R0, R11
	MOVWU in_retries(R19), R9
	CBZW R9, tolerate
	MOVWU in_retryon(R19), R10
	CMPW R10, R11
	BNE tolerate
	SUBW $1, R9
	MOVW R9, in_retries(R19)
	B next
tolerate:
	MOVHU (in_errnos+0)(R19), R9
	CMPW R9, R11
	BEQ tolerated
	MOVHU (in_errnos+2)(R19), R9
	CMPW R9, R11
	BEQ tolerated
	MOVHU (in_errnos+4)(R19), R9
	CMPW R9, R11
	BEQ tolerated
	MOVHU (in_errnos+6)(R19), R9
	CMPW R9, R11
	BNE failed
tolerated:
	MOVD in_save(R19), R9
	CBZ R9, skip
	MOVD R0, (R9)
skip:
	MOVWU in_onerr(R19), R9
	ADD R9, R19
	B next

failed:
	MOVD R0, hdr_result(R20)
	MOVWU in_step(R19), R9
	MOVD R9, hdr_failed(R20)
	MOVD $1, R9
	MOVD R9, hdr_state(R20)
	MOVD $1, R0
	B exit

end: // with the status argument 0 and the wanted value together
	MOVD in_want(R19), R9
	ORR R9, R0
	B exit

left: // the clone goes on; this process has done its part
	MOVD in_save(R19), R9
	CBZ R9, leave
	MOVD R0, (R9)
leave:
	MOVD $0, R0
exit:
	MOVD $SYS_exit_group, R8
	SVC
	UNDEF // a seccomp filter has not let it end: a fault does, which no filter and no mask holds back
