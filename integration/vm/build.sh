#!/bin/bash
# Makes the virtual machine's files once: a Debian 12 root disk, the kernel and an initial ram disk. Prints the folder that they are in.
# The folder's name has a hash of the scripts here and of the kernel package's version: a change of either makes another guest, and removes the old one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$(cd "$here/../.." && pwd)/.cache/vm
. "$here/../setup/apt.sh"

# The guest's packages, besides Debian's essential ones. containerd is Debian's (1.6); e2fsprogs is for file systems in files, python3-seccomp to ask
# libseccomp, runc and crun to compare with.
guest_packages=systemd,systemd-sysv,dbus,apparmor,criu,containerd,runc,crun,busybox-static,iproute2,iptables,procps,kmod,libseccomp2,uidmap,e2fsprogs,strace
guest_packages+=,python3-seccomp
# What the initial ram disk loads to reach the root disk, the host's pipes (virtio_console) and the host's files (qemu_fw_cfg).
early_modules="virtio_pci virtio_blk virtio_console qemu_fw_cfg ext4"
# The parts of the kernel's modules that containers need; all of them are several times as large.
module_parts="fs net crypto lib arch drivers/block drivers/virtio drivers/char drivers/firmware drivers/md drivers/net/veth.ko drivers/net/dummy.ko
	drivers/net/tun.ko drivers/net/macvlan.ko drivers/net/ipvlan"
disk_size=8G # sparse

say() { echo "vm/build: $*" >&2; }

# need COMMAND=PACKAGE... installs what this machine lacks.
need() {
	local missing=() pair
	for pair; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
	[ ${#missing[@]} = 0 ] && return
	say "installing ${missing[*]}"
	apt_install "${missing[@]}" >&2
}

# root_tree DIR makes Debian's tree. The kernel's package is only unpacked beside it: installed, it would want an initramfs generator and run its hooks.
root_tree() {
	mmdebstrap --quiet --variant=minbase --include="$guest_packages" \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--customize-hook='export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; cd "$1/../kernel" && apt-get -qq -o APT::Sandbox::User=root download "$(
			apt-cache depends linux-image-amd64 | sed -n "s/.*Depends: *\(linux-image-[^ ]*\).*/\1/p" | head -1)"' \
		bookworm "$1" >"$1/../log" 2>&1 || { tail -20 "$1/../log" >&2; say "mmdebstrap failed"; exit 1; }
}

# le32 FILE OFFSET prints a little-endian number.
le32() { od -An -v -tu4 -j "$2" -N 4 --endian=little "$1" | tr -d ' '; }

# unpack_kernel BZIMAGE OUT takes the ELF file out of a bzImage, where the header's fields say that it is (Linux' boot protocol, 2.08): qemu enters it
# directly, and an emulated CPU does not spend seconds on decompression. The size behind the compressed data is not part of the stream.
unpack_kernel() {
	local sectors offset length
	sectors=$(od -An -tu1 -j $((0x1f1)) -N 1 "$1" | tr -d ' ')
	offset=$((($sectors + 1) * 512 + $(le32 "$1" $((0x248)))))
	length=$(le32 "$1" $((0x24c)))
	tail -c +$((offset + 1)) "$1" | head -c $((length - 4)) >"$2.packed" || true
	case $(od -An -tx1 -N 4 "$2.packed") in
	*" fd 37 7a 58") xz -dc --single-stream "$2.packed" >"$2" ;;
	*" 28 b5 2f fd") zstd -qdc "$2.packed" >"$2" ;;
	*) cp "$1" "$2" ;; # qemu takes a bzImage too
	esac
	rm -f "$2.packed"
}

# add_modules KERNEL_TREE ROOT VERSION copies the parts of the modules and makes their index.
add_modules() {
	local from=$1/lib/modules/$3 to=$2/lib/modules/$3 part
	mkdir -p "$to/kernel"
	cp "$from"/modules.{order,builtin,builtin.modinfo} "$to/"
	for part in $module_parts; do
		(cd "$from/kernel" && cp -a --parents "$part" "$to/kernel/")
	done
	chroot "$2" depmod "$3"
}

