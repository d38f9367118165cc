#!/bin/bash
# Runs in the guest: makes it a machine for runc's suite, and runs files of it. See vm.sh.
#
#   inside.sh MODE SECONDS REGEXP FILE...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mode=$1 limit=$2 filter=$3; shift 3
tar -C / -xf "$here/extra.tar" --keep-directory-symlink --no-same-owner
export PATH=$here/bin:$PATH RUNC=$here/bin/runc RUNC_ALLOW_UNSAFE_TESTS=yes
insmod "$(find "/lib/modules/$(uname -r)/kernel/block" -name 'bfq.ko*' | head -1)"
modprobe loop

user=2000
# As a session of that user would have it. Controllers are delegated as the suite's documentation says.
manager() {
	mkdir -p /etc/systemd/system/user@.service.d
	printf '[Service]\nDelegate=yes\n' >/etc/systemd/system/user@.service.d/delegate.conf
	systemctl daemon-reload
	systemctl start "user@$user.service"
	export XDG_RUNTIME_DIR=/run/user/$user
	export DBUS_SESSION_BUS_ADDRESS=unix:path=$XDG_RUNTIME_DIR/bus
}

# cgroup gives the user a folder of the v2 hierarchy, as cgroup-v2.rst says under "Delegation Containment".
cgroup() {
	local dir=/sys/fs/cgroup/runc-cgroups-integration-test
	mkdir "$dir"
	chown "$user:$user" "$dir" "$dir"/cgroup.{procs,subtree_control}
	chgrp "$user" /sys/fs/cgroup/cgroup.procs
	chmod g+w /sys/fs/cgroup/cgroup.procs
}

# The suite looks below the root for what a cgroup has: with systemd there is always one.
[[ $mode != *v2* || $mode == *-systemd ]] || mkdir /sys/fs/cgroup/machine

# selinux loads the policy: the kernel takes it in one write.
selinux() {
	mount -t selinuxfs selinuxfs /sys/fs/selinux
	mkdir -p /etc/selinux
	echo SELINUX=enforcing >/etc/selinux/config # what selinuxenabled looks for
	dd if="$here/policy" of=/sys/fs/selinux/load bs=1M status=none
	echo 1 >/sys/fs/selinux/enforce
}

run=()
case $mode in
*-selinux) selinux ;;
rootless-*)
	useradd -u "$user" -m -s /bin/bash rootless # also in shadow, where PAM looks for the user's manager
	rm -f /etc/subuid /etc/subgid
	if [[ $ROOTLESS_FEATURES == *idmap* ]]; then
		export ROOTLESS_UIDMAP_START=100000 ROOTLESS_UIDMAP_LENGTH=65536 ROOTLESS_GIDMAP_START=200000 ROOTLESS_GIDMAP_LENGTH=65536
		echo "rootless:$ROOTLESS_UIDMAP_START:$ROOTLESS_UIDMAP_LENGTH" >/etc/subuid
		echo "rootless:$ROOTLESS_GIDMAP_START:$ROOTLESS_GIDMAP_LENGTH" >/etc/subgid
		# A folder of a user of the container, 1000 of which is the first of the map.
		export ROOTLESS_AUX_UID=1024 ROOTLESS_AUX_DIR
		ROOTLESS_AUX_DIR=$(mktemp -d)
		chown "$((ROOTLESS_UIDMAP_START - 1000 + ROOTLESS_AUX_UID))" "$ROOTLESS_AUX_DIR"
	fi
	[[ $ROOTLESS_FEATURES != *cgroup* || $mode == *-systemd ]] || cgroup
	[[ $mode != *-systemd ]] || manager
	export HOME=/home/rootless
	run=(setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --)
	# Below the user's manager, as a desktop's terminal is: into its cgroups nothing can be born from elsewhere, an ssh session for one.
	[[ $mode != *-systemd ]] || run+=(systemd-run --user --scope --quiet --)
	;;
esac
[[ $mode != *-systemd ]] || export RUNC_USE_SYSTEMD=yes

cd "$here/tests/integration"
for file; do
	echo "=== file $file"
	began=$SECONDS
	code=0
	timeout "$limit" ${run[@]+"${run[@]}"} bats -t ${filter:+-f "$filter"} "$file.bats" 2>&1 </dev/null || code=$?
	# 1 is that of tests that failed, which are in the output. 124: time was up, and the rest has no result.
	[ $code -le 1 ] || echo "# bats ended with status $code: tests may be missing"
	echo "# $((SECONDS - began)) s"
done
