#!/bin/bash
# The life of a container under io.example.shim.v2, shown through a private containerd and ctr. It leaves nothing behind, and fails when something
# is not as it says.
set -uo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d /tmp/demoXXXX)
ns=shim-demo-$$
image=demo.test/busybox:1
daemon=
events=

ctr() { timeout -s KILL 30 /usr/bin/ctr -a "$dir/c.sock" -n "$ns" "$@"; }
run() { ctr run --runtime io.example.shim.v2 "$@"; }
say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
show() { printf '   $ ctr %s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }
# want WHAT GOT PATTERN: prints what came, and fails when it is not like the pattern.
want() {
	printf '%s\n' "$2" | tr -d '\000' | sed 's/^/   /'
	grep -qE -- "$3" <<<"$2" || fail "$1: expected something like: $3"
}

leave() {
	local code=$?
	trap - EXIT INT TERM
	for id in $(ctr tasks ls -q 2>/dev/null); do ctr tasks kill -s KILL "$id"; sleep 0.3; ctr tasks rm "$id"; done >/dev/null 2>&1
	[ -z "$events" ] || kill "$events" 2>/dev/null
	if [ -n "$daemon" ]; then kill "$daemon" && wait "$daemon"; fi 2>/dev/null
	for cg in /sys/fs/cgroup/*/"$ns"; do [ ! -d "$cg" ] || rmdir "$cg"; done
	rm -rf "$dir"
	local left
	left=$(grep -F "$dir" /proc/self/mountinfo; find /sys/fs/cgroup -maxdepth 2 -name "$ns"; pgrep -af -- "-namespace $ns ")
	if [ -n "$left" ]; then printf 'demo: left behind:\n%s\n' "$left" >&2; code=1; fi
	exit "$code"
}
trap leave EXIT
trap 'exit 130' INT TERM

# An OCI image of busybox: a layer, a configuration, a manifest, an index.
make_image() {
	local w=$dir/image blob layer config manifest
	mkdir -p "$w/layer/"{bin,etc,tmp,root,dev,proc,sys,run} "$w/oci/blobs/sha256"
	cp /bin/busybox "$w/layer/bin/"
	for a in $(/bin/busybox --list); do [ "$a" = busybox ] || ln -s busybox "$w/layer/bin/$a"; done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$w/layer/etc/passwd"
	blob() { # FILE TYPE: stores the file and prints its descriptor
		local sum size
		sum=$(sha256sum <"$1" | cut -d' ' -f1)
		size=$(stat -c %s "$1")
		cp "$1" "$w/oci/blobs/sha256/$sum"
		printf '{"mediaType":"application/vnd.oci.image.%s","digest":"sha256:%s","size":%s' "$2" "$sum" "$size"
	}
	tar -C "$w/layer" -cf "$w/layer.tar" .
	layer=$(blob "$w/layer.tar" layer.v1.tar)
	printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/bin"],"Cmd":["sh"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
		"$(dpkg --print-architecture)" "$(sha256sum <"$w/layer.tar" | cut -d' ' -f1)" >"$w/config"
	config=$(blob "$w/config" config.v1+json)
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s},"layers":[%s}]}' "$config" "$layer" >"$w/manifest"
	manifest=$(blob "$w/manifest" manifest.v1+json)
	printf '{"schemaVersion":2,"manifests":[%s,"annotations":{"io.containerd.image.name":"%s"}}]}' "$manifest" "$image" >"$w/oci/index.json"
	printf '{"imageLayoutVersion":"1.0.0"}' >"$w/oci/oci-layout"
	tar -C "$w/oci" -cf "$dir/image.tar" .
}

start_containerd() {
	cat >"$dir/config.toml" <<-TOML
		version = 2
		root = "$dir/root"
		state = "$dir/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		  address = "$dir/c.sock"
	TOML
	PATH=$top/bin:$PATH /usr/bin/containerd -c "$dir/config.toml" >"$dir/log" 2>&1 &
	daemon=$!
	for _ in $(seq 100); do
		ctr version >/dev/null 2>&1 && return
		sleep 0.1
	done
	tail -5 "$dir/log" >&2
	fail "containerd does not answer"
}

say "One static binary, no C"
want "the binary" "$(file -b "$top/bin/containerd-shim-shim-v2" 2>/dev/null || ldd "$top/bin/containerd-shim-shim-v2" 2>&1)" "statically linked|not a dynamic executable"
"$top/bin/containerd-shim-shim-v2" -v | sed 's/^/   /'

say "A private containerd, and an image made of busybox"
make_image
start_containerd
want "the import" "$(ctr images import "$dir/image.tar" 2>&1 | tail -1)" "$image"
ctr events >"$dir/events" 2>/dev/null &
events=$!

say "A container runs; its output and its exit code come back"
show 'run --rm --runtime io.example.shim.v2 IMAGE first sh -c "echo hello from $(hostname), pid $$; exit 3"'
out=$(run --rm "$image" first sh -c 'echo "hello, I am pid $$"; exit 3')
code=$?
want "the run" "$out" "hello, I am pid 1"
[ $code = 3 ] || fail "the exit code is $code, not 3"
echo "   exit code $code"

say "A terminal"
mkfifo "$dir/quiet" # a keyboard that nobody uses: it has no end, which script would type
want "the terminal" "$(script -qec "timeout -s KILL 30 /usr/bin/ctr -a $dir/c.sock -n $ns run --rm -t --runtime io.example.shim.v2 $image tty tty" /dev/null <>"$dir/quiet")" "/dev/pts/0"

say "Standard input"
want "the input" "$(echo "typed on the host" | run --rm "$image" stdin head -n 1)" "typed on the host"

say "Exec, pause, resume, metrics, kill"
run -d "$image" web sleep 1000 || fail "run -d"
want "the exec" "$(ctr tasks exec --exec-id e1 web ps)" "sleep 1000"
ctr tasks pause web || fail "pause"
want "the paused task" "$(ctr tasks ls)" "web .*PAUSED"
ctr tasks resume web || fail "resume"
want "the metrics" "$(ctr tasks metrics web | grep -E 'memory.usage|pids.current|cpuacct.usage ')" "pids.current +1"
ctr tasks kill -s KILL web
for _ in $(seq 50); do ctr tasks ls | grep -q 'web .*STOPPED' && break; sleep 0.1; done
want "the killed task" "$(ctr tasks ls)" "web .*STOPPED"
ctr tasks rm web >/dev/null 2>&1
ctr containers rm web

say "More memory than it may have: the kernel kills it, and an event says so"
run --rm --memory-limit 16777216 "$image" greedy tail /dev/zero
code=$?
[ $code = 137 ] || fail "the exit code is $code, not 137"
echo "   exit code $code"

say "A failure says what is wrong, and leaves nothing"
want "the error" "$(run --rm "$image" wrong no-such-command 2>&1)" 'exec: "no-such-command": executable file not found in \$PATH'

say "What would be done for a container, before anything is done (explain; the first and the last of the steps)"
mkdir -p "$dir/bundle/rootfs"
ctr containers create --runtime io.example.shim.v2 "$image" shown >/dev/null
(cd "$dir/bundle" && ctr containers info --spec shown >config.json)
ctr containers rm shown
plan=$("$top/bin/containerd-shim-shim-v2" explain --bundle "$dir/bundle")
want "the plan" "$(head -4 <<<"$plan"; echo ...; tail -3 <<<"$plan")" "execute"

say "The events of it all, in their order"
sleep 0.3
want "the events" "$(grep -o '/tasks/[a-z-]*' "$dir/events" | tr '\n' ' ')" "create /tasks/start /tasks/oom /tasks/exit /tasks/delete"
say "Done; nothing is left behind"
