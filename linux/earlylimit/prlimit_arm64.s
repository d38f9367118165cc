#include "textflag.h"

// func prlimit(l *rlimit) int64
TEXT ·prlimit(SB), NOSPLIT, $0-16
	MOVD $261, R8 // prlimit64
	MOVD $0, R0   // this process
	MOVD $7, R1   // RLIMIT_NOFILE
	MOVD $0, R2
	MOVD l+0(FP), R3
	SVC
	MOVD R0, ret+8(FP)
	RET
