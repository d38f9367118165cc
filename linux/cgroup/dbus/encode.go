// Package dbus writes and reads the messages of D-Bus (D-Bus Specification, "Message Protocol"), as much of it as a client of systemd needs. It is pure:
// package systemd has the socket. Why it is not a library: docs/decisions/0015-systemd.md.
package dbus

import (
	"encoding/binary"
	"strings"
)

// Encoder appends values in their wire form: little-endian, each at a multiple of its alignment.
type Encoder struct{ b []byte }

func (e *Encoder) align(n int) {
	for len(e.b)%n != 0 {
		e.b = append(e.b, 0)
	}
}

// Byte appends a number, like Uint16, Uint32 and Uint64; signed ones and floats go by their bits.
func (e *Encoder) Byte(v byte) { e.b = append(e.b, v) }

// Uint16 appends 16 bits.
func (e *Encoder) Uint16(v uint16) {
	e.align(2)
	e.b = binary.LittleEndian.AppendUint16(e.b, v)
}

// Uint32 appends 32 bits.
func (e *Encoder) Uint32(v uint32) {
	e.align(4)
	e.b = binary.LittleEndian.AppendUint32(e.b, v)
}

// Uint64 appends 64 bits.
func (e *Encoder) Uint64(v uint64) {
	e.align(8)
	e.b = binary.LittleEndian.AppendUint64(e.b, v)
}

// Bool appends a boolean.
func (e *Encoder) Bool(v bool) {
	n := uint32(0)
	if v {
		n = 1
	}
	e.Uint32(n)
}

// String appends a string or an object path.
func (e *Encoder) String(s string) {
	e.Uint32(uint32(len(s)))
	e.b = append(append(e.b, s...), 0)
}

// Signature appends a signature. It begins a variant too: the value follows.
func (e *Encoder) Signature(s string) { e.b = append(append(append(e.b, byte(len(s))), s...), 0) }

// Struct begins a struct or the entry of a dictionary: the parts follow.
func (e *Encoder) Struct() { e.align(8) }

// Array appends an array of elements of type elem; f appends the elements.
func (e *Encoder) Array(elem string, f func()) {
	e.align(4)
	at := len(e.b)
	e.b = append(e.b, 0, 0, 0, 0)
	e.align(Alignment(elem))
	start := len(e.b)
	f()
	binary.LittleEndian.PutUint32(e.b[at:], uint32(len(e.b)-start))
}

// Alignment is that of a type.
func Alignment(sig string) int {
	switch sig[0] {
	case 'y', 'g', 'v':
		return 1
	case 'n', 'q':
		return 2
	case 'x', 't', 'd', '(', '{':
		return 8
	}
	return 4
}

// Kinds of messages.
const (
	Call   = 1
	Reply  = 2
	Error  = 3
	Signal = 4
)

// Fields of a message's header.
const (
	fieldPath        = 1
	fieldInterface   = 2
	fieldMember      = 3
	fieldErrorName   = 4
	fieldReplySerial = 5
	fieldDestination = 6
	fieldSender      = 7
	fieldSignature   = 8
)

// Message is a message. Body is in the wire form.
type Message struct {
	Kind                                 byte
	Serial, ReplyTo                      uint32
	Destination, Path, Interface, Member string
	ErrorName, Sender, Signature         string
	Body                                 []byte
}

// Encode returns the wire form.
func (m *Message) Encode() []byte {
	e := &Encoder{}
	e.Byte('l')
	e.Byte(m.Kind)
	e.Byte(0) // no flags
	e.Byte(1) // version of the protocol
	e.Uint32(uint32(len(m.Body)))
	e.Uint32(m.Serial)
	e.Array("(yv)", func() {
		text := func(code byte, sig, s string) {
			if s == "" {
				return
			}
			e.Struct()
			e.Byte(code)
			e.Signature(sig)
			if sig == "g" {
				e.Signature(s)
			} else {
				e.String(s)
			}
		}
		text(fieldPath, "o", m.Path)
		text(fieldInterface, "s", m.Interface)
		text(fieldMember, "s", m.Member)
		text(fieldErrorName, "s", m.ErrorName)
		if m.ReplyTo != 0 {
			e.Struct()
			e.Byte(fieldReplySerial)
			e.Signature("u")
			e.Uint32(m.ReplyTo)
		}
		text(fieldDestination, "s", m.Destination)
		text(fieldSignature, "g", m.Signature)
	})
	e.align(8)
	return append(e.b, m.Body...)
}

// Bytes returns what was appended.
func (e *Encoder) Bytes() []byte { return e.b }

// maxSignature is how long a signature can be.
const maxSignature = 255

// maxDepth is how deep arrays, and structs, can be in each other.
const maxDepth = 32

// ValidType says whether sig is one complete type (D-Bus Specification, "Valid Signatures").
func ValidType(sig string) bool {
	n := typeLen(sig, 0, 0)
	return n > 0 && n == len(sig) && len(sig) <= maxSignature
}

// ValidSignature says whether sig is a sequence of complete types.
func ValidSignature(sig string) bool {
	for rest := sig; rest != ""; {
		n := typeLen(rest, 0, 0)
		if n == 0 {
			return false
		}
		rest = rest[n:]
	}
	return len(sig) <= maxSignature
}

// typeLen is the length of the complete type that sig begins with, 0 for none.
func typeLen(sig string, arrays, structs int) int {
	switch {
	case sig == "" || arrays > maxDepth || structs > maxDepth:
		return 0
	case strings.IndexByte("ybnqiuxtdsogvh", sig[0]) >= 0:
		return 1
	case strings.HasPrefix(sig, "a{"):
		if len(sig) < 4 || strings.IndexByte("ybnqiuxtdsogh", sig[2]) < 0 { // a key is basic
			return 0
		}
		n := typeLen(sig[3:], arrays+1, structs+1)
		if n == 0 || len(sig) <= 3+n || sig[3+n] != '}' {
			return 0
		}
		return 4 + n
	case sig[0] == 'a':
		if n := typeLen(sig[1:], arrays+1, structs); n > 0 {
			return n + 1
		}
	case sig[0] == '(':
		for at := 1; at < len(sig); {
			if sig[at] == ')' {
				if at == 1 {
					return 0 // an empty struct
				}
				return at + 1
			}
			n := typeLen(sig[at:], arrays, structs+1)
			if n == 0 {
				return 0
			}
			at += n
		}
	}
	return 0
}

// Types are the complete types in a sequence of them that is valid.
func Types(sig string) []string {
	var list []string
	for sig != "" {
		n := typeLen(sig, 0, 0)
		list = append(list, sig[:n])
		sig = sig[n:]
	}
	return list
}

// ValidPath says whether s is an object path.
func ValidPath(s string) bool {
	if s == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(s, "/")
	for part := range strings.SplitSeq(rest, "/") {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
		}) {
			return false
		}
	}
	return ok
}
