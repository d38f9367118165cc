package dbus

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the fixed part of a message, which says how long the rest is.
const HeaderSize = 16

// maxMessage is what the specification allows ("Message Format"): 128 MiB. systemd's answers have some hundred bytes, its signals some thousand.
const maxMessage = 1 << 27

var errShort = errors.New("the message ends too early")

// Rest returns how many bytes follow the fixed part.
func Rest(fixed []byte) (int, error) {
	if len(fixed) < HeaderSize {
		return 0, errShort
	}
	if fixed[0] != 'l' || fixed[3] != 1 {
		return 0, fmt.Errorf("a message of byte order %q and version %d", fixed[0], fixed[3])
	}
	body, fields := uint64(binary.LittleEndian.Uint32(fixed[4:])), uint64(binary.LittleEndian.Uint32(fixed[12:]))
	n := (fields+7)/8*8 + body
	if n > maxMessage {
		return 0, fmt.Errorf("a message of %d bytes", n)
	}
	return int(n), nil
}

// Decode reads a whole message.
func Decode(b []byte) (*Message, error) {
	n, err := Rest(b)
	if err != nil {
		return nil, err
	}
	if len(b) != HeaderSize+n {
		return nil, errShort
	}
	m := &Message{Kind: b[1], Serial: binary.LittleEndian.Uint32(b[8:])}
	end := HeaderSize + int(binary.LittleEndian.Uint32(b[12:]))
	d := &Decoder{b: b[:end], at: HeaderSize}
	for d.at < end && d.err == nil {
		d.align(8)
		code := d.byte()
		v := d.variant()
		text, _ := v.(string)
		switch code {
		case fieldPath:
			m.Path = text
		case fieldInterface:
			m.Interface = text
		case fieldMember:
			m.Member = text
		case fieldErrorName:
			m.ErrorName = text
		case fieldReplySerial:
			m.ReplyTo, _ = v.(uint32)
		case fieldDestination:
			m.Destination = text
		case fieldSender:
			m.Sender = text
		case fieldSignature:
			m.Signature = text
		}
	}
	if d.err != nil {
		return nil, d.err
	}
	m.Body = b[(end+7)/8*8:]
	return m, nil
}

// Decoder reads values. After an error it reads nothing more.
type Decoder struct {
	b   []byte
	at  int
	err error
}

// Values reads the body: strings, object paths, signatures, booleans, numbers of 32 bits, and variants of these. Others are an error: nobody asks for one.
func (m *Message) Values() ([]any, error) {
	if !ValidSignature(m.Signature) {
		return nil, fmt.Errorf("%q is no signature", m.Signature)
	}
	d := &Decoder{b: m.Body}
	var list []any
	for _, t := range Types(m.Signature) {
		list = append(list, d.value(t))
	}
	return list, d.err
}

func (d *Decoder) take(n int) []byte {
	if d.err == nil && (n < 0 || len(d.b)-d.at < n) {
		d.err = errShort
	}
	if d.err != nil {
		return make([]byte, min(max(n, 0), 8)) // zeroes for a number
	}
	b := d.b[d.at : d.at+n]
	d.at += n
	return b
}

func (d *Decoder) align(n int) { d.take((n - d.at%n) % n) }

func (d *Decoder) byte() byte { return d.take(1)[0] }

func (d *Decoder) uint32() uint32 {
	d.align(4)
	return binary.LittleEndian.Uint32(d.take(4))
}

func (d *Decoder) text(n int) string {
	s := string(d.take(n))
	if d.take(1); d.err != nil { // the NUL behind it
		return ""
	}
	return s
}

func (d *Decoder) variant() any {
	sig := d.text(int(d.byte()))
	if d.err == nil && len(sig) != 1 {
		d.err = fmt.Errorf("a variant of type %q", sig)
	}
	if d.err != nil {
		return nil
	}
	return d.value(sig)
}

func (d *Decoder) value(sig string) any {
	switch sig {
	case "s", "o":
		return d.text(int(d.uint32()))
	case "g":
		return d.text(int(d.byte()))
	case "u":
		return d.uint32()
	case "b":
		return d.uint32() != 0
	case "v":
		return d.variant()
	}
	if d.err == nil {
		d.err = fmt.Errorf("a value of type %q", sig)
	}
	return nil
}
