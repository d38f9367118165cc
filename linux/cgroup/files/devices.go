package files

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/bpf"
)

// alwaysAllowed are the devices every container may use, whatever its rules say (runtime-spec, config-linux.md, "Default Devices"; making
// nodes is harmless where using them is denied). They are written last.
var alwaysAllowed = []string{
	"c *:* m", "b *:* m",
	"c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm", // null zero full random urandom
	"c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm", // tty console ptmx pts
}

// devices writes the device rules. A list that only allows denies all else (GHSA-g54h-m393-cpwq), so all is denied first.
func (w *resources) devices(rules []specs.LinuxDeviceCgroup) {
	deny := func(line, field string) { w.add("devices", "devices.deny", line, field, "deny devices "+line, Late) }
	allow := func(line, field string) { w.add("devices", "devices.allow", line, field, "allow devices "+line, Late) }
	if len(rules) == 0 || !isAll(rules[0]) {
		deny("a", "/devices")
	}
	allowed := false // everything, at this point of the list
	for i, r := range rules {
		field := fmt.Sprintf("/devices/%d", i)
		line, err := deviceRule(r)
		if err != nil {
			w.fail(field+err.field, err.msg, errdefs.ErrInvalidArgument)
			return
		}
		if isAll(r) {
			line, allowed = "a", r.Allow
		}
		if r.Allow {
			allow(line, field)
		} else {
			deny(line, field)
		}
	}
	if allowed {
		return
	}
	for _, line := range alwaysAllowed {
		allow(line, "/devices")
	}
}

// V2Devices returns the rules of r, with those that every container has, for the filter of a v2 cgroup: the list of cgroup v1, in order.
func V2Devices(r *specs.LinuxResources, prefix string) ([]bpf.DeviceRule, error) {
	w := &resources{prefix: prefix}
	var list []bpf.DeviceRule
	allowed := false // everything, at this point of the list
	if r != nil {
		for i, d := range r.Devices {
			field := fmt.Sprintf("/devices/%d", i)
			line, err := deviceRule(d)
			if err != nil {
				return nil, w.no(field+err.field, err.msg, errdefs.ErrInvalidArgument)
			}
			if isAll(d) {
				line, allowed = "a *:* rwm", d.Allow
			}
			rule, err := parseRule(line)
			if err != nil {
				return nil, w.no(field+err.field, err.msg, errdefs.ErrInvalidArgument)
			}
			rule.Allow = d.Allow
			list = append(list, rule)
		}
	}
	if allowed {
		return list, nil
	}
	for _, line := range alwaysAllowed {
		rule, err := parseRule(line)
		if err != nil {
			return nil, w.no("/devices", err.msg, errdefs.ErrInvalidArgument)
		}
		rule.Allow = true
		list = append(list, rule)
	}
	return list, nil
}

// parseRule reads a rule in the words of cgroup v1.
func parseRule(line string) (r bpf.DeviceRule, _ *ruleError) {
	typ, rest, _ := strings.Cut(line, " ")
	numbers, access, _ := strings.Cut(rest, " ")
	major, minor, _ := strings.Cut(numbers, ":")
	r.Type = map[string]bpf.DeviceType{"b": bpf.BlockDevice, "c": bpf.CharDevice}[typ]
	for _, c := range access {
		r.Access |= map[rune]bpf.DeviceAccess{'m': bpf.DeviceMknod, 'r': bpf.DeviceRead, 'w': bpf.DeviceWrite}[c]
	}
	for field, n := range map[string]struct {
		text string
		to   *uint64
	}{"/major": {major, &r.Major}, "/minor": {minor, &r.Minor}} {
		if n.text == "*" {
			*n.to = bpf.AnyNumber
			continue
		}
		v, err := strconv.ParseUint(n.text, 10, 32)
		if err != nil {
			return r, &ruleError{field, n.text + " is no device number"}
		}
		*n.to = v
	}
	return r, nil
}

// isAll says whether the rule is for every device and access.
func isAll(r specs.LinuxDeviceCgroup) bool {
	every := func(n *int64) bool { return n == nil || *n < 0 }
	return (r.Type == "" || r.Type == "a") && every(r.Major) && every(r.Minor) && (r.Access == "" || len(r.Access) == 3)
}

type ruleError struct{ field, msg string }

// deviceRule is a rule in the words of Documentation/admin-guide/cgroup-v1/devices.rst.
func deviceRule(r specs.LinuxDeviceCgroup) (string, *ruleError) {
	switch r.Type {
	case "", "a", "b", "c", "u":
	default:
		return "", &ruleError{"/type", fmt.Sprintf("%q is not a, b, c or u", r.Type)}
	}
	access := r.Access
	if access == "" {
		access = "rwm"
	}
	if strings.Trim(access, "rwm") != "" {
		return "", &ruleError{"/access", fmt.Sprintf("%q has others than r, w and m", r.Access)}
	}
	typ := r.Type
	switch typ {
	case "", "a":
		if !isAll(r) {
			return "", &ruleError{"/type", "the type a stands for all devices: numbers and a part of the access need the type b or c"}
		}
		typ = "a"
	case "u":
		typ = "c"
	}
	return fmt.Sprintf("%s %s:%s %s", typ, number(r.Major), number(r.Minor), access), nil
}

// number is a device number or the wildcard.
func number(n *int64) string {
	if n == nil || *n < 0 {
		return "*"
	}
	return strconv.FormatInt(*n, 10)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
