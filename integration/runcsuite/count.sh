#!/bin/bash
# count.sh DIR...: counts the results (FILE.tap, MODE.FILE.tap) in the folders and below: each mode for itself, and each test once, which passes when it
# does in any mode. Then it prints the tests that pass in none, with what became of them in each. Of a test that was run again in a mode, the result in the
# folder with the last name counts.
set -euo pipefail
[ $# -ge 1 ] || { sed -n 2,4p "$0" >&2; exit 2; }
find "$@" -name '*.tap' | sort | xargs -d '\n' awk '
	FNR == 1 {
		n = split(FILENAME, path, "/"); name = path[n]; sub(/\.tap$/, "", name)
		mode = "host"; file = name
		if (name ~ /\./) { mode = name; sub(/\.[^.]*$/, "", mode); sub(/^.*\./, "", file) }
	}
	/^(not )?ok [0-9]/ {
		what = /^not/ ? "failed" : "passed"; text = $0
		sub(/^(not )?ok [0-9]+ /, "", text); sub(/ in [0-9]+(ms|sec)$/, "", text)
		if (match(text, / # skip/)) { what = "skipped" substr(text, RSTART + 7); text = substr(text, 1, RSTART - 1) }
		id = file ": " text
		result[mode, id] = what; seen[id]; modes[mode]
	}
	END {
		for (m in modes) {
			delete sum
			for (id in seen) if ((m, id) in result) { w = result[m, id]; sub(/ .*/, "", w); sum[w]++; if (w == "passed") pass[id] }
			printf "%s: passed %d, failed %d, skipped %d\n", m, sum["passed"], sum["failed"], sum["skipped"]
		}
		for (id in seen) { total++; if (id in pass) passed++ }
		printf "all modes together: %d of %d tests pass\n", passed, total
		for (id in seen) if (!(id in pass)) {
			printf "  %s", id
			for (m in modes) if ((m, id) in result) printf " [%s: %s]", m, result[m, id]
			print ""
		}
	}' | awk '/^  /{print | "sort"; next} {print}'
