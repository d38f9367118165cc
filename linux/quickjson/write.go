package quickjson

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Text appends a string as encoding/json writes it.
func Text(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // it fails for no string
			return append(b, quoted...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

// Writer writes one object.
type Writer struct {
	b []byte
	n int // members so far
}

// NewWriter begins an object; room is how long it will be, about.
func NewWriter(room int) *Writer { return Append(make([]byte, 0, room)) }

// Append begins an object behind what b has.
func Append(b []byte) *Writer { return &Writer{b: append(b, '{')} }

// End ends the object and returns it, with what was before it.
func (w *Writer) End() []byte { return append(w.b, '}') }

// Name begins a member. Its value is whatever is appended to what it returns, which Value takes.
func (w *Writer) Name(name string) []byte {
	if w.n++; w.n > 1 {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
	return w.b
}

// Value notes what the object is with the last member's value.
func (w *Writer) Value(b []byte) { w.b = b }

// String writes a member.
func (w *Writer) String(name, value string) { w.Value(Text(w.Name(name), value)) }

// Uint writes a member.
func (w *Writer) Uint(name string, value uint64) {
	w.Value(strconv.AppendUint(w.Name(name), value, 10))
}

// Bool writes a member.
func (w *Writer) Bool(name string, value bool) { w.Value(strconv.AppendBool(w.Name(name), value)) }

// Strings writes a member.
func (w *Writer) Strings(name string, list []string) {
	b := append(w.Name(name), '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = Text(b, s)
	}
	w.Value(append(b, ']'))
}

// Raw writes a member whose value is JSON already.
func (w *Writer) Raw(name string, value []byte) { w.Value(append(w.Name(name), value...)) }

// Any writes a member as encoding/json does.
func (w *Writer) Any(name string, value any) error {
	data, err := json.Marshal(value)
	if err == nil {
		w.Raw(name, data)
	}
	return err
}
