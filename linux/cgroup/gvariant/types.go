package gvariant

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/godbus/dbus/v5"
)

// basic are the Go types of the types without parts.
var basic = map[byte]reflect.Type{'b': reflect.TypeFor[bool](), 'y': reflect.TypeFor[byte](), 'n': reflect.TypeFor[int16](), 'q': reflect.TypeFor[uint16](),
	'i': reflect.TypeFor[int32](), 'u': reflect.TypeFor[uint32](), 'x': reflect.TypeFor[int64](), 't': reflect.TypeFor[uint64](), 'd': reflect.TypeFor[float64](),
	's': reflect.TypeFor[string](), 'o': reflect.TypeFor[dbus.ObjectPath](), 'g': reflect.TypeFor[dbus.Signature](), 'v': reflect.TypeFor[dbus.Variant]()}

// typeOf returns the Go type that the library sends as the complete type sig. A handle is an index of a descriptor in the message: none can be sent here.
func typeOf(sig string) (reflect.Type, error) {
	if _, err := dbus.ParseSignature(sig); err != nil || sig == "" || len(one(sig)) != len(sig) {
		return nil, fmt.Errorf("%q is no type", sig)
	}
	if strings.ContainsAny(sig, "hm") {
		return nil, fmt.Errorf("the type %q cannot be sent", sig)
	}
	return goType(sig), nil
}

// goType is typeOf for what is known to be a type.
func goType(sig string) reflect.Type {
	switch {
	case sig[0] == '(':
		var fields []reflect.StructField
		for i, part := range parts(sig) {
			fields = append(fields, reflect.StructField{Name: "F" + strconv.Itoa(i), Type: goType(part)})
		}
		return reflect.StructOf(fields)
	case strings.HasPrefix(sig, "a{"):
		pair := parts(sig[1:])
		return reflect.MapOf(goType(pair[0]), goType(pair[1]))
	case sig[0] == 'a':
		return reflect.SliceOf(goType(sig[1:]))
	}
	return basic[sig[0]]
}

// one is the complete type that sig begins with. sig is well-formed.
func one(sig string) string {
	i := 0
	for i < len(sig) && sig[i] == 'a' {
		i++
	}
	depth := 0
	for ; i < len(sig); i++ {
		switch sig[i] {
		case '(', '{':
			depth++
		case ')', '}':
			depth--
		}
		if depth == 0 {
			return sig[:i+1]
		}
	}
	return sig
}

// parts are the types within the brackets of sig.
func parts(sig string) []string {
	var list []string
	for rest := sig[1 : len(sig)-1]; rest != ""; {
		t := one(rest)
		list = append(list, t)
		rest = rest[len(t):]
	}
	return list
}

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
		_, err = typeOf("a" + sig)
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

// variant gives n the type sig.
func (n *node) variant(sig string) (dbus.Variant, error) {
	t, err := typeOf(sig)
	if err != nil {
		return dbus.Variant{}, err
	}
	v := reflect.New(t).Elem()
	if err := n.set(v, sig); err != nil {
		return dbus.Variant{}, err
	}
	return dbus.MakeVariant(v.Interface()), nil
}

// set puts n into v, whose type is sig.
func (n *node) set(v reflect.Value, sig string) error {
	if n.typ != "" && n.typ != sig {
		return fmt.Errorf("a value of type %s where %s is needed", n.typ, sig)
	}
	wrong := fmt.Errorf("%s is no value of type %s", n, sig)
	switch n.kind {
	case numeral:
		return n.setNumber(v, sig)
	case truth:
		if sig != "b" {
			return wrong
		}
		v.SetBool(n.text == "true")
	case text:
		return n.setText(v, sig)
	case bytestring:
		if sig != "ay" {
			return wrong
		}
		v.SetBytes([]byte(n.text))
	case boxed:
		if sig != "v" {
			return wrong
		}
		inner, err := n.kids[0].guess()
		if err != nil {
			return err
		}
		box, err := n.kids[0].variant(inner)
		if err != nil {
			return err
		}
		v.Set(reflect.ValueOf(box))
	case tuple:
		if sig[0] != '(' || len(parts(sig)) != len(n.kids) {
			return wrong
		}
		for i, part := range parts(sig) {
			if err := n.kids[i].set(v.Field(i), part); err != nil {
				return err
			}
		}
	case array:
		if sig[0] != 'a' || sig[1] == '{' {
			return wrong
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.kids), len(n.kids)))
		for i, k := range n.kids {
			if err := k.set(v.Index(i), sig[1:]); err != nil {
				return err
			}
		}
	case dict:
		if !strings.HasPrefix(sig, "a{") {
			return wrong
		}
		return n.setDict(v, parts(sig[1:]))
	}
	return nil
}

func (n *node) setDict(v reflect.Value, pair []string) error {
	v.Set(reflect.MakeMap(v.Type()))
	for _, k := range n.kids {
		key, val := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if err := k.kids[0].set(key, pair[0]); err != nil {
			return err
		}
		if err := k.kids[1].set(val, pair[1]); err != nil {
			return err
		}
		v.SetMapIndex(key, val)
	}
	return nil
}

func (n *node) setNumber(v reflect.Value, sig string) error {
	var err error
	base := 0 // 0x is hexadecimal, 0 octal
	switch sig {
	case "d":
		var f float64
		if f, err = strconv.ParseFloat(n.text, 64); err == nil {
			v.SetFloat(f)
		}
	case "n", "i", "x":
		var i int64
		if i, err = strconv.ParseInt(n.text, base, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	case "y", "q", "u", "t":
		var u uint64
		if u, err = strconv.ParseUint(strings.TrimPrefix(n.text, "+"), base, v.Type().Bits()); err == nil {
			v.SetUint(u)
		}
	default:
		return fmt.Errorf("%s is no value of type %s", n.text, sig)
	}
	if err != nil {
		return fmt.Errorf("%s is no value of type %s", n.text, sig)
	}
	return nil
}

func (n *node) setText(v reflect.Value, sig string) error {
	ok := utf8.ValidString(n.text) && !strings.Contains(n.text, "\x00")
	switch sig {
	case "s":
		v.SetString(n.text)
	case "o":
		ok = ok && dbus.ObjectPath(n.text).IsValid()
		v.SetString(n.text)
	case "g":
		s, err := dbus.ParseSignature(n.text)
		ok = ok && err == nil
		v.Set(reflect.ValueOf(s))
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
