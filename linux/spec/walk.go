package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// node is a place in the table of fields: a field, or what all elements of a list or map have in common.
type node struct {
	rule     *fieldRule       // nil: the table says nothing about this place, only about parts of it
	children map[string]*node // by JSON name, or "*"
}

// fieldTree is the table as a tree. It is built when it is needed first: not every start of the binary reads a configuration.
var fieldTree = sync.OnceValue(func() *node {
	root := &node{}
	for i := range carriedOut {
		r := &carriedOut[i]
		n := root
		for t := range strings.SplitSeq(strings.TrimPrefix(r.pattern, "/"), "/") {
			if n.children == nil {
				n.children = map[string]*node{}
			}
			if n.children[t] == nil {
				n.children[t] = &node{}
			}
			n = n.children[t]
		}
		n.rule = r
	}
	return root
})

func (n *node) child(token string) *node {
	if n == nil {
		return nil
	}
	return n.children[token]
}

// find returns the node of a pattern such as "/process".
func (n *node) find(pattern string) *node {
	if pattern == "" {
		return n
	}
	for t := range strings.SplitSeq(strings.TrimPrefix(pattern, "/"), "/") {
		n = n.child(t)
	}
	return n
}

// fields checks every field of v that is set: the table must say that it is carried out, and strings hold no NUL (they become C strings). n is v's
// place in the table; what the table does not name is refused, so a field that a new version of specs-go brings is not ignored.
func (p *problems) fields(v reflect.Value, pointer string, n *node) {
	if n == nil {
		if isSet(v) {
			p.cannot(pointer, "is not known to this runtime")
		}
		return
	}
	if n.rule != nil && n.rule.is != carried {
		if isSet(v) {
			n.rule.refuse(p, pointer)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			p.fields(v.Elem(), pointer, n)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if f.Anonymous { // its fields are its parent's in JSON
				p.fields(v.Field(i), pointer, n)
				continue
			}
			name := jsonName(f)
			p.fields(v.Field(i), at(pointer, name), n.child(name))
		}
	case reflect.Slice, reflect.Array:
		if e := n.element(); v.Type().Elem().Kind() == reflect.String && e.rule != nil {
			p.texts(v, pointer)
			return
		}
		for i := range v.Len() {
			p.fields(v.Index(i), at(pointer, i), n.element())
		}
	case reflect.Map:
		p.mapFields(v, pointer, n)
	case reflect.String:
		p.leaf(v, pointer, n)
		if strings.ContainsRune(v.String(), 0) {
			p.bad(pointer, "holds a NUL character")
		}
	default:
		p.leaf(v, pointer, n)
	}
}

// texts checks a list of strings, which may be hundreds of names of system calls: a pointer is made for one that is wrong only.
func (p *problems) texts(v reflect.Value, pointer string) {
	for i := range v.Len() {
		if strings.IndexByte(v.Index(i).String(), 0) >= 0 {
			p.bad(at(pointer, i), "holds a NUL character")
		}
	}
}

func (p *problems) mapFields(v reflect.Value, pointer string, n *node) {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		if strings.ContainsRune(k.String(), 0) {
			p.bad(pointer, "the name %q holds a NUL character", k)
		}
		p.fields(v.MapIndex(k), at(pointer, k.String()), n.element())
	}
}

// leaf refuses a value at a place that the table names only in part.
func (p *problems) leaf(v reflect.Value, pointer string, n *node) {
	if n.rule == nil && !v.IsZero() {
		p.cannot(pointer, "is not known to this runtime")
	}
}

// element returns the node of a list's or map's elements: those of plain values share the one of the list.
func (n *node) element() *node {
	if e := n.child("*"); e != nil {
		return e
	}
	return n
}

// jsonName returns the name of a field in JSON.
func jsonName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	if name == "" {
		return f.Name
	}
	return name
}

// isSet says that a value asks for something: a pointer to a number does, 0 included; an empty text, list or object does not, at any depth.
func isSet(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer:
		return !v.IsNil() && (v.Elem().Kind() != reflect.Struct || isSet(v.Elem()))
	case reflect.Interface:
		return !v.IsNil()
	case reflect.Struct:
		for i := range v.NumField() {
			if isSet(v.Field(i)) {
				return true
			}
		}
		return false
	case reflect.Slice, reflect.Map:
		return v.Len() > 0
	default:
		return !v.IsZero()
	}
}

// refuse notes that a field of this rule is set.
func (r *fieldRule) refuse(p *problems, pointer string) {
	switch r.is {
	case later:
		p.cannot(pointer, "is not carried out yet%s", because(r.why))
	case gone:
		p.cannot(pointer, "cannot be carried out%s", because(r.why))
	case foreign:
		p.bad(pointer, "is not for Linux%s", because(r.why))
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", why)
}
