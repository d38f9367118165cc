package spec

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// TestSeccompRules: what is wrong with a profile, each with its place below /linux/seccomp. The profile is in the braces.
func TestSeccompRules(t *testing.T) {
	const allow = `"defaultAction": "SCMP_ACT_ALLOW"`
	block := func(text string) string {
		return allow + `, "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG"}, {` + text + `}]`
	}
	for _, c := range []struct{ profile, want string }{
		{allow, ""},
		{``, ""},
		{`"architectures": [], "flags": []`, ""},
		{`"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4095, "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_SHEB"], "flags": ["SECCOMP_FILTER_FLAG_TSYNC"]`, ""},
		{`"architectures": ["SCMP_ARCH_X86"]`, "/defaultAction: is missing"},
		{`"listenerMetadata": "x", "listenerPath": "/x"`, "/defaultAction: is missing"},
		{`"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]`, "/defaultAction: is missing"},
		{`"defaultAction": "ALLOW"`, `/defaultAction: "ALLOW" is none of SCMP_ACT_KILL, `},
		{`"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"`, "/defaultAction: SCMP_ACT_NOTIFY cannot be it"},
		{`"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096`, "/defaultErrnoRet: 4096 is more than 4095"},
		{`"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65535`, ""},
		{`"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": 65536`, "/defaultErrnoRet: 65536 is more than 65535"},
		{`"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1`, "/defaultErrnoRet: SCMP_ACT_KILL returns none"},
		{allow + `, "architectures": ["SCMP_ARCH_X86", "x86_64"]`, `/architectures/1: "x86_64" is no architecture such as SCMP_ARCH_X86_64`},
		{allow + `, "flags": ["SECCOMP_FILTER_FLAG_LOG", "LOG"]`, `/flags/1: "LOG" is none of SECCOMP_FILTER_FLAG_TSYNC, `},
		{block(`"names": ["a", "b"], "action": "SCMP_ACT_ERRNO", "errnoRet": 0, "args": [{"index": 5, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]`), ""},
		{block(`"names": [], "action": "SCMP_ACT_ERRNO"`), "/syscalls/1/names: is missing"},
		{block(`"names": ["a", ""], "action": "SCMP_ACT_ERRNO"`), "/syscalls/1/names/1: is empty"},
		{block(`"names": ["a"]`), "/syscalls/1/action: is missing"},
		{block(`"names": ["a"], "action": "x"`), `/syscalls/1/action: "x" is none of `},
		{block(`"names": ["a"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000`), "/syscalls/1/errnoRet: 5000 is more than 4095"},
		{block(`"names": ["a"], "action": "SCMP_ACT_LOG", "errnoRet": 5`), "/syscalls/1/errnoRet: SCMP_ACT_LOG returns none"},
		{block(`"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]`), "/syscalls/1/args/0/index: 6 is not in 0 to 5"},
		{block(`"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1}]`), "/syscalls/1/args/0/op: is missing"},
		{block(`"names": ["a"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "EQ"}]`), `/syscalls/1/args/0/op: "EQ" is none of SCMP_CMP_NE, `},
		{block(`"names": ["a"], "action": "SCMP_ACT_NOTIFY"`), "/listenerPath: is missing"},
		{block(`"names": ["a"], "action": "SCMP_ACT_NOTIFY"`) + `, "listenerPath": "agent.sock", "listenerMetadata": "x"`, ""},
		{block(`"names": ["a", "write"], "action": "SCMP_ACT_NOTIFY"`) + `, "listenerPath": "/x"`, "/syscalls/1/names/1: write cannot have SCMP_ACT_NOTIFY"},
		{allow + `, "listenerMetadata": "x"`, "/listenerMetadata: is set without listenerPath"},
		{allow + `, "listenerPath": "/` + strings.Repeat("x", 107) + `"`, "/listenerPath: 108 bytes"},
	} {
		s, err := Parse(patched(t, fmt.Sprintf(`{"linux": {"seccomp": {%s}}}`, c.profile)))
		if err != nil {
			t.Fatalf("%s: %v", c.profile, err)
		}
		err = Validate(s, Options{})
		var list Errors
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.profile, err)
		case c.want == "":
		case !errors.As(err, &list) || len(list) != 1 || !strings.HasPrefix(list[0].Error(), "/linux/seccomp"+c.want):
			t.Errorf("%s:\ngot  %v\nwant %s", c.profile, err, c.want)
		case !errors.Is(err, errdefs.ErrInvalidArgument):
			t.Errorf("%s: wrong class: %v", c.profile, err)
		}
	}
}
