// Package quickjson reads and writes plain JSON of known types without reflection: a process that starts for one container would spend more on encoding/json's
// tables of types, which it makes at their first use, than on everything else that it does to a configuration.
//
// It reads what programs write: objects with known names, in their exact spelling, each once; whole numbers; text in UTF-8 without a NUL. Whatever else a document has, it says
// that it has not read it: the caller gives the document to encoding/json then, which has the last word on what is JSON, on its meaning and on its
// errors. What it does read is what encoding/json would have made of it.
//
// The package is pure.
package quickjson

import (
	"strings"
	"unicode/utf8"
)

// Reader is at a place in a document.
type Reader struct {
	doc   string
	at    int
	plain bool     // nothing was met that is not for us
	words []string // lists that are being read
}

// Read reads the document into v, which is zero, and says whether it could. If not, v holds a part, or nonsense.
func Read[T any](doc []byte, v *T, read func(*Reader, *T)) bool {
	// One copy: the texts in v are parts of it.
	r := &Reader{doc: string(doc), plain: true}
	read(r, v)
	return r.plain && r.next() == 0 && r.at == len(r.doc)
}

// Fail says that what was read is not for us.
func (r *Reader) Fail() { r.plain = false }

// next returns the byte behind white space, 0 at the end and after something that is not for us.
func (r *Reader) next() byte {
	for r.plain && r.at < len(r.doc) {
		switch c := r.doc[r.at]; c {
		case ' ', '\t', '\r', '\n':
			r.at++
		default:
			return c
		}
	}
	return 0
}

// take takes that byte, behind white space.
func (r *Reader) take(c byte) {
	if r.next() != c {
		r.Fail()
		return
	}
	r.at++
}

// more says whether another element follows. n is how many there were; end ends them, and is taken.
func (r *Reader) more(n int, end byte) bool {
	switch c := r.next(); {
	case c == end:
		r.at++
		return false
	case n == 0:
		return r.plain
	case c == ',':
		r.at++
		return true
	}
	r.Fail()
	return false
}

// word takes the word if it is what comes next.
func (r *Reader) word(w string) bool {
	r.next()
	if !r.plain || !strings.HasPrefix(r.doc[r.at:], w) {
		return false
	}
	r.at += len(w)
	return true
}

// Another says whether another value follows, for documents that are several.
func (r *Reader) Another() bool { return r.next() != 0 }

// Field is a member of an object.
type Field[T any] struct {
	Name string
	Read func(*Reader, *T)
}

// Object reads an object with at most 64 known members. null leaves v as it is.
func Object[T any](r *Reader, v *T, fields []Field[T]) {
	if r.word("null") {
		return
	}
	var seen uint64
	guess := 0 // members come in the order of their type, mostly
	r.take('{')
	for n := 0; r.more(n, '}'); n++ {
		name := r.text()
		r.take(':')
		i := find(fields, name, guess)
		if i < 0 || seen>>i&1 != 0 { // what encoding/json makes of the second of a name depends on its type
			r.Fail()
		}
		if !r.plain {
			return
		}
		seen |= 1 << i
		guess = i + 1
		fields[i].Read(r, v)
	}
}

func find[T any](fields []Field[T], name string, guess int) int {
	for i := range fields {
		if i += guess; i >= len(fields) {
			i -= len(fields)
		}
		if fields[i].Name == name {
			return i
		}
	}
	return -1
}

// Pointer reads a value, or null.
func Pointer[T any](r *Reader, v **T, read func(*Reader, *T)) {
	if r.word("null") {
		return
	}
	*v = new(T)
	read(r, *v)
}

// List reads an array, or null.
func List[T any](r *Reader, v *[]T, read func(*Reader, *T)) {
	if r.word("null") {
		return
	}
	list := []T{}
	r.take('[')
	for n := 0; r.more(n, ']'); n++ {
		var one T
		list = append(list, one)
		read(r, &list[n])
	}
	*v = list
}

// Map reads an object with any members, or null.
func Map[T any](r *Reader, v *map[string]T, read func(*Reader, *T)) {
	if r.word("null") {
		return
	}
	m := map[string]T{}
	r.take('{')
	for n := 0; r.more(n, '}'); n++ {
		name := r.text()
		r.take(':')
		var one T
		read(r, &one)
		m[name] = one
	}
	*v = m
}

// Strings reads an array of strings, or null.
func Strings[T ~string](r *Reader, v *[]T) {
	if r.word("null") {
		return
	}
	begin := len(r.words)
	r.take('[')
	for n := 0; r.more(n, ']'); n++ {
		var one string
		String(r, &one)
		r.words = append(r.words, one)
	}
	list := make([]T, len(r.words)-begin)
	for i, w := range r.words[begin:] {
		list[i] = T(w)
	}
	*v, r.words = list, r.words[:begin]
}

