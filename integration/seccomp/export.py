"""Makes a filter with libseccomp. In: {"default", "archs", "names", "rules": [{"name", "action", "errno", "args": [[index, op, value, two]]}]}. Out: the numbers of
the names on each architecture, and the filter in hexadecimal. Names that libseccomp does not know are left out of the filter."""
import json
import os
import sys
import tempfile

import seccomp

ACTIONS = {"SCMP_ACT_KILL": seccomp.KILL, "SCMP_ACT_KILL_THREAD": seccomp.KILL, "SCMP_ACT_KILL_PROCESS": seccomp.KILL_PROCESS, "SCMP_ACT_TRAP": seccomp.TRAP,
           "SCMP_ACT_ALLOW": seccomp.ALLOW, "SCMP_ACT_LOG": seccomp.LOG, "SCMP_ACT_NOTIFY": seccomp.NOTIFY}
OPS = {"SCMP_CMP_NE": seccomp.NE, "SCMP_CMP_LT": seccomp.LT, "SCMP_CMP_LE": seccomp.LE, "SCMP_CMP_EQ": seccomp.EQ, "SCMP_CMP_GE": seccomp.GE,
       "SCMP_CMP_GT": seccomp.GT, "SCMP_CMP_MASKED_EQ": seccomp.MASKED_EQ}


def action(name, errno):
    if name == "SCMP_ACT_ERRNO":
        return seccomp.ERRNO(errno)
    if name == "SCMP_ACT_TRACE":
        return seccomp.TRACE(errno)
    return ACTIONS[name]


def arch(name):
    return seccomp.Arch(getattr(seccomp.Arch, name.removeprefix("SCMP_ARCH_")))


spec = json.load(sys.stdin)
numbers = {a: {} for a in spec["archs"]}
for a in spec["archs"]:
    for name in spec["names"]:
        n = seccomp.resolve_syscall(arch(a), name)
        if n != -1:  # less than that is a call that only other architectures have
            numbers[a][name] = n

default = action(spec["default"], spec["errno"])
f = seccomp.SyscallFilter(default)
for a in spec["archs"]:
    if not f.exist_arch(arch(a)):
        f.add_arch(arch(a))
native = "SCMP_ARCH_" + os.uname().machine.upper()  # which a new filter has
if native not in spec["archs"]:
    f.remove_arch(arch(native))
for r in spec["rules"]:
    if r["name"] not in numbers[spec["archs"][0]] or action(r["action"], r["errno"]) == default:
        continue
    args = []
    for index, op, value, two in r["args"]:
        args.append(seccomp.Arg(index, OPS[op], value, two) if op == "SCMP_CMP_MASKED_EQ" else seccomp.Arg(index, OPS[op], value))
    f.add_rule(action(r["action"], r["errno"]), r["name"], *args)
with tempfile.TemporaryFile() as out:
    f.export_bpf(out)
    out.seek(0)
    json.dump({"numbers": numbers, "filter": out.read().hex()}, sys.stdout)
