package bpf

// The table of system calls (table_data.go, written by TestTable -update) is three string constants: they lie in the binary's read-only pages, so that a
// start which has no filter to make pays nothing for them, neither an initialiser nor memory of its own.
//
//   - callNames: all names in ascending order, one behind the other.
//   - callEnds: for each name, 16 bits: where it ends in callNames.
//   - callNumbers: for each name, 16 bits an architecture: its number there.
const (
	noNumber = 0xffff // the architecture has no such call
	// Numbers from armFirst on are calls of 32-bit ARM alone, from armPrivate on (__ARM_NR_BASE in asm/unistd.h): they do not fit in 16 bits.
	armFirst, armPrivate = 0xff00, 0xf0000
)

func word16(s string, i int) int { return int(s[2*i]) | int(s[2*i+1])<<8 }

const callCount = len(callEnds) / 2

// callName returns the name of entry i.
func callName(i int) string {
	from := 0
	if i > 0 {
		from = word16(callEnds, i-1)
	}
	return callNames[from:word16(callEnds, i)]
}

// findCall returns the entry of a name, -1 when no architecture has such a call. guess is where it may be: the names of a profile are in order mostly.
func findCall(name string, guess int) int {
	low, high := 0, callCount
	for step := 1; guess >= low && guess < high; step *= 4 {
		switch at := callName(guess); {
		case at == name:
			return guess
		case at < name:
			low = guess + 1
			guess += step
		default:
			high = guess
		}
	}
	for low < high {
		mid := (low + high) / 2
		switch at := callName(mid); {
		case at == name:
			return mid
		case at < name:
			low = mid + 1
		default:
			high = mid
		}
	}
	return -1
}

// callNumber returns the number of entry i on an architecture, without the bit of x32.
func callNumber(i int, a Arch) (uint32, bool) {
	n := word16(callNumbers, i*int(arches)+int(a))
	switch {
	case n == noNumber:
		return 0, false
	case n >= armFirst:
		return uint32(n - armFirst + armPrivate), true
	}
	return uint32(n), true
}

// Number returns the number of a system call on an architecture as the kernel reports it, and whether there is one.
func Number(name string, a Arch) (uint32, bool) {
	i := findCall(name, -1)
	if i < 0 {
		return 0, false
	}
	n, ok := callNumber(i, a)
	if ok && a == X32 {
		n |= x32Bit
	}
	return n, ok
}

// muxed returns by which call of socketcall(2) or ipc(2), named by its entry's name, a call can be made too; "" for none. The numbers are the SYS_ ones of
// linux/net.h and those of linux/ipc.h.
func muxed(name string) (by string, call uint32) {
	const socketcall, ipc = "socketcall", "ipc"
	switch name {
	case "socket":
		return socketcall, 1
	case "bind":
		return socketcall, 2
	case "connect":
		return socketcall, 3
	case "listen":
		return socketcall, 4
	case "accept":
		return socketcall, 5
	case "getsockname":
		return socketcall, 6
	case "getpeername":
		return socketcall, 7
	case "socketpair":
		return socketcall, 8
	case "send":
		return socketcall, 9
	case "recv":
		return socketcall, 10
	case "sendto":
		return socketcall, 11
	case "recvfrom":
		return socketcall, 12
	case "shutdown":
		return socketcall, 13
	case "setsockopt":
		return socketcall, 14
	case "getsockopt":
		return socketcall, 15
	case "sendmsg":
		return socketcall, 16
	case "recvmsg":
		return socketcall, 17
	case "accept4":
		return socketcall, 18
	case "recvmmsg":
		return socketcall, 19
	case "sendmmsg":
		return socketcall, 20
	case "semop":
		return ipc, 1
	case "semget":
		return ipc, 2
	case "semctl":
		return ipc, 3
	case "semtimedop":
		return ipc, 4
	case "msgsnd":
		return ipc, 11
	case "msgrcv":
		return ipc, 12
	case "msgget":
		return ipc, 13
	case "msgctl":
		return ipc, 14
	case "shmat":
		return ipc, 21
	case "shmdt":
		return ipc, 22
	case "shmget":
		return ipc, 23
	case "shmctl":
		return ipc, 24
	}
	return "", 0
}
