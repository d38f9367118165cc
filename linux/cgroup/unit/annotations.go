package unit

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"example.io/shim/linux/cgroup/gvariant"
	"github.com/containerd/errdefs"
)

// AnnotationPrefix begins the name of an annotation that sets a property of the container's unit.
const AnnotationPrefix = "org.systemd.property."

// reserved are the properties that are the runtime's: with another value the container would not be in its cgroup, or not be the runtime's to limit.
var reserved = []string{"PIDs", "Slice", "Delegate", "ControlGroup", "Scope"}

// Annotated says whether there are annotations that set properties, by the pointer to one of them.
func Annotated(annotations map[string]string) (pointer string, ok bool) {
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(key, AnnotationPrefix) {
			return at(key), true
		}
	}
	return "", false
}

// at is the JSON pointer of an annotation (RFC 6901).
func at(key string) string {
	return "/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}

// Annotations returns the properties that annotations set. Values are in the text form of GVariant. A name of a time in seconds, as unit files have it,
// becomes the one of D-Bus: TimeoutStopSec is TimeoutStopUSec, in microseconds.
func Annotations(annotations map[string]string) ([]Property, error) {
	var list []Property
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		name, ok := strings.CutPrefix(key, AnnotationPrefix)
		if !ok {
			continue
		}
		p, msg := annotation(name, annotations[key])
		if msg != "" {
			return nil, fmt.Errorf("%s: %s: %w", at(key), msg, errdefs.ErrInvalidArgument)
		}
		list = append(list, p)
	}
	return list, nil
}

func annotation(name, text string) (p Property, msg string) {
	letter := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' }
	switch {
	case name == "" || strings.TrimFunc(name, letter) != "":
		return p, fmt.Sprintf("%q is no name of a property", name)
	case slices.Contains(reserved, name):
		return p, "the property " + name + " is the runtime's to set"
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return p, "the value holds a control character"
	}
	v, err := gvariant.Parse(text)
	if err != nil {
		return p, fmt.Sprintf("%q is no value in the text form of GVariant: %s", text, err)
	}
	if stem, ok := strings.CutSuffix(name, "Sec"); ok && stem != "" && stem[len(stem)-1] >= 'a' && stem[len(stem)-1] <= 'z' {
		seconds, isNumber := v.Number()
		n, ok := microseconds(seconds)
		if !isNumber || !ok {
			return p, fmt.Sprintf("%q is no number of seconds", text)
		}
		return Property{Name: stem + "USec", Value: number(n)}, ""
	}
	return Property{Name: name, Value: text}, ""
}

// microseconds converts a number of seconds, of any type.
func microseconds(text string) (uint64, bool) {
	if n, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 0, 64); err == nil {
		if n > math.MaxUint64/second { // infinity
			return noLimit, true
		}
		return n * second, true
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || !(seconds >= 0) || seconds >= math.MaxInt64/second {
		return 0, false
	}
	return uint64(seconds * second), true
}
