// Package wire has containerd's messages, as far as a shim needs them, and their encoding: protobuf, proto3. The messages are plain structures, named as
// containerd's own Go types are; each lists its fields once, for both directions. Nothing is done before main: no descriptor, no reflection, no table
// (docs/decisions/0021-wire.md). What a message is called in an Any stands in names.go.
//
// Fields that a message does not have are skipped, as the format wants it; what is no message gives an error. https://protobuf.dev/programming-guides/encoding
package wire

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// Message is one of this package's structures.
type Message interface {
	// fields shows c each field with its number, in the order in which they are written.
	fields(c *coder)
}

// pointer is a *T that is a Message.
type pointer[T any] interface {
	*T
	Message
}

// coder goes through the fields of a message. Writing, it appends each that is not zero to out; reading, it puts what is at hand where it belongs.
type coder struct {
	err     error
	out     []byte
	reading bool
	hand    value
	taken   bool // the field at hand has its place
}

// Marshal encodes m.
func Marshal(m Message) ([]byte, error) { return Append(nil, m) }

// Append encodes m behind what is in b.
func Append(b []byte, m Message) ([]byte, error) {
	c := coder{out: b}
	m.fields(&c)
	return c.out, c.err
}

// Unmarshal decodes data into m, beside what is there: what comes twice is merged, and of numbers and texts the last counts. Values of type []byte are parts of data.
func Unmarshal(data []byte, m Message) error {
	_, err := decode(data, m)
	return err
}

// UnmarshalKnown is Unmarshal for messages whose every field must be one that m has. Those of its messages are not looked at.
func UnmarshalKnown(data []byte, m Message) error {
	unknown, err := decode(data, m)
	if err == nil && unknown != 0 {
		return fmt.Errorf("field %d is not known", unknown)
	}
	return err
}

// decode returns the number of the first field that m does not have, 0 if there is none. A field of a known number and another type is such one.
func decode(data []byte, m Message) (unknown uint64, err error) {
	c := coder{reading: true}
	for len(data) > 0 {
		if data, err = c.hand.next(data); err != nil {
			return 0, err
		}
		c.taken = false
		m.fields(&c)
		if c.err != nil {
			return 0, c.err
		}
		if !c.taken && unknown == 0 {
			unknown = c.hand.num
		}
	}
	return unknown, nil
}

// is says, while reading, that the field at hand is the one of this number and type.
func (c *coder) is(num uint64, k kind) bool {
	if !c.reading || c.hand.num != num || c.hand.kind != k {
		return false
	}
	c.taken = true
	return true
}

// errText is of texts that are no UTF-8, in either direction.
var errText = errors.New("a text is no UTF-8")

func (c *coder) checkText(num uint64, s string) {
	if c.err == nil && !utf8.ValidString(s) {
		c.err = fmt.Errorf("field %d: %w", num, errText)
	}
}

// number is every field that is one number on the wire; zero is not written.
func (c *coder) number(num, v uint64) (uint64, bool) {
	if c.reading {
		return c.hand.number, c.is(num, varint)
	}
	if v != 0 {
		c.out = appendVarint(appendTag(c.out, num, varint), v)
	}
	return 0, false
}

func (c *coder) uint64(num uint64, p *uint64) {
	if v, ok := c.number(num, *p); ok {
		*p = v
	}
}

func (c *coder) uint32(num uint64, p *uint32) {
	if v, ok := c.number(num, uint64(*p)); ok {
		*p = uint32(v)
	}
}

func (c *coder) int64(num uint64, p *int64) {
	if v, ok := c.number(num, uint64(*p)); ok {
		*p = int64(v)
	}
}

func (c *coder) int32(num uint64, p *int32) {
	if v, ok := c.number(num, uint64(*p)); ok {
		*p = int32(v)
	}
}

func (c *coder) flag(num uint64, p *bool) {
	var n uint64
	if *p {
		n = 1
	}
	if v, ok := c.number(num, n); ok {
		*p = v != 0
	}
}

func (c *coder) double(num uint64, p *float64) {
	switch {
	case c.is(num, fixed64):
		*p = fromBits(c.hand.number)
	case !c.reading && toBits(*p) != 0: // -0 is written
		c.out = appendFixed64(appendTag(c.out, num, fixed64), toBits(*p))
	}
}

// uint64s writes them packed, and reads them either way.
func (c *coder) uint64s(num uint64, p *[]uint64) {
	switch {
	case c.is(num, varint):
		*p = append(*p, c.hand.number)
	case c.is(num, length):
		for b := c.hand.bytes; len(b) > 0; {
			var v uint64
			if v, b, c.err = takeVarint(b); c.err != nil {
				return
			}
			*p = append(*p, v)
		}
	case !c.reading && len(*p) > 0:
		at := c.begin(num)
		for _, v := range *p {
			c.out = appendVarint(c.out, v)
		}
		c.end(at)
	}
}

func (c *coder) data(num uint64, p *[]byte) {
	switch {
	case c.is(num, length):
		*p = c.hand.bytes
	case !c.reading && len(*p) > 0:
		c.out = appendBytes(appendTag(c.out, num, length), *p)
	}
}

func (c *coder) text(num uint64, p *string) {
	switch {
	case c.is(num, length):
		*p = string(c.hand.bytes)
		c.checkText(num, *p)
	case !c.reading && *p != "":
		c.writeText(num, *p)
	}
}

func (c *coder) writeText(num uint64, s string) {
	c.checkText(num, s)
	c.out = appendBytes(appendTag(c.out, num, length), s)
}

// optionalText is nil when it is not there, which is not the empty one.
func (c *coder) optionalText(num uint64, p **string) {
	switch {
	case c.is(num, length):
		s := string(c.hand.bytes)
		c.checkText(num, s)
		*p = &s
	case !c.reading && *p != nil:
		c.writeText(num, **p)
	}
}

func (c *coder) texts(num uint64, p *[]string) {
	if c.is(num, length) {
		s := string(c.hand.bytes)
		c.checkText(num, s)
		*p = append(*p, s)
	}
	if !c.reading {
		for _, s := range *p {
			c.writeText(num, s)
		}
	}
}
