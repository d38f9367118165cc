#include "textflag.h"

#define SYS_prctl 157
#define PR_SET_TIMERSLACK 29
#define PR_GET_TIMERSLACK 30
#define COARSE 500000 // ns: of what was tried, the most that no exec became slower by

// entry is the first code of the program, or what linux/entry ends with. The stack is as the kernel made it, and stays so.
TEXT ·entry(SB), NOSPLIT|NOFRAME, $0-0
	MOVL	$PR_GET_TIMERSLACK, DI
	MOVL	$SYS_prctl, AX
	SYSCALL
	CMPQ	AX, $1
	JLT	runtime // an error
	CMPQ	AX, $COARSE
	JGE	runtime
	MOVQ	AX, ·original(SB)
	MOVL	$PR_SET_TIMERSLACK, DI
	MOVL	$COARSE, SI
	MOVL	$SYS_prctl, AX
	SYSCALL
runtime:
	JMP	_rt0_amd64_linux(SB)
