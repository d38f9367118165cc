package gvariant

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"example.io/shim/linux/cgroup/dbus"
)

// Value is a value with its type, to be sent as a variant.
type Value struct {
	Sig string
	n   *node
}

// Append appends the value, without its type.
func (v Value) Append(e *dbus.Encoder) { _ = v.n.append(e, v.Sig) } // Parse has tried it

// Number returns the digits of a number.
func (v Value) Number() (string, bool) { return v.n.text, v.n.kind == numeral }

// known checks a type that an annotation names. A handle is an index of a descriptor in the message: none is sent here.
func known(sig string) error {
	if !dbus.ValidType(sig) {
		return fmt.Errorf("%q is no type", sig)
	}
	if strings.Contains(sig, "h") {
		return fmt.Errorf("the type %q cannot be sent", sig)
	}
	return nil
}

// parts are the types within the brackets of sig.
func parts(sig string) []string { return dbus.Types(sig[1 : len(sig)-1]) }

// guess returns the type of n where nothing around it says another.
func (n *node) guess() (string, error) {
	if n.typ != "" {
		return n.typ, nil
	}
	switch n.kind {
	case numeral:
		if isFloat(n.text) {
			return "d", nil
		}
		return "i", nil
	case truth:
		return "b", nil
	case text:
		return "s", nil
	case bytestring:
		return "ay", nil
	case boxed:
		return "v", nil
	case tuple:
		sig := "("
		for _, k := range n.kids {
			s, err := k.guess()
			if err != nil {
				return "", err
			}
			sig += s
		}
		return sig + ")", nil
	}
	return n.guessList()
}

// guessList: the elements of an array have one type, and it is enough that one of them says it.
func (n *node) guessList() (string, error) {
	if len(n.kids) == 0 {
		return "", fmt.Errorf("an empty array or dictionary needs its type before it (@as [])")
	}
	best := n.kids[0]
	for _, k := range n.kids {
		if k.explicit() {
			best = k
			break
		}
	}
	sig, err := best.guess()
	if err == nil && n.kind == dict {
		sig = "{" + sig[1:len(sig)-1] + "}"
	}
	if err == nil {
		err = known("a" + sig)
	}
	return "a" + sig, err
}

func (n *node) explicit() bool {
	for _, k := range n.kids {
		if k.explicit() {
			return true
		}
	}
	return n.typ != ""
}

func isFloat(s string) bool {
	return strings.Contains(s, ".") || !strings.HasPrefix(strings.TrimLeft(s, "+-"), "0x") && strings.ContainsAny(s, "eE")
}

// append appends n as a value of type sig, or says why it is none.
func (n *node) append(e *dbus.Encoder, sig string) error {
	if n.typ != "" && n.typ != sig {
		return fmt.Errorf("a value of type %s where %s is needed", n.typ, sig)
	}
	wrong := fmt.Errorf("%s is no value of type %s", n, sig)
	switch n.kind {
	case numeral:
		return n.appendNumber(e, sig)
	case truth:
		if sig != "b" {
			return wrong
		}
		e.Bool(n.text == "true")
	case text:
		return n.appendText(e, sig)
	case bytestring:
		if sig != "ay" {
			return wrong
		}
		e.Array("y", func() {
			for i := range len(n.text) {
				e.Byte(n.text[i])
			}
		})
	case boxed:
		if sig != "v" {
			return wrong
		}
		inner, err := n.kids[0].guess()
		if err != nil {
			return err
		}
		if err := known(inner); err != nil {
			return err
		}
		e.Signature(inner)
		return n.kids[0].append(e, inner)
	case tuple:
		if sig[0] != '(' && sig[0] != '{' || len(parts(sig)) != len(n.kids) {
			return wrong
		}
		e.Struct()
		for i, part := range parts(sig) {
			if err := n.kids[i].append(e, part); err != nil {
				return err
			}
		}
	case array, dict:
		if sig[0] != 'a' || (sig[1] == '{') != (n.kind == dict) {
			return wrong
		}
		return n.appendList(e, sig[1:])
	}
	return nil
}

func (n *node) appendList(e *dbus.Encoder, elem string) (err error) {
	e.Array(elem, func() {
		for _, k := range n.kids {
			if err == nil {
				err = k.append(e, elem)
			}
		}
	})
	return err
}

// bits is the size of a number.
func bits(sig string) int {
	switch sig {
	case "y":
		return 8
	case "n", "q":
		return 16
	case "i", "u":
		return 32
	}
	return 64
}

func (n *node) appendNumber(e *dbus.Encoder, sig string) error {
	var v uint64
	var err error
	switch sig { // 0x is hexadecimal, 0 octal
	case "d":
		var f float64
		f, err = strconv.ParseFloat(n.text, 64)
		v = math.Float64bits(f)
	case "n", "i", "x":
		var i int64
		i, err = strconv.ParseInt(n.text, 0, bits(sig))
		v = uint64(i)
	case "y", "q", "u", "t":
		v, err = strconv.ParseUint(strings.TrimPrefix(n.text, "+"), 0, bits(sig))
	default:
		err = strconv.ErrSyntax
	}
	if err != nil || strings.Contains(n.text, "_") {
		return fmt.Errorf("%s is no value of type %s", n.text, sig)
	}
	switch bits(sig) {
	case 8:
		e.Byte(byte(v))
	case 16:
		e.Uint16(uint16(v))
	case 32:
		e.Uint32(uint32(v))
	default:
		e.Uint64(v)
	}
	return nil
}

func (n *node) appendText(e *dbus.Encoder, sig string) error {
	ok := utf8.ValidString(n.text) && !strings.Contains(n.text, "\x00")
	switch sig {
	case "s":
		e.String(n.text)
	case "o":
		ok = ok && dbus.ValidPath(n.text)
		e.String(n.text)
	case "g":
		ok = ok && dbus.ValidSignature(n.text)
		if ok {
			e.Signature(n.text)
		}
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("%s is no value of type %s", n, sig)
	}
	return nil
}

// String is for messages.
func (n *node) String() string {
	switch n.kind {
	case numeral, truth:
		return n.text
	case text, bytestring:
		return strconv.Quote(n.text)
	case array:
		return "an array"
	case dict:
		return "a dictionary"
	case tuple:
		return "a tuple"
	}
	return "a variant"
}
