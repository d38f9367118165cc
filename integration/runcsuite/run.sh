#!/bin/bash
# Runs runc's own test suite against shimrun, and prints what does not pass. Nothing of that suite is kept here.
#
#   run.sh CHECKOUT [-o DIR] [-t SECONDS] [FILE...]   a checkout of runc; FILEs of tests/integration without .bats, all without any
#
# The results stay in DIR (TAP, one file a file of the suite). ROOTLESS_FEATURES, RUNC_USE_SYSTEMD and the like are the suite's own. As a plain user it runs
# the suite as it does for rootless containers.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -ge 1 ] && [ -d "$1/tests/integration" ] || { sed -n 2,8p "$0" >&2; exit 2; }
checkout=$(cd "$1" && pwd); shift
out=$(mktemp -d) limit=600
while getopts o:t: opt; do
	case $opt in o) out=$OPTARG ;; t) limit=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
mkdir -p "$out"
[ -x "$top/bin/shimrun" ] || { echo "make build first" >&2; exit 1; }

packages() {
	local missing=() pair
	for pair in bats=bats jq=jq gawk=gawk newuidmap=uidmap gcc=gcc xz=xz-utils ip=iproute2 mmdebstrap=mmdebstrap; do
		command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
	done
	for pkg in libseccomp-dev pkg-config busybox-static; do
		dpkg -s "$pkg" >/dev/null 2>&1 || missing+=("$pkg")
	done
	[ ${#missing[@]} = 0 ] && return
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# helpers builds the programs that the tests call.
helpers() {
	local bin=$checkout/tests/cmd/_bin name
	mkdir -p "$bin"
	for name in "$checkout"/tests/cmd/*/; do
		name=$(basename "$name")
		[ "$name" = _bin ] || [ -x "$bin/$name" ] || (cd "$checkout" && go build -tags seccomp -o "$bin" "./tests/cmd/$name")
	done
}

# images makes the two root file systems from Debian's packages where the suite's own cannot be downloaded.
images() {
	local data=$checkout/tests/integration/testdata arch dir applet
	arch=$(go env GOARCH)
	if [ ! -e "$data/busybox-$arch.tar.xz" ]; then
		dir=$(mktemp -d)
		mkdir -p "$dir"/{bin,dev,etc,home,root,tmp,usr/bin,usr/sbin,var/spool/mail,var/www,lib}
		cp "$(command -v busybox)" "$dir/bin/busybox"
		for applet in $("$dir/bin/busybox" --list); do [ "$applet" = busybox ] || ln "$dir/bin/busybox" "$dir/bin/$applet"; done
		ln -s /bin/env "$dir/usr/bin/env"
		printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/usr/sbin:/bin/false nobody:x:65534:65534:nobody:/home:/bin/false >"$dir/etc/passwd"
		printf '%s\n' root:x:0: daemon:x:1: tty:x:5: users:x:100: nogroup:x:65534: >"$dir/etc/group"
		chmod 1777 "$dir/tmp"
		chmod 755 "$dir"
		tar -C "$dir" -cJf "$data/busybox-$arch.tar.xz" .
		rm -rf "$dir"
	fi
	[ -e "$data/debian-$arch.tar.xz" ] || mmdebstrap --variant=minbase bookworm "$data/debian-$arch.tar.xz"
}

if [ "$(id -u)" = 0 ]; then packages; helpers; images; fi
# The tests look for texts of a program called runc, and its file must not change meanwhile.
link=$(mktemp -d)
trap 'rm -rf "$link"' EXIT
chmod 755 "$link"
install -m 755 "$top/bin/shimrun" "$link/runc"
export RUNC=$link/runc
cd "$checkout/tests/integration"
[ $# -gt 0 ] || set -- $(basename -s .bats -a ./*.bats)
for file; do
	# A container or helper that a failed test leaves keeps bats waiting for its output.
	timeout "$limit" bats -t "$file.bats" >"$out/$file.tap" 2>&1 </dev/null || true
done
cd "$out"
grep -H '^not ok' ./*.tap | sed 's/^\.\///; s/\.tap:not ok [0-9]*/:/' || true
echo "passed $(cat ./*.tap | grep '^ok' | grep -vc '# skip' || true), skipped $(cat ./*.tap | grep -c '^ok.*# skip' || true), failed $(cat ./*.tap | grep -c '^not ok' || true); details in $out"
