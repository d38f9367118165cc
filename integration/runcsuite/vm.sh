#!/bin/bash
# Runs runc's own test suite against shimrun in a virtual machine, whose kernel and cgroups are others than the host's.
#
#   vm.sh CHECKOUT MODE [-o DIR] [-f REGEXP] [-t SECONDS] [-T SECONDS] [-c N] [FILE...]
#
# CHECKOUT and FILEs are as for run.sh. Modes:
#   v1                     cgroup v1 without systemd, as root
#   v2                     the same with v2
#   v2-selinux             v2 with SELinux and a policy of our own (selinux.cil): for the tests of labels
#   v2-systemd             systemd is process 1 and makes the cgroups (RUNC_USE_SYSTEMD)
#   rootless-v2            a plain user who has newuidmap and owns a cgroup (ROOTLESS_FEATURES="idmap cgroup"; the variable is taken over when it is set)
#   rootless-v2-systemd    the same by the user's own systemd, to which all controllers are delegated
#
#   -o DIR       where the results stay (TAP, MODE.FILE.tap); results of other runs in it are kept
#   -f REGEXP    only the tests whose names match
#   -t SECONDS   for one file (3600)
#   -T SECONDS   for all (7200)
#   -c N         the guest's CPUs (2)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
usage() { sed -n '2,/^set -/{/^set -/!s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
[ $# -ge 2 ] && [ -d "$1/tests/integration" ] || usage
checkout=$(cd "$1" && pwd) mode=$2; shift 2
out=$(mktemp -d) filter= limit=3600 all=7200 cpus=2
while getopts o:f:t:T:c: opt; do
	case $opt in o) out=$OPTARG ;; f) filter=$OPTARG ;; t) limit=$OPTARG ;; T) all=$OPTARG ;; c) cpus=$OPTARG ;; *) usage ;; esac
done
shift $((OPTIND - 1))
mkdir -p "$out"
[ -x "$top/bin/shimrun" ] || { echo "make build first" >&2; exit 1; }
[ $# -gt 0 ] || set -- $(cd "$checkout/tests/integration" && basename -s .bats -a ./*.bats)

# psi=1: Debian's kernel counts pressure only when told to.
options=(--append psi=1)
case $mode in
v1) options+=(--cgroup v1) ;;
v2 | rootless-v2) ;;
v2-selinux) options+=(--append "lsm=landlock,yama,selinux,bpf selinux=1") ;;
v2-systemd | rootless-v2-systemd) options+=(--systemd) ;;
*) usage ;;
esac

# What the suite needs and the guest has not: Debian's packages, unpacked. fuse3 and openssh are left out: without them sshfs' tests use a tmpfs.
guest_packages="bats jq libjq1 libonig5 gawk libsigsegv2 libmpfr6 libreadline8 libgmp10 libpam-systemd dbus-user-session selinux-utils libsepol2"

# packages TARBALL makes an archive of those packages' trees, and of the I/O scheduler BFQ, a module that the guest has not.
packages() {
	local work deb version image
	work=$(mktemp -d)
	mkdir "$work/debs" "$work/root" "$work/kernel"
	(cd "$work/debs" && apt-get -qq -o APT::Sandbox::User=root download $guest_packages)
	for deb in "$work"/debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -C "$work/root" -x --exclude='./usr/share/doc*' --exclude='./usr/share/locale*'; done
	image=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: *\(linux-image-[^ ]*\).*/\1/p' | head -1)
	(cd "$work/kernel" && apt-get -qq -o APT::Sandbox::User=root download "$image")
	version=${image#linux-image-}
	dpkg-deb --fsys-tarfile "$work"/kernel/*.deb | tar -C "$work/root" -x --wildcards "./lib/modules/$version/kernel/block/bfq.ko*"
	tar -C "$work/root" -cf "$1.new" .
	mv "$1.new" "$1"
	rm -rf "$work"
}

# policy FILE makes the policy of selinux.cil and 1024 categories, as labels of containers have.
policy() {
	command -v secilc >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends secilc >&2
	local all
	all=$(printf 'c%s ' {0..1023})
	{
		cat "$here/selinux.cil"
		printf '(category c%s)\n' {0..1023}
		printf '(categoryorder (%s))\n(sensitivitycategory s0 (range c0 c1023))\n' "$all"
	} >"$1.cil"
	secilc -c 33 -o "$1" -f /dev/null "$1.cil" # 33: Linux 5.14 and later take it
}

"$here/prepare.sh" "$checkout"
mkdir -p "$top/.cache/vm"
key=$( { echo "$guest_packages"; apt-cache policy linux-image-amd64 $guest_packages | grep Candidate; } | sha256sum | cut -c1-16)
extra=$top/.cache/vm/runcsuite-$key.tar
[ -e "$extra" ] || packages "$extra"

work=$(mktemp -d "$top/.cache/vm/run.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT
mkdir -p "$work/payload/bin" "$work/payload/tests/cmd"
chmod -R 755 "$work"
cp "$extra" "$work/payload/extra.tar"
cp "$here/inside.sh" "$work/payload/"
cp -r "$checkout/tests/integration" "$work/payload/tests/"
cp -r "$checkout/tests/cmd/_bin" "$work/payload/tests/cmd/"
install -m 755 "$top/bin/shimrun" "$work/payload/bin/runc"
# The suite asks Go for the machine's architecture. An emulated CPU takes long to unpack: tar looks at what is in the file, not at its name.
printf '#!/bin/sh\necho %s\n' "$(go env GOARCH)" >"$work/payload/bin/go"
# No udev runs in the guest: there is nothing to wait for.
printf '#!/bin/sh\nexec true\n' >"$work/payload/bin/udevadm"
chmod 755 "$work"/payload/bin/{go,udevadm}
for image in "$work"/payload/tests/integration/testdata/*.tar.xz; do xz -dc "$image" >"$image.tar" && mv "$image.tar" "$image"; done
[ "$mode" != v2-selinux ] || policy "$work/payload/policy"

code=0
"$top/integration/vm/run.sh" "${options[@]}" --smp "$cpus" --mem 3072 --timeout "$all" --share "$work/payload:/suite" -- \
	env ROOTLESS_FEATURES="${ROOTLESS_FEATURES-idmap cgroup}" ./inside.sh "$mode" "$limit" "$filter" "$@" |
	awk -v out="$out" -v mode="$mode" '
		/^=== file / { close(file); file = out "/" mode "." $3 ".tap"; printf "" >file; next }
		file == "" { print >"/dev/stderr"; next }
		{ print >>file; fflush(file) }
		/^(not )?ok / { print; fflush() }' || code=$?
"$here/count.sh" "$out"
exit $code
