package unit

import (
	"strings"

	"example.io/shim/linux/cgroup/files"
)

// devices says with DevicePolicy and DeviceAllow what the writes to devices.deny and devices.allow come to. systemd denies all and then allows those
// listed (systemd.resource-control(5)); exceptions from "everything is allowed" are nothing that it knows: then it is not told at all, which for it means
// that everything is allowed.
//
// On cgroup v2 it is told nothing: there systemd attaches a program of its own when told, and leaves the runtime's alone in any case.
func devices(writes []files.Write) []Property {
	var rules []rule
	all := true
	for _, w := range writes {
		allow := w.File == "devices.allow"
		if !allow && w.File != "devices.deny" {
			continue
		}
		if w.Value == "a" {
			all, rules = allow, nil
			continue
		}
		rules = apply(rules, w.Value, allow != all)
	}
	if all {
		return nil
	}
	entries := make([]string, 0, len(rules))
	for _, r := range rules {
		entries = append(entries, "("+quote(r.name())+", "+quote(r.access)+")")
	}
	return []Property{{Name: "DevicePolicy", Value: quote("strict")}, {Name: "DeviceAllow", Value: "@a(ss) [" + strings.Join(entries, ", ") + "]"}}
}

// rule is an exception as the kernel keeps it (Documentation/admin-guide/cgroup-v1/devices.rst).
type rule struct {
	typ, major, minor string
	access            string // of r, w, m
}

// apply adds an exception, or takes one away: the kernel does so for the very same numbers only.
func apply(rules []rule, line string, add bool) []rule {
	f := strings.Fields(line) // "c 1:3 rwm"
	if len(f) != 3 {
		return rules
	}
	major, minor, _ := strings.Cut(f[1], ":")
	n := rule{f[0], major, minor, f[2]}
	for i, r := range rules {
		if r.typ != n.typ || r.major != n.major || r.minor != n.minor {
			continue
		}
		access := ""
		for _, c := range "rwm" {
			was, now := strings.ContainsRune(r.access, c), strings.ContainsRune(n.access, c)
			if was && !now || now && add {
				access += string(c)
			}
		}
		if access == "" {
			return append(rules[:i:i], rules[i+1:]...)
		}
		rules[i].access = access
		return rules
	}
	if add {
		rules = append(rules, n)
	}
	return rules
}

// name is the device in the words of DeviceAllow=. A major number stands where the name of a driver can (since systemd 240, the numbers of a node too
// without the node being there).
func (r rule) name() string {
	kind := "char"
	if r.typ == "b" {
		kind = "block"
	}
	if r.major == "*" || r.minor == "*" {
		return kind + "-" + r.major
	}
	return "/dev/" + kind + "/" + r.major + ":" + r.minor
}
