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

[ "$(id -u)" != 0 ] || "$top/integration/runcsuite/prepare.sh" "$checkout"
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
