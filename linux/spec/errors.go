package spec

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
)

// maxShown is how many problems the text of an Errors lists: enough to mend a file by, and still one readable line.
const maxShown = 8

// FieldError is what is wrong with one field. Err is errdefs.ErrInvalidArgument, or errdefs.ErrNotImplemented when the field is not carried out.
type FieldError struct {
	Pointer string // JSON pointer (RFC 6901) into the document, "" for the document itself
	Msg     string
	Err     error
}

// Error returns "/mounts/3/type: what is wrong".
func (e *FieldError) Error() string {
	if e.Pointer == "" {
		return e.Msg
	}
	return e.Pointer + ": " + e.Msg
}

func (e *FieldError) Unwrap() error { return e.Err }

// Errors are all problems of a document: what is wrong first, then what is not carried out, each in the document's order.
type Errors []*FieldError

// Error returns one line with the first problems.
func (e Errors) Error() string {
	var b strings.Builder
	for i, f := range e {
		if i == maxShown {
			fmt.Fprintf(&b, "; and %d more", len(e)-maxShown)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(f.Error())
	}
	return b.String()
}

// Unwrap makes errors.Is and errors.As look at every problem.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, f := range e {
		list[i] = f
	}
	return list
}

// problems collects.
type problems struct {
	list   Errors
	o      Options
	create bool // a whole configuration is checked, not a change of one
}

// bad notes a wrong value.
func (p *problems) bad(pointer, format string, args ...any) {
	p.list = append(p.list, &FieldError{pointer, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument})
}

// cannot notes what is not carried out.
func (p *problems) cannot(pointer, format string, args ...any) {
	p.list = append(p.list, &FieldError{pointer, fmt.Sprintf(format, args...), errdefs.ErrNotImplemented})
}

// err returns what was noted, nil for nothing.
func (p *problems) err() error {
	if len(p.list) == 0 {
		return nil
	}
	slices.SortStableFunc(p.list, func(a, b *FieldError) int { return rank(a) - rank(b) })
	return p.list
}

func rank(e *FieldError) int {
	if errors.Is(e, errdefs.ErrInvalidArgument) {
		return 0
	}
	return 1
}

// at appends to a pointer; tokens are strings or ints.
func at(pointer string, tokens ...any) string {
	for _, t := range tokens {
		switch t := t.(type) {
		case int:
			pointer += "/" + strconv.Itoa(t)
		case string:
			pointer += "/" + escape(t)
		}
	}
	return pointer
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

func escape(token string) string { return pointerEscape.Replace(token) }
