#include "textflag.h"

// func take(signal int64, action *[4]uint64) int64
TEXT ·take(SB),NOSPLIT,$0-24
	MOVQ	signal+0(FP), DI
	MOVQ	action+8(FP), SI
	LEAQ	·handler(SB), AX
	MOVQ	AX, 0(SI)
	MOVQ	$0x1c000000, AX // SA_RESTART | SA_ONSTACK | SA_RESTORER
	MOVQ	AX, 8(SI)
	LEAQ	·restorer(SB), AX
	MOVQ	AX, 16(SI)
	MOVQ	$-1, AX // nothing interrupts the handler
	MOVQ	AX, 24(SI)
	XORL	DX, DX
	MOVL	$8, R10 // bytes of a mask
	MOVL	$13, AX // rt_sigaction
	SYSCALL
	NEGQ	AX
	MOVQ	AX, ret+16(FP)
	RET

// handler is called by the kernel, with the signal's number in DI. What it changes, the return from a signal restores.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0-0
	PUSHQ	DI
	MOVL	·writeEnd(SB), DI
	MOVQ	SP, SI
	MOVL	$1, DX
	MOVL	$1, AX // write
	SYSCALL
	POPQ	DI
	RET

TEXT ·restorer(SB),NOSPLIT|NOFRAME,$0-0
	MOVL	$15, AX // rt_sigreturn
	SYSCALL
	INT	$3
