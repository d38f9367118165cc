package shim

import (
	"fmt"
	"path"

	"github.com/containerd/errdefs"

	"example.io/shim/process"
	"example.io/shim/shim/wire"
)

// isOptions says that a type URL names the runc options. Some clients put a host or path before the name.
func isOptions(url string) bool { return path.Base(url) == wire.OptionsName }

// parseOptions reads the runtime options of a task. What means nothing here is refused rather than ignored.
func parseOptions(a *wire.Any) (process.Options, error) {
	if a == nil || a.TypeUrl == "" && len(a.Value) == 0 {
		return process.Options{}, nil
	}
	var o process.Options
	var err error
	switch name := path.Base(a.TypeUrl); name {
	case wire.OptionsName:
		o, err = newOptions(a.Value)
	case wire.OldCreateOptionsName:
		o, err = oldOptions(a.Value)
	default:
		err = fmt.Errorf("type %q is not %s", a.TypeUrl, wire.OptionsName)
	}
	if err != nil {
		return process.Options{}, fmt.Errorf("runtime options: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return o, nil
}

func newOptions(data []byte) (process.Options, error) {
	var o wire.Options
	if err := wire.UnmarshalKnown(data, &o); err != nil {
		return process.Options{}, fmt.Errorf("not a message of type %s: %w", wire.OptionsName, err)
	}
	if o.BinaryName != "" {
		return process.Options{}, fmt.Errorf("binary_name %q: this runtime is its own, it executes no other", o.BinaryName)
	}
	return process.Options{
		NoPivotRoot: o.NoPivotRoot, NoNewKeyring: o.NoNewKeyring, SystemdCgroup: o.SystemdCgroup, ShimCgroup: o.ShimCgroup,
		IOUID: o.IoUid, IOGID: o.IoGid, Root: o.Root, CriuImagePath: o.CriuImagePath, CriuWorkPath: o.CriuWorkPath,
	}, nil
}

// oldOptions reads what clients of containerd 1.x send to a runtime whose name they do not know (ctr --uidmap).
func oldOptions(data []byte) (process.Options, error) {
	var o wire.OldCreateOptions
	if err := wire.UnmarshalKnown(data, &o); err != nil {
		return process.Options{}, fmt.Errorf("not a message of type %s: %w", wire.OldCreateOptionsName, err)
	}
	// Fields 2 to 7 say how to restore a checkpoint. containerd's own shims do nothing with them (those of version 2 take no such message at all): a client that sets one
	// would get a container that is not as it wants it.
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"open_tcp", o.OpenTcp}, {"external_unix_sockets", o.ExternalUnixSockets}, {"terminal", o.Terminal}, {"file_locks", o.FileLocks},
		{"empty_namespaces", len(o.EmptyNamespaces) > 0}, {"cgroups_mode", o.CgroupsMode != ""},
	} {
		if f.set {
			return process.Options{}, fmt.Errorf("%s: a restore takes it from its checkpoint, not from %s", f.name, wire.OldCreateOptionsName)
		}
	}
	return process.Options{
		NoPivotRoot: o.NoPivotRoot, NoNewKeyring: o.NoNewKeyring, ShimCgroup: o.ShimCgroup,
		IOUID: o.IoUid, IOGID: o.IoGid, CriuImagePath: o.CriuImagePath, CriuWorkPath: o.CriuWorkPath,
	}, nil
}
