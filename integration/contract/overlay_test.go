package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"

	"example.io/shim/integration/daemon"
)

// TestLongOverlay has a root of so many layers that their options are longer than a page, which mount(2) would cut off, and options that are containerd's own.
func TestLongOverlay(t *testing.T) {
	const layers, page = 90, 4096
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sh", "-c", "ls /layers > /list")
		dir := t.TempDir()
		made := func(parts ...string) string {
			path := filepath.Join(append([]string{dir}, parts...)...)
			r.ok(os.MkdirAll(path, 0o755))
			return path
		}
		lower := []string{r.tree()}
		var want strings.Builder
		for i := range layers {
			name := fmt.Sprintf("%03d", i)
			layer := made("layer-with-a-long-name-"+name, "fs")
			r.ok(os.MkdirAll(filepath.Join(layer, "layers"), 0o755))
			r.ok(os.WriteFile(filepath.Join(layer, "layers", name), nil, 0o644))
			lower = append(lower, layer)
			want.WriteString(name + "\n")
		}
		upper := made("upper")
		options := []string{"lowerdir=" + strings.Join(lower, ":"), "upperdir=" + upper, "workdir=" + made("work"), "X-containerd.something=1"}
		if len(options[0]) <= page {
			t.Fatalf("the options have %d bytes only", len(options[0]))
		}
		r.create(func(q *taskapi.CreateTaskRequest) {
			q.Rootfs = []*types.Mount{{Type: "overlay", Source: "overlay", Options: options}}
		})
		r.begin("")
		if code := r.wait(""); code != 0 {
			t.Errorf("status %d", code)
		}
		r.remove("")
		if got, err := os.ReadFile(filepath.Join(upper, "list")); err != nil || string(got) != want.String() {
			t.Errorf("layers seen: %d bytes of %d, %v", len(got), want.Len(), err)
		}
		r.shutdown()
	})
}
