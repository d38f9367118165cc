// Package bpf makes the programs that a container's kernel runs for it: the seccomp filter (classic BPF, seccomp(2)) and, on cgroup v2, the device
// filter (eBPF). It is pure: it turns data into instructions, and others hand them to the kernel.
package bpf
