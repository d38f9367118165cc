package seccomp

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	containerd "github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
	"example.io/shim/linux/bpf"
)

// BenchmarkProfile takes containers of /bin/true through containerd, in turn without a profile and with containerd's default one. The ratios are medians of the
// pairs' ratios: `go test -run - -bench Profile -benchtime 200x ./seccomp`.
func BenchmarkProfile(b *testing.B) {
	d, err := daemon.Start(daemon.Versions()[0])
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	img, err := d.Client.GetImage(daemon.Context(), daemon.Image)
	if err != nil {
		b.Fatal(err)
	}
	var plain, filtered, ratios [2][]float64 // create and start; whole run
	for n := 0; b.Loop(); n++ {
		var pair [2][2]float64
		for i := range 2 {
			with := (n + i) % 2 // who is first changes
			began, whole := life(b, d, img, fmt.Sprintf("cost-%d-%d", n, with), with == 1)
			pair[with] = [2]float64{began, whole}
		}
		for k := range 2 {
			plain[k], filtered[k], ratios[k] = append(plain[k], pair[0][k]), append(filtered[k], pair[1][k]), append(ratios[k], pair[1][k]/pair[0][k])
		}
	}
	for k, name := range []string{"start", "run"} {
		b.ReportMetric(median(plain[k]), name+"-ms")
		b.ReportMetric(median(filtered[k]), "filtered-"+name+"-ms")
		b.ReportMetric(median(ratios[k]), name+"-ratio")
	}
}

// BenchmarkCompile makes the filters of the default profiles, for this kind of machine.
func BenchmarkCompile(b *testing.B) {
	native, ok := bpf.Native(runtime.GOARCH)
	if !ok {
		b.Fatal("no table for", runtime.GOARCH)
	}
	for name, p := range profiles(b, runtime.GOARCH) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bpf.Compile(p, native); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// life returns the milliseconds of create and start, and of the whole run.
func life(b *testing.B, d *daemon.Daemon, img client.Image, id string, filtered bool) (began, whole float64) {
	b.Helper()
	ctx, cancel := context.WithTimeout(daemon.Context(), time.Minute)
	defer cancel()
	ok := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	opts := []oci.SpecOpts{oci.WithImageConfig(img), oci.WithProcessArgs("true")}
	if filtered {
		opts = append(opts, containerd.WithDefaultProfile())
	}
	c, err := d.Client.NewContainer(ctx, id, client.WithImage(img), client.WithNewSnapshot(id, img), client.WithRuntime(daemon.Runtime, nil), client.WithNewSpec(opts...))
	ok(err)
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
	begin := time.Now()
	task, err := c.NewTask(ctx, cio.NullIO)
	ok(err)
	ch, err := task.Wait(ctx)
	ok(err)
	ok(task.Start(ctx))
	began = float64(time.Since(begin).Microseconds()) / 1000
	<-ch
	_, err = task.Delete(ctx)
	ok(err)
	return began, float64(time.Since(begin).Microseconds()) / 1000
}