// String reads a string. null leaves v as it is, here and below.
func String[T ~string](r *Reader, v *T) {
	if !r.word("null") {
		*v = T(r.text())
	}
}

// Bool reads true or false.
func Bool(r *Reader, v *bool) {
	switch {
	case r.word("null"):
	case r.word("true"):
		*v = true
	case r.word("false"):
		*v = false
	default:
		r.Fail()
	}
}

// Uint reads a whole number that is not negative.
func Uint[T ~uint | ~uint16 | ~uint32 | ~uint64](r *Reader, v *T) {
	if r.word("null") {
		return
	}
	r.next()
	n := r.digits()
	*v = T(n)
	if uint64(*v) != n {
		r.Fail()
	}
}

// Int reads a whole number.
func Int[T ~int | ~int32 | ~int64](r *Reader, v *T) {
	if r.word("null") {
		return
	}
	negative := r.word("-")
	n := r.digits()
	i := int64(n)
	if negative {
		i = -i
	}
	*v = T(i)
	if int64(*v) != i || n > 1<<63-1 { // the least int64 is left to others
		r.Fail()
	}
}

// digits reads digits, the first of which is no 0 but alone.
func (r *Reader) digits() uint64 {
	n, begin := uint64(0), r.at
	for ; r.at < len(r.doc); r.at++ {
		d := uint64(r.doc[r.at] - '0')
		if d > 9 {
			break
		}
		if n > (1<<64-1-d)/10 {
			r.Fail()
		}
		n = 10*n + d
	}
	length := r.at - begin
	if length == 0 || length > 1 && r.doc[begin] == '0' {
		r.Fail()
	}
	return n // a fraction or an exponent is no end of an element
}

// text reads a string.
func (r *Reader) text() string {
	r.take('"')
	begin, ascii := r.at, byte(0)
	for r.plain && r.at < len(r.doc) {
		c := r.doc[r.at]
		switch {
		case c == '"':
			s := r.doc[begin:r.at]
			r.at++
			if ascii >= utf8.RuneSelf && !utf8.ValidString(s) {
				r.Fail()
			}
			return s
		case c == '\\':
			return r.escaped(begin)
		case c < ' ':
			r.Fail()
		}
		ascii |= c
		r.at++
	}
	r.Fail()
	return ""
}

// escaped reads on in a string at its first escape.
func (r *Reader) escaped(begin int) string {
	b := []byte(r.doc[begin:r.at])
	for r.at < len(r.doc) {
		c := r.doc[r.at]
		r.at++
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				r.Fail()
			}
			return string(b)
		case c < ' ':
			r.Fail()
			return ""
		case c != '\\':
			b = append(b, c)
		case r.at < len(r.doc):
			c, r.at = r.doc[r.at], r.at+1
			if c == 'u' {
				b = utf8.AppendRune(b, r.hex())
			} else if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
				b = append(b, "\"\\/\b\f\n\r\t"[i])
			} else {
				r.Fail()
				return ""
			}
		}
	}
	r.Fail()
	return ""
}

// hex reads the four digits of a character. Pairs of them, for characters beyond 16 bits, are left to others.
func (r *Reader) hex() rune {
	const digits = 4
	if len(r.doc)-r.at < digits {
		r.Fail()
		return 0
	}
	n := rune(0)
	for _, c := range []byte(r.doc[r.at : r.at+digits]) {
		i := strings.IndexByte("0123456789abcdefABCDEF", c)
		if i < 0 {
			r.Fail()
		}
		if i >= 16 {
			i -= 6
		}
		n = n<<4 | rune(i)
	}
	r.at += digits
	if !utf8.ValidRune(n) || n == 0 {
		r.Fail()
	}
	return n
}

// Raw reads a value of any kind as it stands, which is only followed to its end: whether it is JSON is left to who reads it.
func (r *Reader) Raw() []byte {
	r.next()
	begin, depth := r.at, 0
	for r.plain {
		switch c := r.next(); {
		case c == '"':
			r.text()
		case c == '{' || c == '[':
			depth++
			r.at++
			continue
		case depth > 0 && (c == '}' || c == ']'):
			depth--
			r.at++
		case depth > 0 && (c == ',' || c == ':'):
			r.at++
			continue
		default:
			n := strings.IndexAny(r.doc[r.at:], " \t\r\n,:]}")
			if c == 0 || n <= 0 {
				r.Fail()
				return nil
			}
			r.at += n
		}
		if depth == 0 {
			return []byte(r.doc[begin:r.at])
		}
	}
	return nil
}
