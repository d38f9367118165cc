// Package gvariant reads the text form of GVariant (GLib's "GVariant Text Format") into values that D-Bus can send. It is pure. Maybe types
// are refused: D-Bus has none.
package gvariant

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"example.io/shim/linux/cgroup/dbus"
)

// maxDepth is how deep values may be in each other. D-Bus has 32 arrays and as many structs ("Valid Signatures").
const maxDepth = 32

// Parse reads one value.
func Parse(text string) (Value, error) {
	p := &parser{rest: text}
	n, err := p.value(0)
	if err != nil {
		return Value{}, err
	}
	if p.space(); p.rest != "" {
		return Value{}, fmt.Errorf("%q stands behind the value", p.rest)
	}
	sig, err := n.guess()
	if err != nil {
		return Value{}, err
	}
	if err := known(sig); err != nil {
		return Value{}, err
	}
	v := Value{Sig: sig, n: n}
	return v, n.append(&dbus.Encoder{}, sig)
}

type kind uint8

const (
	numeral kind = iota
	truth
	text
	bytestring
	array
	dict  // of pairs
	tuple // also a pair
	boxed // a variant
)

// node is a value whose type may still depend on what is around it.
type node struct {
	kind kind
	typ  string // by annotation, "" for none
	text string // of a numeral, truth, text or bytestring
	kids []*node
}

// keyword is the type that an annotation names by a word (GVariant Text Format, "Type annotations"), "" for none.
func keyword(word string) string {
	switch word {
	case "boolean":
		return "b"
	case "byte":
		return "y"
	case "int16":
		return "n"
	case "uint16":
		return "q"
	case "int32":
		return "i"
	case "uint32":
		return "u"
	case "handle":
		return "h"
	case "int64":
		return "x"
	case "uint64":
		return "t"
	case "double":
		return "d"
	case "string":
		return "s"
	case "objectpath":
		return "o"
	case "signature":
		return "g"
	}
	return ""
}

type parser struct{ rest string }

var errEnd = errors.New("the value ends too early")

func (p *parser) space() { p.rest = strings.TrimLeft(p.rest, " \t\n\r\f\v") }

// take takes a mark off.
func (p *parser) take(mark string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, mark)
	p.rest = rest
	return ok
}

func (p *parser) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d values in each other", maxDepth)
	}
	p.space()
	if p.rest == "" {
		return nil, errEnd
	}
	switch p.rest[0] {
	case '@':
		word := p.word(" \t\n\r")
		if err := known(word[1:]); err != nil {
			return nil, err
		}
		return p.annotated(word[1:], depth)
	case '[':
		return p.list(array, "[", "]", depth)
	case '(':
		return p.list(tuple, "(", ")", depth)
	case '{':
		return p.dict(depth)
	case '<':
		return p.list(boxed, "<", ">", depth)
	case '\'', '"':
		s, err := p.quoted()
		return &node{kind: text, text: s}, err
	}
	if strings.HasPrefix(p.rest, "b'") || strings.HasPrefix(p.rest, `b"`) {
		p.rest = p.rest[1:]
		s, err := p.quoted()
		return &node{kind: bytestring, text: s + "\x00"}, err
	}
	word := p.word(" \t\n\r,:()[]{}<>'\"")
	switch {
	case word == "true" || word == "false":
		return &node{kind: truth, text: word}, nil
	case keyword(word) != "":
		return p.annotated(keyword(word), depth)
	case strings.Trim(word, "0123456789abcdefABCDEFxX.+-") == "" && strings.ContainsAny(word, "0123456789"):
		return &node{kind: numeral, text: word}, nil
	}
	return nil, fmt.Errorf("%q is no value", word+p.rest[:min(1, len(p.rest))])
}

// word takes what stands before any of the marks.
func (p *parser) word(marks string) string {
	i := strings.IndexAny(p.rest, marks)
	if i < 0 {
		i = len(p.rest)
	}
	word := p.rest[:i]
	p.rest = p.rest[i:]
	return word
}

func (p *parser) annotated(typ string, depth int) (*node, error) {
	n, err := p.value(depth + 1)
	if err != nil {
		return nil, err
	}
	if n.typ != "" {
		return nil, fmt.Errorf("two types, %s and %s, for one value", typ, n.typ)
	}
	n.typ = typ
	return n, nil
}

func (p *parser) list(k kind, open, end string, depth int) (*node, error) {
	n := &node{kind: k}
	p.take(open)
	for !p.take(end) {
		if len(n.kids) > 0 && !p.take(",") {
			return nil, fmt.Errorf("no %s or comma at %q: %w", end, p.rest, errEnd)
		}
		if k == tuple && len(n.kids) == 1 && p.take(end) { // a tuple of one: (1,)
			break
		}
		kid, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		n.kids = append(n.kids, kid)
	}
	if k == boxed && len(n.kids) != 1 {
		return nil, fmt.Errorf("a variant of %d values", len(n.kids))
	}
	if k == tuple && len(n.kids) == 0 {
		return nil, errors.New("D-Bus has no empty tuple")
	}
	return n, nil
}

func (p *parser) dict(depth int) (*node, error) {
	n := &node{kind: dict}
	p.take("{")
	for !p.take("}") {
		if len(n.kids) > 0 && !p.take(",") {
			return nil, fmt.Errorf("no } or comma at %q: %w", p.rest, errEnd)
		}
		pair := &node{kind: tuple}
		for _, mark := range []string{":", ""} {
			kid, err := p.value(depth + 1)
			if err != nil {
				return nil, err
			}
			if !p.take(mark) {
				return nil, fmt.Errorf("no %s at %q: %w", mark, p.rest, errEnd)
			}
			pair.kids = append(pair.kids, kid)
		}
		n.kids = append(n.kids, pair)
	}
	return n, nil
}

// escapes are the letters that stand for another character, each with that behind it (GVariant Text Format, "Strings"). \u and \U have digits, and any
// other character stands for itself.
const escapes = "a\ab\bf\fn\nr\rt\tv\v"

func (p *parser) quoted() (string, error) {
	var b strings.Builder
	end := p.rest[0]
	s := p.rest[1:]
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == end:
			p.rest = s[i+1:]
			return b.String(), nil
		case s[i] != '\\':
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		digits := 0
		switch s[i] {
		case 'u':
			digits = 4
		case 'U':
			digits = 8
		}
		switch at := strings.IndexByte(escapes, s[i]); {
		case digits > 0:
			if len(s) <= i+digits {
				return "", errEnd
			}
			r, err := strconv.ParseUint(s[i+1:i+1+digits], 16, 31)
			if err != nil || r == 0 {
				return "", fmt.Errorf("%q is no character", s[i-1:i+1+digits])
			}
			b.WriteRune(rune(r))
			i += digits
		case at >= 0 && at%2 == 0:
			b.WriteByte(escapes[at+1])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", fmt.Errorf("a string without its end: %w", errEnd)
}
