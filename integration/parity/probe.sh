# What a container is like, seen by a process of it: sections of lines, which the test compares.
section() { echo "### $1"; }
section status
grep -E '^(Umask|Uid|Gid|Groups|NoNewPrivs|Seccomp|Seccomp_filters|Cap[A-Z][a-z]+|Sig(Blk|Ign)|Cpus_allowed_list|Mems_allowed_list|CoreDumping|THP_enabled)' /proc/self/status | tr '\t' ' '
section limits
cat /proc/self/limits
section cgroup
cat /proc/self/cgroup
section attr
cat /proc/self/attr/current 2>/dev/null
section ids
for f in uid_map gid_map setgroups timens_offsets oom_score_adj personality loginuid coredump_filter; do echo "$f: $(cat /proc/self/$f 2>&1 | tr -s ' ' | tr '\n' ';')"; done
section mounts
cat /proc/self/mountinfo
section dev
find /dev -path /dev/pts/\* -o -name go -o -exec stat -c '%n %F %a %u:%g %t:%T' {} \; | sort
find /dev -type l -exec sh -c 'echo "$0 -> $(readlink "$0")"' {} \; | sort
section env
env | grep -v '^_=' | sort
section self
echo "cwd $(pwd)"
echo "umask $(umask)"
echo "session $(cut -d' ' -f5-8 /proc/self/stat | sed "s/\b$$\b/SELF/g")"
echo "nice $(cut -d' ' -f19 /proc/self/stat)"
echo "hostname $(hostname) $(cat /proc/sys/kernel/domainname)"
echo "clocks $(($(cut -d. -f1 /proc/uptime) / 1000000))"
for fd in 1 2; do echo "$fd $(readlink /proc/$$/fd/$fd | sed 's/[0-9][0-9]*/N/g')"; done
stat -c '%n %F %a %u:%g' / /dev /dev/shm /dev/pts /proc /sys /run /tmp /root
section keys
grep -o 'keyring *_ses.parity[^:]*' /proc/keys | tr -s ' ' | sort -u
section net
ip -o link | cut -d' ' -f2,3 | sort
section files
for f in cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus cpuset/cpuset.mems memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes \
	memory/memory.soft_limit_in_bytes memory/memory.swappiness memory/memory.oom_control pids/pids.max devices/devices.list blkio/blkio.bfq.weight freezer/freezer.state \
	cgroup.controllers cgroup.subtree_control cgroup.freeze cpu.weight cpu.max cpu.idle cpuset.cpus cpuset.mems memory.max memory.swap.max memory.low memory.high \
	pids.max io.weight io.bfq.weight; do
	[ ! -e /sys/fs/cgroup/$f ] || echo "$f: $(cat /sys/fs/cgroup/$f 2>&1 | sort | tr '\n' ';')"
done
section masked
for f in /proc/acpi /proc/kcore /proc/keys /proc/timer_list /sys/firmware /proc/sys /proc/bus /proc/sysrq-trigger; do
	[ ! -e $f ] || echo "$f $(stat -c '%F %a %t:%T' $f) $([ -d $f ] && ls $f | wc -l) $([ -w $f ] && echo writable)"
done
