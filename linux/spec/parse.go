// Package spec reads OCI runtime configurations (runtime-spec config.md) and checks them: Parse, then Validate. Each problem names the field by
// a JSON pointer. A field of the specification that is not carried out is refused by name (fields.go); a field that the specification does
// not know is ignored, as it demands (config.md, "Extensibility").
//
// The package is pure: it opens no file and asks no kernel.
package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/quickjson"
)

// MaxBytes is the largest document that is read, in bytes. Real ones have some KiB; this bounds what a broken one costs the shim.
const MaxBytes = 16 << 20

// Parse reads a config.json. The error is a *FieldError of errdefs.ErrInvalidArgument: text that is not JSON is named by line and column, a value of a
// wrong type by its pointer. The content is checked by Validate.
func Parse(data []byte) (*specs.Spec, error) {
	s, _, err := ParseUsual(data)
	return s, err
}

// ParseUsual is Parse, and says whether the document has nothing but what is in nearly every one: see Options.
func ParseUsual(data []byte) (s *specs.Spec, usual bool, err error) {
	if s, usual, err = parse(data, readSpec); err == nil {
		asMeant(s)
	}
	return s, usual, err
}

// asMeant changes what an older version of the specification, by which s says that it was written, has meant otherwise. Until 1.3 a limit of processes of 0 was
// none: Podman 4 writes 0 for no limit.
func asMeant(s *specs.Spec) {
	const pidsSince = 3 // 1.3, "config-linux: clarify pids cgroup settings"
	_, rest, _ := strings.Cut(s.Version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	if n, err := strconv.Atoi(minor); err != nil || n >= pidsSince || s.Linux == nil || s.Linux.Resources == nil {
		return
	}
	if r := s.Linux.Resources; r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit == 0 {
		r.Pids = nil
	}
}

// ParseProcess reads a process, as Exec requests carry it (config.md, "process"). Errors are those of Parse; pointers begin at the process.
func ParseProcess(data []byte) (*specs.Process, error) {
	ps, _, err := ParseProcessUsual(data)
	return ps, err
}

// ParseProcessUsual is ParseProcess, as ParseUsual is Parse.
func ParseProcessUsual(data []byte) (ps *specs.Process, usual bool, err error) {
	return parse(data, readProcess)
}

// ParseResources reads the resources of an Update request (config-linux.md, "Control groups"). Errors are those of Parse.
func ParseResources(data []byte) (*specs.LinuxResources, error) {
	r, _, err := parse(data, readResources)
	return r, err
}

// parse reads a document. What is in it beyond the usual is found out by encoding/json, which has the errors.
func parse[T any](data []byte, read func(*reader, *T)) (v *T, usual bool, err error) {
	invalid := func(pointer, format string, args ...any) (*T, bool, error) {
		return nil, false, &FieldError{pointer, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument}
	}
	if len(data) > MaxBytes {
		return invalid("", "%d bytes of JSON: at most %d are read", len(data), MaxBytes)
	}
	t := bytes.TrimLeft(data, " \t\r\n")
	if len(t) > 0 && t[0] == '{' {
		if v := new(T); quickjson.Read(data, v, read) {
			return v, true, nil
		}
	}
	if len(t) == 0 {
		return invalid("", "empty: a JSON object is needed")
	} else if t[0] != '{' && json.Valid(t) {
		return invalid("", "not a JSON object")
	}
	v = new(T)
	err = json.Unmarshal(data, v)
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return v, false, nil
	case errors.As(err, &syntax):
		line, column := position(data, syntax.Offset)
		return invalid("", "not JSON: line %d, column %d: %s", line, column, strings.TrimPrefix(syntax.Error(), "json: "))
	case errors.As(err, &wrong):
		line, column := position(data, wrong.Offset)
		return invalid(pointerAt(data, wrong.Offset), "a JSON %s where %s is needed (line %d, column %d)", wrong.Value, typeName(wrong), line, column)
	}
	return invalid("", "%v", err)
}

// position returns the line and the column, both from 1, of the last of n bytes.
func position(data []byte, n int64) (line, column int) {
	before := data[:max(0, min(int(n)-1, len(data)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// typeName says in JSON's words what would be right.
func typeName(e *json.UnmarshalTypeError) string {
	if e.Type == nil {
		return "another type"
	}
	switch k := e.Type.Kind().String(); {
	case k == "struct" || k == "map":
		return "an object"
	case k == "slice" || k == "array":
		return "an array"
	case k == "bool":
		return "true or false"
	case strings.HasPrefix(k, "int"):
		return "an integer of " + strings.TrimPrefix(k+" ", "int") + "bits"
	case strings.HasPrefix(k, "uint"):
		return "a non-negative integer of " + strings.TrimPrefix(k+" ", "uint") + "bits"
	default:
		return "a " + k
	}
}

// pointerAt returns the pointer to the value in which the byte before offset lies: that is where encoding/json stops.
func pointerAt(data []byte, offset int64) string {
	type frame struct {
		key    string // of an object
		index  int    // of an array; -1: an object
		gotKey bool
	}
	var path []frame
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	pointer := func() string {
		p := ""
		for _, f := range path {
			if f.index >= 0 {
				p = at(p, f.index)
			} else if f.gotKey {
				p = at(p, f.key)
			}
		}
		return p
	}
	done := func() { // a value has ended
		if n := len(path) - 1; n >= 0 {
			if path[n].index >= 0 {
				path[n].index++
			} else {
				path[n].gotKey = false
			}
		}
	}
	for {
		tok, err := dec.Token()
		if err != nil {
			return pointer() // io.EOF at the latest; syntax errors have been met before
		}
		end := dec.InputOffset() >= offset
		switch d, _ := tok.(json.Delim); {
		case d == '{' || d == '[':
			if end {
				return pointer()
			}
			index := -1
			if d == '[' {
				index = 0
			}
			path = append(path, frame{index: index})
			continue
		case d != 0:
			path = path[:len(path)-1]
			if end {
				return pointer()
			}
			done()
			continue
		}
		if n := len(path) - 1; n >= 0 && path[n].index < 0 && !path[n].gotKey {
			path[n].key, path[n].gotKey = tok.(string), true
			continue
		}
		if end {
			return pointer()
		}
		done()
	}
}
