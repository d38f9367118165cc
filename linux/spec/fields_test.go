package spec

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestEveryField walks every field of specs-go. Each is carried out by the table, or refused by its name when it is set: nothing is ignored
// in silence. A new version of specs-go with a new field fails here until the table decides about it.
func TestEveryField(t *testing.T) {
	visited := map[string]bool{}
	walkType(t, reflect.TypeFor[specs.Spec](), nil, "", "", func(pointer, pattern string, s *specs.Spec) {
		visited[pattern] = true
		p := &problems{create: true}
		p.fields(reflect.ValueOf(s), "", fieldTree())
		rule := ruleFor(pattern)
		if rule == nil {
			t.Errorf("%s: the table says nothing about it", pattern)
			return
		}
		err := p.err()
		if rule.is == carried {
			if err != nil {
				t.Errorf("%s is carried out, but: %v", pointer, err)
			}
			return
		}
		var fe *FieldError
		if !errors.As(err, &fe) || !strings.HasPrefix(pointer, fe.Pointer) {
			t.Errorf("%s is set and not carried out: got %v", pointer, err)
			return
		}
		if want := map[bool]error{true: errdefs.ErrInvalidArgument, false: errdefs.ErrNotImplemented}[rule.is == foreign]; !errors.Is(err, want) {
			t.Errorf("%s: %v is not %v", pointer, err, want)
		}
	})
	for _, r := range carriedOut {
		used := visited[r.pattern]
		for v := range visited {
			used = used || strings.HasPrefix(v, r.pattern+"/")
		}
		if !used {
			t.Errorf("the table's %s is no field", r.pattern)
		}
	}
	if len(visited) < 200 { // specs-go 1.3 has more
		t.Errorf("only %d fields were walked", len(visited))
	}
}

// ruleFor returns the rule for a place of the specification, the nearest above it.
func ruleFor(pattern string) *fieldRule {
	for ; pattern != ""; pattern = pattern[:strings.LastIndexByte(pattern, '/')] {
		if n := fieldTree().find(pattern); n != nil && n.rule != nil {
			return n.rule
		}
	}
	return nil
}

// walkType calls f for each plain field below t, with a configuration in which that field alone is set. build puts a value of t into a new
// configuration and returns both.
func walkType(t *testing.T, typ reflect.Type, build func(reflect.Value) *specs.Spec, pointer, pattern string, f func(pointer, pattern string, s *specs.Spec)) {
	if build == nil {
		build = func(v reflect.Value) *specs.Spec { s := v.Interface().(specs.Spec); return &s }
	}
	switch typ.Kind() {
	case reflect.Struct:
		for i := range typ.NumField() {
			field := typ.Field(i)
			here, herePattern := pointer, pattern
			if !field.Anonymous {
				here, herePattern = at(pointer, jsonName(field)), at(pattern, jsonName(field))
			}
			walkType(t, field.Type, func(v reflect.Value) *specs.Spec {
				s := reflect.New(typ).Elem()
				s.Field(i).Set(v)
				return build(s)
			}, here, herePattern, f)
		}
	case reflect.Pointer:
		walkType(t, typ.Elem(), func(v reflect.Value) *specs.Spec {
			p := reflect.New(typ.Elem())
			p.Elem().Set(v)
			return build(p)
		}, pointer, pattern, f)
	case reflect.Slice:
		elem := pattern
		if hasParts(typ.Elem()) {
			elem += "/*"
		}
		walkType(t, typ.Elem(), func(v reflect.Value) *specs.Spec {
			return build(reflect.Append(reflect.MakeSlice(typ, 0, 1), v))
		}, at(pointer, 0), elem, f)
	case reflect.Map:
		elem := pattern
		if hasParts(typ.Elem()) {
			elem += "/*"
		}
		walkType(t, typ.Elem(), func(v reflect.Value) *specs.Spec {
			m := reflect.MakeMap(typ)
			m.SetMapIndex(reflect.ValueOf("name").Convert(typ.Key()), v)
			return build(m)
		}, at(pointer, "name"), elem, f)
	default:
		v := reflect.New(typ).Elem()
		switch k := typ.Kind(); {
		case k == reflect.String:
			v.SetString("x")
		case k == reflect.Bool:
			v.SetBool(true)
		case v.CanInt():
			v.SetInt(1)
		case v.CanUint():
			v.SetUint(1)
		case k == reflect.Interface:
			v.Set(reflect.ValueOf("x"))
		default:
			t.Fatalf("%s: a field of kind %v", pattern, k)
		}
		f(pointer, pattern, build(v))
	}
}

func hasParts(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct
}

// TestUnknownField: what the table does not name is refused, not ignored.
func TestUnknownField(t *testing.T) {
	type future struct {
		Version string `json:"ociVersion"`
		New     string `json:"brandNew"`
	}
	p := &problems{}
	p.fields(reflect.ValueOf(future{"1.9.0", ""}), "", fieldTree())
	if err := p.err(); err != nil {
		t.Errorf("not set, but: %v", err)
	}
	p.fields(reflect.ValueOf(future{"1.9.0", "x"}), "", fieldTree())
	if err := p.err(); err == nil || !strings.HasPrefix(err.Error(), "/brandNew: ") {
		t.Errorf("got %v", err)
	}
}

// TestNeutral: fields that ask for nothing are not refused, however they are written.
func TestNeutral(t *testing.T) {
	for _, doc := range []string{
		`{"hooks": {}}`, `{"hooks": {"prestart": [], "poststop": null}}`, `{"linux": {"seccomp": null}}`, `{"linux": {"seccomp": {}}}`,
		`{"process": {"apparmorProfile": "", "selinuxLabel": ""}}`, `{"linux": {"mountLabel": "", "intelRdt": {}, "netDevices": {}, "timeOffsets": {}}}`,
		`{"windows": null}`, `{"process": {"user": {"username": ""}}}`, `{"mounts": [{"uidMappings": []}]}`, `{"somethingElse": 1}`,
	} {
		s, err := Parse([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		p := &problems{}
		p.fields(reflect.ValueOf(s), "", fieldTree())
		if err := p.err(); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}
