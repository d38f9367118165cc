#include "textflag.h"

// func take(signal int64, action *[4]uint64) int64
TEXT ·take(SB),NOSPLIT,$0-24
	MOVD	signal+0(FP), R0
	MOVD	action+8(FP), R1
	MOVD	$·handler(SB), R3
	MOVD	R3, 0(R1)
	MOVD	$0x18000000, R3 // SA_RESTART | SA_ONSTACK: the kernel has a restorer of its own
	MOVD	R3, 8(R1)
	MOVD	ZR, 16(R1)
	MOVD	$-1, R3 // nothing interrupts the handler
	MOVD	R3, 24(R1)
	MOVD	ZR, R2
	MOVD	$8, R3 // bytes of a mask
	MOVD	$134, R8 // rt_sigaction
	SVC
	NEG	R0, R0
	MOVD	R0, ret+16(FP)
	RET

// handler is called by the kernel, with the signal's number in R0. What it changes, the return from a signal restores.
TEXT ·handler(SB),NOSPLIT|NOFRAME,$0-0
	SUB	$16, RSP
	MOVD	R0, 0(RSP)
	MOVW	·writeEnd(SB), R0
	MOVD	RSP, R1
	MOVD	$1, R2
	MOVD	$64, R8 // write
	SVC
	ADD	$16, RSP
	RET
