package host

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/plainfile"
)

// initScope is the unit in which the system's systemd puts itself: beside the slices that it makes.
const initScope = "/init.scope"

// SystemdCgroup returns the cgroup that the system's systemd has its slices in: "/", or another one where it runs in a container.
func SystemdCgroup() (string, error) {
	data, err := plainfile.Read("/proc/1/cgroup")
	if err != nil {
		return "", fmt.Errorf("find the cgroup of systemd: %w", err)
	}
	return parseSystemd(data), nil
}

// parseSystemd finds it in /proc/1/cgroup: that of the v2 hierarchy, or of v1's that is systemd's own.
func parseSystemd(data []byte) string {
	cgroup := "/"
	for _, h := range parseOwn(data) {
		if named := !h.Unified && h.Controllers[0] == "name=systemd"; named || h.Unified {
			cgroup = strings.TrimSuffix(h.Own, initScope)
			if named {
				break
			}
		}
	}
	if cgroup == "" {
		return "/"
	}
	return cgroup
}

// firstUserns is the inode of the first user namespace, PROC_USER_INIT_INO of include/linux/proc_ns.h.
const firstUserns = 0xEFFFFFFD

// InUserNamespace says that we are in another user namespace than the first one. Its map of ids can be the same.
func InUserNamespace() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/self/ns/user", &st) == nil && st.Ino != firstUserns
}
