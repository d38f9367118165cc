package spec

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// What a kernel can be built for at most (NR_CPUS and MAX_NUMNODES of amd64).
const (
	maxCPUs  = 8192
	maxNodes = 1024
)

// NumberSet reads a list of CPUs or memory nodes, "0-3,7", into the kernel's bit set: 64-bit words, the least one first. limit is how many there
// can be. An empty text is the empty set.
func NumberSet(text string, limit int) ([]byte, error) {
	words := make([]uint64, 0, 1)
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		from, err := strconv.ParseUint(low, 10, 32)
		to := from
		if err == nil && isRange {
			to, err = strconv.ParseUint(high, 10, 32)
		}
		switch {
		case err != nil:
			return nil, fmt.Errorf("%q is neither a number nor a range such as 0-3", part)
		case from > to:
			return nil, fmt.Errorf("%q ends before it begins", part)
		case to >= uint64(limit):
			return nil, fmt.Errorf("%q: there are at most %d", part, limit)
		}
		for n := from; n <= to; n++ {
			for uint64(len(words)) <= n/64 {
				words = append(words, 0)
			}
			words[n/64] |= 1 << (n % 64)
		}
	}
	set := make([]byte, 0, 8*len(words))
	for _, w := range words {
		set = binary.LittleEndian.AppendUint64(set, w)
	}
	return set, nil
}

// CPUSet is NumberSet for CPUs.
func CPUSet(text string) ([]byte, error) { return NumberSet(text, maxCPUs) }

// NodeSet is NumberSet for memory nodes.
func NodeSet(text string) ([]byte, error) { return NumberSet(text, maxNodes) }