# initrd ROOT VERSION OUT makes the initial ram disk: busybox, the early modules in their order, and the first script.
initrd() {
	local tree=$1/../initrd name
	mkdir -p "$tree/bin" "$tree/modules"
	cp "$1/bin/busybox" "$tree/bin/"
	install -m 755 "$here/guest/first" "$tree/init"
	for name in $early_modules; do chroot "$1" modprobe -S "$2" --show-depends "$name"; done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
		while read -r name; do
			cp "$1$name" "$tree/modules/"
			basename "$name" >>"$tree/modules/order"
		done
	(cd "$tree" && find . | chroot_cpio "$1") | gzip -1 >"$3"
}

# chroot_cpio ROOT packs the current folder's files named on standard input, by the guest's busybox: cpio is not on every machine.
chroot_cpio() { "$1/bin/busybox" cpio -o -H newc 2>/dev/null; }

# guest_files ROOT adds what of ours runs in the guest.
guest_files() {
	install -D -m 755 -t "$1/usr/local/lib/vm" "$here/guest/boot" "$here/guest/job"
	install -D -m 644 -t "$1/etc/systemd/system" "$here/guest/vm-job.service" "$here/guest/vm-job.target"
	echo guest >"$1/etc/hostname"
	echo '127.0.0.1 localhost guest' >"$1/etc/hosts"
	: >"$1/etc/fstab"
	: >"$1/etc/machine-id"
	rm -f "$1/etc/resolv.conf"
}

# build DESTINATION
build() {
	local version
	need mmdebstrap=mmdebstrap mke2fs=e2fsprogs xz=xz-utils zstd=zstd
	work=$(mktemp -d "$cache/build.XXXXXX")
	chmod 755 "$work" # apt drops privileges below
	mkdir "$work/root" "$work/kernel" "$work/out"
	say "making the root file system (a minute or two)"
	root_tree "$work/root"
	dpkg-deb -x "$work"/kernel/*.deb "$work/kernel"
	version=$(ls "$work/kernel/lib/modules")
	add_modules "$work/kernel" "$work/root" "$version"
	initrd "$work/root" "$version" "$work/out/initrd"
	unpack_kernel "$work/kernel/boot/vmlinuz-$version" "$work/out/kernel"
	cp "$work/kernel/boot/config-$version" "$work/root/boot/" # criu and others read it
	guest_files "$work/root"
	# No journal: the disk is thrown away.
	truncate -s "$disk_size" "$work/out/root.ext4"
	mke2fs -q -t ext4 -O ^has_journal -m 0 -E root_owner=0:0 -d "$work/root" "$work/out/root.ext4"
	find "$cache" -mindepth 1 -maxdepth 1 -name 'guest-*' -exec rm -rf {} +
	mv "$work/out" "$1"
}

work=
trap '[ -z "$work" ] || rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$cache"
# kernel_version asks the lists of packages. A machine may have none yet: what is asked later would be another answer, and another guest.
kernel_version() { apt-cache show --no-all-versions linux-image-amd64 2>/dev/null | sed -n 's/^Version: //p'; }
kernel=$(kernel_version || true)
[ -n "$kernel" ] || { apt_update && kernel=$(kernel_version || true); }
key=$( { cat "$here/build.sh" "$here"/guest/*; echo "$kernel"; } | sha256sum | cut -c1-16)
guest=$cache/guest-$key
if [ ! -e "$guest" ]; then
	exec 9>"$cache/lock" # several runs at a time build once
	flock 9
	[ -e "$guest" ] || build "$guest"
	exec 9>&-
fi
need qemu-system-x86_64=qemu-system-x86 mke2fs=e2fsprogs
echo "$guest"
