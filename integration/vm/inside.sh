#!/bin/bash
# inside.sh LIMIT PATTERN VERBOSE PACKAGE...: test.sh's part in the guest. Runs each package's tests in its folder, LIMIT seconds at most.
limit=$1 pattern=$2 verbose=$3
shift 3
export GOMAXPROCS; GOMAXPROCS=$(nproc)
top=$PWD failed=0 ran=0
for package; do
	cd "$top/$package" || exit 125
	if [ -n "$pattern" ] && ! ./vm.test -test.list "$pattern" | grep -q .; then continue; fi
	ran=$((ran + 1))
	began=$(date +%s.%N) result=pass
	./vm.test -test.timeout "${limit}s" -test.run "$pattern" ${verbose:+-test.v} || { result=FAIL; failed=1; }
	printf '%s\t%s\t%s\t%.1f\n' "$SHIM_TEST_VM_MODE" "$package" "$result" "$(echo "$began $(date +%s.%N)" | awk '{print $2 - $1}')"
done
[ $ran -gt 0 ] || { echo "$SHIM_TEST_VM_MODE: no test matches $pattern"; exit 1; }
exit $failed
