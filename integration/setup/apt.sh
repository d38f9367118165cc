# Sourced: apt, for scripts that may run beside each other and beside somebody else's apt.

# How long to wait for another apt, in seconds: it may be installing what we wait for.
apt_limit=600

# apt_update fetches the lists of packages. apt-get waits for dpkg's lock when it is told to, never for the one of the lists: that is asked for again.
apt_update() {
	local end=$((SECONDS + apt_limit)) said
	until said=$(LC_ALL=C apt-get update 2>&1); do
		if [[ $said != *"Could not get lock"* ]] || [ $SECONDS -ge $end ]; then
			echo "$said" >&2
			return 1
		fi
		sleep 1
	done
}

# apt_install PACKAGE... installs packages, and shows what apt says only when that fails. No service is started for them: tests start their own.
apt_install() {
	local policy=/usr/sbin/policy-rc.d made= code=0 said
	apt_update || return
	if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' >$policy; chmod 755 $policy; made=1; fi
	said=$(DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=$apt_limit install -y --no-install-recommends "$@" 2>&1) || code=$?
	[ -z "$made" ] || rm -f $policy
	[ $code = 0 ] || { echo "$said" | tail -20 >&2; echo "cannot install $*" >&2; }
	return $code
}
