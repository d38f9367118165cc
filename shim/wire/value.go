package wire

import (
	"encoding/binary"
	"errors"
	"math"
)

// kind is how a field is written: the low three bits of its tag.
type kind uint8

const (
	varint     kind = 0
	fixed64    kind = 1
	length     kind = 2 // texts, bytes, messages, packed numbers
	groupBegin kind = 3 // proto3 has none, but an unknown field may be one
	groupEnd   kind = 4
	fixed32    kind = 5
)

const (
	kindBits  = 3
	maxNumber = 1<<29 - 1 // of a field
	maxVarint = binary.MaxVarintLen64
	// maxGroups bounds groups in groups, which are in no message of ours.
	maxGroups = 100
)

var (
	errEnd    = errors.New("it ends within a field")
	errNumber = errors.New("a number is longer than 64 bits")
	errField  = errors.New("a field has no number that there is")
	errKind   = errors.New("a field has no type that there is")
	errGroup  = errors.New("a group does not end where it should")
)

// value is one field of an encoded message.
type value struct {
	num    uint64
	kind   kind
	number uint64 // of varint and the fixed ones
	bytes  []byte // of length
}

// next takes the field at the beginning of b, which is not empty, and returns the rest.
func (v *value) next(b []byte) ([]byte, error) { return v.take(b, 0) }

func (v *value) take(b []byte, depth int) (rest []byte, err error) {
	tag, b, err := takeVarint(b)
	if err != nil {
		return nil, err
	}
	*v = value{num: tag >> kindBits, kind: kind(tag & (1<<kindBits - 1))}
	if v.num == 0 || v.num > maxNumber {
		return nil, errField
	}
	switch v.kind {
	case varint:
		v.number, b, err = takeVarint(b)
		return b, err
	case fixed64:
		if len(b) < 8 {
			return nil, errEnd
		}
		v.number = binary.LittleEndian.Uint64(b)
		return b[8:], nil
	case fixed32:
		if len(b) < 4 {
			return nil, errEnd
		}
		v.number = uint64(binary.LittleEndian.Uint32(b))
		return b[4:], nil
	case length:
		n, b, err := takeVarint(b)
		if err != nil {
			return nil, err
		}
		if n > uint64(len(b)) {
			return nil, errEnd
		}
		v.bytes = b[:n:n]
		return b[n:], nil
	case groupBegin:
		return skipGroup(b, v.num, depth)
	case groupEnd:
		if depth == 0 {
			return nil, errGroup
		}
		return b, nil
	}
	return nil, errKind
}

// skipGroup returns what is behind the group of that number.
func skipGroup(b []byte, num uint64, depth int) (rest []byte, err error) {
	if depth == maxGroups {
		return nil, errGroup
	}
	for {
		if len(b) == 0 {
			return nil, errEnd
		}
		var v value
		if b, err = v.take(b, depth+1); err != nil {
			return nil, err
		}
		if v.kind == groupEnd {
			if v.num != num {
				return nil, errGroup
			}
			return b, nil
		}
	}
}

func takeVarint(b []byte) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	switch {
	case n > 0:
		return v, b[n:], nil
	case n == 0:
		return 0, nil, errEnd
	}
	return 0, nil, errNumber
}

func appendTag(b []byte, num uint64, k kind) []byte { return appendVarint(b, num<<kindBits|uint64(k)) }
func appendVarint(b []byte, v uint64) []byte        { return binary.AppendUvarint(b, v) }
func appendFixed64(b []byte, v uint64) []byte       { return binary.LittleEndian.AppendUint64(b, v) }

func appendBytes[S string | []byte](b []byte, s S) []byte {
	return append(appendVarint(b, uint64(len(s))), s...)
}

func toBits(f float64) uint64   { return math.Float64bits(f) }
func fromBits(b uint64) float64 { return math.Float64frombits(b) }
