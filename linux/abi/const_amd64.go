package abi

// Values of open(2) that differ by architecture.
const (
	O_DIRECTORY = 0x10000
	O_NOFOLLOW  = 0x20000
)
