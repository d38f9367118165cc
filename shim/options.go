package shim

import (
	"fmt"
	"path"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"example.io/shim/process"
)

const optionsType = "containerd.runc.v1.Options"

// isOptions says that a type URL names the runc options. Some clients put a host or path before the name.
func isOptions(url string) bool { return path.Base(url) == optionsType }

// parseOptions reads the runtime options of a task. What means nothing here is refused rather than ignored.
func parseOptions(a *anypb.Any) (process.Options, error) {
	if a == nil || a.GetTypeUrl() == "" && len(a.GetValue()) == 0 {
		return process.Options{}, nil
	}
	bad := func(format string, args ...any) (process.Options, error) {
		return process.Options{}, fmt.Errorf("runtime options: "+format+": %w", append(args, errdefs.ErrInvalidArgument)...)
	}
	if !isOptions(a.GetTypeUrl()) {
		return bad("type %q is not %s", a.GetTypeUrl(), optionsType)
	}
	o := &runcopts.Options{}
	if err := proto.Unmarshal(a.GetValue(), o); err != nil {
		return bad("not a message of type %s: %v", optionsType, err)
	}
	if o.GetBinaryName() != "" {
		return bad("binary_name %q: this runtime is its own, it executes no other", o.GetBinaryName())
	}
	return process.Options{
		NoPivotRoot: o.GetNoPivotRoot(), NoNewKeyring: o.GetNoNewKeyring(), SystemdCgroup: o.GetSystemdCgroup(), ShimCgroup: o.GetShimCgroup(),
		IOUID: o.GetIoUid(), IOGID: o.GetIoGid(), Root: o.GetRoot(), CriuImagePath: o.GetCriuImagePath(), CriuWorkPath: o.GetCriuWorkPath(),
	}, nil
}
