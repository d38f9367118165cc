package need

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// fake is a test that says how it ended.
type fake struct {
	testing.TB
	said string
}

func (f *fake) Helper() {}

func (f *fake) Fatalf(format string, args ...any) { f.end("failed: ", format, args) }
func (f *fake) Skipf(format string, args ...any)  { f.end("skipped: ", format, args) }

func (f *fake) end(how, format string, args []any) {
	f.said = how + fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestLacking: a host, and a machine that is there for something else, skip; the machine that is there for it fails.
func TestLacking(t *testing.T) {
	for mode, want := range map[string]string{
		"":           "skipped: needs systemd, and its cgroup driver (integration/vm/test.sh v1-systemd, v2-systemd): none",
		"v2":         "skipped: ",
		"v1-systemd": "failed: systemd, and its cgroup driver is what the virtual machine v1-systemd is for: none",
		"v2-systemd": "failed: ",
	} {
		t.Setenv(envMode, mode)
		f, done := &fake{}, make(chan bool)
		go func() {
			defer close(done)
			Systemd.Lacking(f, "none")
		}()
		if <-done; !strings.HasPrefix(f.said, want) {
			t.Errorf("%q: %s", mode, f.said)
		}
	}
}
