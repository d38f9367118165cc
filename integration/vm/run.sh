#!/bin/bash
# run.sh [option...] -- COMMAND [ARGUMENT...]: runs a command as root in a virtual machine that is thrown away afterwards. Its output, both streams, comes
# out here while it runs; its exit status is this script's, 124 when time was up, 125 when the guest failed. KVM is not needed: the CPU is emulated.
#
#   --cgroup v1|v2     the guest's cgroups (v2)
#   --systemd          systemd is process 1; otherwise a script
#   --apparmor         AppArmor is on
#   --timeout SECONDS  for boot and command (600)
#   --share DIR:PATH   a copy of the host's folder DIR is at PATH in the guest, on a file system of its own; what is written there is lost. Repeatable;
#                      the command starts in the first
#   --mem MIB          memory (2048)
#   --smp N            CPUs (2)
#   --append WORDS     more words for the kernel's command line, as psi=1
#   --console          print the guest's console at the end; it is printed in any case when the guest fails
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
failed=125

say() { echo "vm/run: $*" >&2; }
die() { say "$*"; exit $failed; }

cgroup=v2 systemd= lsm= limit=600 mem=2048 smp=2 words= console= shares=()
while [ $# -gt 0 ]; do
	case $1 in
	--) shift; break ;;
	--systemd) systemd=1; shift; continue ;;
	--apparmor) lsm=,apparmor; shift; continue ;;
	--console) console=1; shift; continue ;;
	--cgroup | --timeout | --share | --mem | --smp | --append) [ $# -ge 2 ] || die "$1 needs a value" ;;
	*) die "unknown option $1 (a command comes after --)" ;;
	esac
	case $1 in
	--cgroup) cgroup=$2 ;;
	--timeout) limit=$2 ;;
	--share) shares+=("$2") ;;
	--mem) mem=$2 ;;
	--smp) smp=$2 ;;
	--append) words+=" $2" ;;
	esac
	shift 2
done
[ $# -gt 0 ] || die "no command"
[[ $cgroup == v1 || $cgroup == v2 ]] || die "--cgroup is v1 or v2, not $cgroup"

guest=$("$here/build.sh") || die "no guest"
work= qemu=
cleanup() {
	if [ -n "$qemu" ]; then kill "$qemu" 2>/dev/null || true; wait "$qemu" 2>/dev/null || true; fi
	[ -z "$work" ] || rm -rf --one-file-system "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
find "${guest%/*}" -mindepth 1 -maxdepth 1 \( -name 'run.*' -o -name 'build.*' \) -mtime +0 -exec rm -rf {} + # of runs that were killed
work=$(mktemp -d "${guest%/*}/run.XXXXXX")

# disk DIR FILE copies a folder into a file system with room for as much again. A shared folder (9p, virtiofs) would be slow, and no place for sockets,
# FIFOs and overlays.
disk() {
	local used; used=$(du -sm "$1" | cut -f1)
	truncate -s $((used * 2 + 512))M "$2"
	mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -d "$1" "$2"
}

drives=() letters=bcdefghijklmnop first=/
: >"$work/shares"
for i in "${!shares[@]}"; do
	dir=${shares[i]%:*} path=${shares[i]##*:}
	[[ -d $dir && $path == /* ]] || die "--share ${shares[i]}: not a folder and an absolute path"
	disk "$dir" "$work/share$i" || die "--share $dir: no copy"
	printf '/dev/vd%s\t%s\n' "${letters:i:1}" "$path" >>"$work/shares"
	drives+=("$work/share$i")
	[ "$i" != 0 ] || first=$path
done
{
	printf 'cd %q || exit %d\n' "$first" $failed
	printf '%q ' "$@"
} >"$work/command"

# quiet: each character on an emulated serial line costs. The rest spares time, or keeps panics from hanging.
append="console=ttyS0 quiet panic=-1 mitigations=off nokaslr audit=0 no_timer_check vm.cgroup=$cgroup lsm=landlock,yama$lsm,bpf$words"
next=/usr/local/lib/vm/boot
if [ -n "$systemd" ]; then
	next=/sbin/init
	append+=" systemd.unit=vm-job.target systemd.show_status=0 systemd.default_timeout_start_sec=600"
	case $cgroup in
	v1) append+=" systemd.unified_cgroup_hierarchy=0" ;; # hybrid
	v2) append+=" systemd.unified_cgroup_hierarchy=1" ;;
	esac
fi
printf %s "$next" >"$work/next"

# snapshot=on: what is written goes to a file without a name in TMPDIR.
args=(-nodefaults -no-user-config -no-reboot -display none -accel "tcg,thread=multi,tb-size=512" -cpu max,la57=off -m "$mem" -smp "$smp"
	-kernel "$guest/kernel" -initrd "$guest/initrd" -append "$append" -serial "file:$work/console"
	-chardev file,id=output,path=/proc/self/fd/3,append=on -chardev "file,id=status,path=${work//,/,,}/status"
	-device virtio-serial-pci -device virtserialport,nr=1,chardev=output,name=output -device virtserialport,nr=2,chardev=status,name=status)
for name in shares next command; do args+=(-fw_cfg "name=opt/example.io/vm/$name,file=${work//,/,,}/$name"); done
for file in "$guest/root.ext4" ${drives[@]+"${drives[@]}"}; do args+=(-drive "file=${file//,/,,},format=raw,if=virtio,snapshot=on,cache=unsafe"); done

# The output goes through a pipe, as qemu opens its path anew: a file's offset would be lost. (Its own standard output does not do: with the standard input
# at its end, qemu takes the port for closed.) qemu ends when this shell is killed.
exec 3> >(exec cat)
copier=$!
TMPDIR=$work setpriv --pdeathsig TERM timeout -k 5 "$limit" qemu-system-x86_64 "${args[@]}" </dev/null >"$work/qemu" 2>&1 &
qemu=$!
exec 3>&-
code=0
wait "$qemu" || code=$?
qemu=
wait "$copier" || true

read -r _ status 2>/dev/null <"$work/status" || status=
if [ -n "$console" ] || [ -z "$status" ]; then
	cat "$work/console" "$work/qemu" >&2 || true
fi
[ -z "$status" ] || exit "$status"
case $code in
124 | 137) say "not done after $limit seconds"; exit 124 ;;
*) die "the guest ended without a status (qemu: $code)" ;;
esac
