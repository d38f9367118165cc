#!/bin/bash
# test.sh [option...] MODE...: runs the tests that need a kernel in virtual machines, whose kernel and cgroups are others than the host's. One line for each
# mode and package: mode, package, pass or FAIL, how many tests passed, were skipped and failed, seconds; what a failed test says stands before it, and what was
# skipped, with the reasons, behind all. The exit status is not 0 when anything failed.
#
# Modes: v1, v2, v1-systemd and v2-systemd (process 1 is systemd, and cgroups are made through it), v2-apparmor, v2-criu; `all` are all of them.
#
#   -p PACKAGE   only this package, as linux/run or integration/contract; repeatable
#   -r REGEXP    only the tests that match, as in go test -run; otherwise the mode says which
#   -s           without the long ones: what makes every step fail, or kills at every step
#   -n COUNT     each test so often (1)
#   -t SECONDS   for all that one mode runs, its boot included (an hour a package)
#   -m MIB       the guest's memory (3072)
#   -c N         the guest's CPUs (2)
#   -v           print every test
#
# In the tests, SHIM_TEST_VM_MODE is the mode: what it is there for is not skipped (internal/need). SHIM_TEST_CGROUP_DRIVER is systemd where cgroups shall be
# made by it. SHIM_TEST_SLOWDOWN is what limits of time are multiplied by.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)

# How long one package may take on a host, in seconds, and how many times slower an emulated CPU is.
package_limit=180
slowdown=20
# The tests that are not run with -s: on a host they take as long as all the others together.
long='Faults|^TestKilled$|^TestKilledShimSteps$|^TestKilledChild$|^TestCriuRounds$|^TestCriuKilled$|^TestCriuCancelledAnywhere$|^TestRuns$|^TestExecs$'
other='|^TestCriu' # v2-criu has them
# These ask no kernel: the host's run says all. abi and bpf read the sources of a module.
pure='^linux/(abi|bpf|plan|spec|compile|lifecycle|cgroup/files|cgroup/stats)(/|$)'

say() { echo "vm/test: $*" >&2; }
usage() { sed -n '2,/^set -/{/^set -/!s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

only=() pattern= short= flags= verbose= whole= mem=3072 cpus=2
while getopts p:r:sn:t:m:c:v flag; do
	case $flag in
	p) only+=("${OPTARG%/}") ;;
	r) pattern=$OPTARG ;;
	s) short=1 ;;
	n) flags+=" -test.count=$OPTARG" ;;
	t) whole=$OPTARG ;;
	m) mem=$OPTARG ;;
	c) cpus=$OPTARG ;;
	v) verbose=1 ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
modes=("$@")
[ "$*" != all ] || modes=(v1 v2 v1-systemd v2-systemd v2-apparmor v2-criu)
for mode in "${modes[@]}"; do
	case $mode in v1 | v2 | v1-systemd | v2-systemd | v2-apparmor | v2-criu) ;; *) usage ;; esac
done

# packages lists the folders of all packages with tests that a guest can say something about.
packages() {
	(cd "$top" && go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./linux/... ./io/... ./oom/...) |
		sed "s|^$top/||" | grep -vE "$pure"
	printf 'integration/%s\n' contract parity seccomp shimrun stress
}

# make_payload DIR fills DIR with what the guest has where the repository is on the host: binaries, and each package's folder with its data.
make_payload() {
	local p module tags
	make -s -C "$top" build
	"$top/integration/setup/setup.sh" containerd2 >&2
	mkdir -p "$1/.cache/bin"
	cp -r "$top/bin" "$1/"
	cp "$top"/.cache/bin/{containerd2,ctr2} "$1/.cache/bin/"
	cp -r "$top/docs" "$here/inside.sh" "$1/"
	for p in "${list[@]}"; do
		module=$top
		[[ $p != integration/* ]] || module=$top/integration
		mkdir -p "$1/$p"
		(cd "$module" && CGO_ENABLED=0 go test -c -ldflags '-s -w' -o "$1/$p/vm.test" "$top/$p")
		find "$top/$p" -mindepth 1 -maxdepth 1 \( -name testdata -o -type f ! -name '*.go' \) -exec cp -r {} "$1/$p/" \;
	done
}

# run_mode MODE runs all packages in one guest.
run_mode() {
	local options=() driver= tests=$pattern limit=$((package_limit * slowdown)) skip=$long$other all
	all=${whole:-$((limit * ${#list[@]}))}
	case $1 in
	v1) options=(--cgroup v1) ;;
	v1-systemd) options=(--cgroup v1 --systemd) driver=systemd ;;
	v2-systemd) options=(--systemd) driver=systemd ;;
	v2-apparmor) options=(--apparmor) tests=${pattern:-'(?i)apparmor|labels'} ;;
	v2-criu) tests=${pattern:-'(?i)checkpoint|restore|criu'} skip=$long ;;
	esac
	"$here/run.sh" ${options[@]+"${options[@]}"} --mem "$mem" --smp "$cpus" --timeout "$all" --share "$work/payload:$top" -- \
		env SHIM_TEST_SLOWDOWN="$slowdown" SHIM_TEST_VM_MODE="$1" SHIM_TEST_CGROUP_DRIVER="$driver" \
		./inside.sh "$limit" "$all" "$tests" "$flags${short:+ -test.skip=$skip}" "$verbose" "${list[@]}"
}

work=
trap '[ -z "$work" ] || rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir -p "$top/.cache/vm"
"$here/build.sh" >/dev/null
work=$(mktemp -d "$top/.cache/vm/run.XXXXXX")
mapfile -t list < <(if [ ${#only[@]} -gt 0 ]; then printf '%s\n' "${only[@]}"; else packages; fi)
say "building ${#list[@]} packages' tests"
make_payload "$work/payload"

bad=0
for mode in "${modes[@]}"; do
	began=$SECONDS code=0
	run_mode "$mode" || code=$?
	say "$mode: exit status $code after $((SECONDS - began)) s"
	[ $code = 0 ] || bad=1
done
exit $bad
