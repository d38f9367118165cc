#!/bin/bash
# inside.sh LIMIT ALL PATTERN FLAGS VERBOSE PACKAGE...: test.sh's part in the guest. Runs each package's tests in its folder, LIMIT seconds at most, and all of
# them in ALL seconds since its boot; FLAGS are more flags of a test binary, none with a space in it. A line for each package, and at the end what was skipped,
# with the reasons.
limit=$1 all=$2 pattern=$3 verbose=$5
read -ra flags <<<"$4"
shift 5
modprobe loop || exit 125 # makes /dev/loop-control, as udev does elsewhere
export GOMAXPROCS; GOMAXPROCS=$(nproc)
top=$PWD failed=0 ran=0 counts=/tmp/counts skips=/tmp/skips
: >$skips

# report prints what failed tests say, or everything, and counts. It keeps a top-level test's lines until they are known to be of one that failed.
report() {
	awk -v verbose="$verbose" -v counts=$counts -v skips=$skips -v package="$1" '
		function show() { if (lines != "") printf "%s", lines; lines = ""; fflush() }
		{ if (verbose != "") { print; fflush() } else if ($0 !~ /^(=== |PASS$| +--- PASS: )/) lines = lines $0 "\n" }
		/^ *--- SKIP: / { print package "\t" $3 "\t" reason >>skips; if ($0 ~ /^---/) skip++ }
		/^ *[^ ]*_test\.go:[0-9]*: needs / { reason = $0; sub(/^ *[^ ]*: needs /, "", reason); sub(/\): .*/, ")", reason) }
		/^--- PASS: / { pass++; lines = "" }
		/^--- SKIP: / { lines = "" }
		/^--- FAIL: / { fail++; show() }
		END { show(); printf "%d\t%d\t%d", pass, skip, fail >counts }'
}

for package; do
	cd "$top/$package" || exit 125
	if [ -n "$pattern" ] && ! ./vm.test -test.list "${pattern%%/*}" | grep -q .; then continue; fi
	ran=$((ran + 1))
	began=$(date +%s.%N) result=pass
	# A test that hangs is to say so before the host ends the machine.
	left=$((all - $(cut -d. -f1 /proc/uptime) - 60))
	[ $left -ge $limit ] || limit=$((left > 1 ? left : 1))
	./vm.test -test.v -test.timeout "${limit}s" -test.run "$pattern" ${flags[@]+"${flags[@]}"} 2>&1 | report "$package"
	[ "${PIPESTATUS[0]}" = 0 ] || { result=FAIL; failed=1; }
	printf '%s\t%s\t%s\t%s\t%.1f\n' "$SHIM_TEST_VM_MODE" "$package" "$result" "$(cat $counts)" "$(echo "$began $(date +%s.%N)" | awk '{print $2 - $1}')"
done
[ $ran -gt 0 ] || { echo "$SHIM_TEST_VM_MODE: no test matches $pattern"; exit 1; }
sort $skips | awk -F'\t' '{ tests[$3] = tests[$3] " " $1 ":" $2 } END { for (r in tests) print "skipped, needs " r ":" tests[r] }'
exit $failed
