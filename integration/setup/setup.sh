#!/bin/bash
# Makes what tests and demo need: `packages` (apt), `containerd2` (built from its Go module), `bench` (peers and a C
# compiler), `lint` (golangci-lint). Does only what is missing.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
bin=$top/.cache/bin
. "$top/integration/setup/apt.sh"

packages() {
	local missing=() pair
	for pair in containerd=containerd runc=runc crun=crun busybox=busybox-static script=bsdutils strace=strace; do
		command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
	done
	# Another busybox is linked dynamically: the tests put it alone into a root.
	if ! dpkg -s busybox-static >/dev/null 2>&1; then missing+=(busybox-static); fi
	# libseccomp's answers are compared with ours.
	if ! dpkg -s python3-seccomp >/dev/null 2>&1; then missing+=(python3-seccomp); fi
	[ ${#missing[@]} = 0 ] && return
	echo "installing ${missing[*]}"
	apt_install "${missing[@]}"
}

# tool NAME PACKAGE FOLDER: builds a tool that the go.mod in FOLDER pins.
tool() {
	local stamp; stamp=$bin/.$1-$(cat "$3/go.mod" "$3/go.sum" | sha256sum | cut -c1-16)
	[ -e "$stamp" ] && return
	mkdir -p "$bin"
	echo "building $1"
	(cd "$3" && CGO_ENABLED=0 nice go build -trimpath -tags "$4" -o "$bin/$1" "$2")
	touch "$stamp"
}

containerd2() {
	tool containerd2 github.com/containerd/containerd/v2/cmd/containerd "$top/integration" "no_btrfs no_devmapper no_zfs no_cri"
	tool ctr2 github.com/containerd/containerd/v2/cmd/ctr "$top/integration" "no_btrfs no_devmapper no_zfs no_cri"
}

# The newest shim of containerd's own, from the same module; a newer runc or crun is taken from .cache/bin when somebody puts it there.
bench() {
	command -v gcc >/dev/null || apt_install gcc libc6-dev
	tool containerd-shim-runc-v2 github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2 "$top/integration" "no_grpc"
}

lint() { tool golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint "$top/integration/setup/lint" ""; }

for what; do "$what"; done
