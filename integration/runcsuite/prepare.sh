#!/bin/bash
# prepare.sh CHECKOUT: what runc's suite needs on this machine, once: packages (root only), the suite's helpers, and its two root file systems.
set -euo pipefail
[ $# = 1 ] && [ -d "$1/tests/integration" ] || { sed -n 2p "$0" >&2; exit 2; }
checkout=$(cd "$1" && pwd)

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

packages
helpers
images
