package house

import (
	"strings"
	"testing"
)

// TestBansCanFail tries each ban on lines that it forbids and on lines that it allows. TestBans leaves this file out for the paths' sake; hosts are made
// of pieces here too.
func TestBansCanFail(t *testing.T) {
	host := func(i int) string { return strings.Join(hosts[i], ".") }
	cases := map[string]struct{ bad, good []string }{
		"the host of a package registry": {
			bad:  []string{host(0), "GOPROXY=https://" + host(0) + ",direct", "deb http://" + host(4) + "/debian", strings.ToUpper(host(9)) + "/simple"},
			good: []string{"golang.org/x/sys", "https://containerd.io", "docker.io/library/busybox", "debian.org"},
		},
		"the URL of a proxy or mirror": {
			bad:  []string{"https://goproxy.example.com/x", "http://apt-mirror.local:8080/", `"https://artifactory.corp/api"`},
			good: []string{"https://containerd.io/docs/registry", "github.com/butuzov/mirror"},
		},
		"a setting of a proxy": {
			bad:  []string{"export GOPROXY=https://10.0.0.1", "HTTPS_PROXY: http://10.0.0.1:3128"},
			good: []string{"GOPROXY=off", "GOFLAGS=-mod=mod"},
		},
		"a path in /work": {
			bad:  []string{"/work/main", "see /work/shared/design.md", `"/work/x"`, "dir=/work/a"},
			good: []string{"/overlay/work/x", "upper/work", "workdir=/x/work/inner", "/workspace/a"},
		},
		"a path in root's home": {
			bad:  []string{"/root/go/pkg", "/root/.cache/x", "GOPATH=/root/go"},
			good: []string{"HOME=/root", "/root/path", "/root/readonly", "root:x:0:0:root:/root:/bin/sh"},
		},
		"a path in a user's home": {
			bad:  []string{"/home/jane/src"},
			good: []string{"/home/user:/bin/sh"},
		},
		"a path of a session": {
			bad:  []string{"/tmp/bash_jobs.0/x", "/tmp/go-build1/b001"},
			good: []string{"/tmp/demoXXXX", "/tmp"},
		},
	}
	for _, b := range bans() {
		c, ok := cases[b.name]
		if !ok || b.reason == "" {
			t.Errorf("%s: no case, or no reason", b.name)
		}
		for _, line := range c.bad {
			if !b.re.MatchString(line) {
				t.Errorf("%s: allows %q", b.name, line)
			}
		}
		for _, line := range c.good {
			if hit := b.re.FindString(line); hit != "" {
				t.Errorf("%s: forbids %q in %q", b.name, hit, line)
			}
		}
	}
}
