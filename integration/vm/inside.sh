#!/bin/bash
# inside.sh LIMIT PATTERN FLAGS PACKAGE...: test.sh's part in the guest. Runs each package's tests in its folder, LIMIT seconds at most; FLAGS are more flags of
# a test binary, none with a space in it.
limit=$1 pattern=$2
read -ra flags <<<"$3"
shift 3
modprobe loop || exit 125 # makes /dev/loop-control, as udev does elsewhere
export GOMAXPROCS; GOMAXPROCS=$(nproc)
top=$PWD failed=0 ran=0
for package; do
	cd "$top/$package" || exit 125
	if [ -n "$pattern" ] && ! ./vm.test -test.list "$pattern" | grep -q .; then continue; fi
	ran=$((ran + 1))
	began=$(date +%s.%N) result=pass
	./vm.test -test.timeout "${limit}s" -test.run "$pattern" ${flags[@]+"${flags[@]}"} || { result=FAIL; failed=1; }
	printf '%s\t%s\t%s\t%.1f\n' "$SHIM_TEST_VM_MODE" "$package" "$result" "$(echo "$began $(date +%s.%N)" | awk '{print $2 - $1}')"
done
[ $ran -gt 0 ] || { echo "$SHIM_TEST_VM_MODE: no test matches $pattern"; exit 1; }
exit $failed
