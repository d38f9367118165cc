package contract

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/integration/daemon"
)

// raceStarts is how many containers are made during the race: some hundred exchanges happen within one create.
const raceStarts = 60

// exchange swaps two names of a folder until the function that it returns is called.
func exchange(t *testing.T, dir, a, b string) (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, a), unix.AT_FDCWD, filepath.Join(dir, b), unix.RENAME_EXCHANGE); err != nil {
				t.Errorf("exchange: %v", err)
				return
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}

// TestAttackExchange: another container exchanges a folder of a shared volume for a link to the host while something is mounted (CVE-2021-30465) or made
// (CVE-2024-45310) in it. A create may fail; nothing may be made or mounted outside of the container's root. Within it the link leads to a place of the same name,
// where the mount may well be.
func TestAttackExchange(t *testing.T) {
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		for name, mount := range map[string]specs.Mount{
			"a mount":         {Destination: "/mnt/a/there", Type: "tmpfs", Source: "tmpfs"},
			"a missing place": {Destination: "/mnt/a/made/deep", Type: "tmpfs", Source: "tmpfs"},
			"a missing file":  {Destination: "/mnt/a/file", Type: "bind", Source: "/etc/hostname", Options: []string{"bind"}},
		} {
			t.Run(name, func(t *testing.T) {
				host, volume := t.TempDir(), t.TempDir()
				r := newScript(t, d, "true", func(s *specs.Spec) {
					s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Type: "bind", Source: volume, Options: []string{"rbind", "rw"}}, mount)
				})
				r.ok(os.MkdirAll(filepath.Join(volume, "a/there"), 0o755))
				r.ok(os.Symlink(toHost(host), filepath.Join(volume, "b")))
				r.start()
				defer exchange(t, volume, "a", "b")()
				made := 0
				for range raceStarts {
					if err := r.errOf("Create", r.createRequest()); err != nil {
						continue // it was noticed
					}
					made++
					r.begin("")
					r.wait("")
					r.remove("")
				}
				r.shutdown()
				t.Logf("%d of %d were made", made, raceStarts)
				unchanged(t, host)
			})
		}
	})
}
