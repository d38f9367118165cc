package contract

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/integration/daemon"
)

// TestSeccomp runs containers by `ctr run --seccomp`, with the default profile of each containerd's ctr and with one of a file.
func TestSeccomp(t *testing.T) {
	errno := uint(74) // EBADMSG
	profile, err := json.Marshal(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"mkdir", "mkdirat"}, Action: specs.ActErrno, ErrnoRet: &errno}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "profile.json")
	if err := os.WriteFile(file, profile, 0o644); err != nil {
		t.Fatal(err)
	}
	const script = "grep -E '^Seccomp:' /proc/self/status; unshare -U true 2>&1; mkdir /tmp/made 2>&1; echo done"
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for name, c := range map[string]struct {
			flags []string
			want  string
		}{
			"none":    {nil, "Seccomp: 0|done"},
			"default": {[]string{"--seccomp"}, "Seccomp: 2|unshare: unshare(0x10000000): Operation not permitted|done"},
			"file":    {[]string{"--seccomp", "--seccomp-profile", file}, "Seccomp: 2|mkdir: can't create directory '/tmp/made': Bad message|done"},
		} {
			args := append([]string{"run", "--rm", "--runtime", daemon.Runtime}, c.flags...)
			out, code := d.CtrRun("", append(args, daemon.Image, "seccomp-"+name, "sh", "-c", script)...)
			got := strings.NewReplacer("\r", "", "\t", " ", "\n", "|").Replace(strings.TrimSpace(out))
			if !strings.HasSuffix(got, c.want) || code != 0 { // ctr of 2.x may warn of its machine before
				t.Errorf("%s: %q, exit code %d, want %q", name, got, code, c.want)
			}
		}
	})
}
