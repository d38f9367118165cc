// Package target reads the strings by which a client says where a stream leads.
package target

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/containerd/errdefs"
)

// Kind is what a stream leads to.
type Kind uint8

// The kinds.
const (
	None   Kind = iota // /dev/null
	FIFO               // a path that exists: a fifo, or a file that is taken as it is
	File               // a file that is made if need be and appended to
	Binary             // a logger that the shim starts
)

// Target is where a stream leads.
type Target struct {
	Kind Kind
	Path string // absolute; empty for None
	// Args are a logger's arguments: key and value of each part of the query, in the order of the URI.
	Args []string
	// ReadyByte says that the logger must write a byte when it is ready (binary-v2); else closing is enough.
	ReadyByte bool
}

// known is for the error's text.
const known = "fifo, file, binary, binary-v2"

// Parse reads a path or a URI:
//
//	(empty)                    None
//	/path, fifo:///path        FIFO; without a scheme nothing is decoded
//	file:///path               File
//	binary:///path?k=v&k2=v2   Binary
//	binary-v2:///path?k=v      Binary with ReadyByte
//
// Paths are absolute. What a URI holds beyond that (a host, as the path's first part becomes with one slash too few, a fragment,
// a query where none has a meaning) is an error rather than ignored. Errors are errdefs.ErrInvalidArgument and do not
// repeat s. Format: containerd's runtime v2 README, section Logging.
func Parse(s string) (Target, error) {
	if s == "" {
		return Target{}, nil
	}
	if strings.HasPrefix(s, "/") {
		return finish(Target{Kind: FIFO, Path: s})
	}
	u, err := url.Parse(s)
	if err != nil {
		return Target{}, invalid("not a URI")
	}
	if u.Scheme == "" {
		return Target{}, invalid("neither an absolute path nor a URI")
	}
	t := Target{Path: u.Path}
	switch u.Scheme {
	case "fifo":
		t.Kind = FIFO
	case "file":
		t.Kind = File
	case "binary", "binary-v2":
		t.Kind, t.ReadyByte = Binary, u.Scheme == "binary-v2"
		if t.Args, err = arguments(u.RawQuery); err != nil {
			return Target{}, err
		}
	default:
		return Target{}, invalid("unknown scheme %q (known: %s)", u.Scheme, known)
	}
	if err := nothingElse(u, t.Kind); err != nil {
		return Target{}, err
	}
	return finish(t)
}

// nothingElse refuses the parts of a URI that have no meaning here.
func nothingElse(u *url.URL, k Kind) error {
	switch {
	case u.Host != "" || u.User != nil:
		return invalid("a host (%q); an absolute path takes three slashes", u.Host)
	case u.Opaque != "":
		return invalid("the path is not absolute")
	case u.Fragment != "":
		return invalid("a fragment; write # as %%23")
	case u.RawQuery != "" && k != Binary:
		return invalid("a query, which scheme %s does not have; write ? as %%3F", u.Scheme)
	}
	return nil
}

func finish(t Target) (Target, error) {
	if !strings.HasPrefix(t.Path, "/") {
		return Target{}, invalid("the path is not absolute")
	}
	for _, s := range append([]string{t.Path}, t.Args...) {
		if strings.IndexByte(s, 0) >= 0 {
			return Target{}, invalid("a NUL byte")
		}
	}
	return t, nil
}

// arguments keeps the order, which url.Values would lose.
func arguments(query string) ([]string, error) {
	var args []string
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		key, value, _ := strings.Cut(part, "=")
		for _, s := range []string{key, value} {
			d, err := url.QueryUnescape(s)
			if err != nil {
				return nil, invalid("a bad escape in the query: %v", err)
			}
			args = append(args, d)
		}
	}
	return args, nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
}
