package shim

import (
	"fmt"
	"path"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"example.io/shim/process"
)

const optionsType = "containerd.runc.v1.Options"

// oldOptionsType is what clients of containerd 1.x send to a runtime whose name they do not know (ctr --uidmap).
const oldOptionsType = "containerd.linux.runc.CreateOptions"

// Field numbers of containerd.linux.runc.CreateOptions. Those from oldRestoreFirst to oldRestoreLast are for restoring a checkpoint.
const (
	oldNoPivotRoot   = 1
	oldRestoreFirst  = 2
	oldRestoreLast   = 7
	oldNoNewKeyring  = 8
	oldShimCgroup    = 9
	oldIOUID         = 10
	oldIOGID         = 11
	oldCriuWorkPath  = 12
	oldCriuImagePath = 13
)

// parseOldOptions decodes a CreateOptions by its field numbers: the message is no longer in containerd's API.
func parseOldOptions(b []byte) (process.Options, error) {
	var o process.Options
	flags := map[protowire.Number]*bool{oldNoPivotRoot: &o.NoPivotRoot, oldNoNewKeyring: &o.NoNewKeyring}
	ids := map[protowire.Number]*uint32{oldIOUID: &o.IOUID, oldIOGID: &o.IOGID}
	texts := map[protowire.Number]*string{oldShimCgroup: &o.ShimCgroup, oldCriuWorkPath: &o.CriuWorkPath, oldCriuImagePath: &o.CriuImagePath}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return o, protowire.ParseError(n)
		}
		b = b[n:]
		var number uint64
		var text []byte
		switch {
		case typ == protowire.VarintType && flags[num] != nil:
			number, n = protowire.ConsumeVarint(b)
			*flags[num] = number != 0
		case typ == protowire.VarintType && ids[num] != nil:
			number, n = protowire.ConsumeVarint(b)
			*ids[num] = uint32(number)
		case typ == protowire.BytesType && texts[num] != nil:
			text, n = protowire.ConsumeBytes(b)
			*texts[num] = string(text)
		case num >= oldRestoreFirst && num <= oldRestoreLast:
			n = protowire.ConsumeFieldValue(num, typ, b)
		default:
			return o, fmt.Errorf("field %d of wire type %d is not known", num, typ)
		}
		if n < 0 {
			return o, protowire.ParseError(n)
		}
		b = b[n:]
	}
	return o, nil
}

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
	if path.Base(a.GetTypeUrl()) == oldOptionsType {
		opts, err := parseOldOptions(a.GetValue())
		if err != nil {
			return bad("not a message of type %s: %v", oldOptionsType, err)
		}
		return opts, nil
	}
	if !isOptions(a.GetTypeUrl()) {
		return bad("type %q is not %s", a.GetTypeUrl(), optionsType)
	}
	o := &runcopts.Options{}
	if err := proto.Unmarshal(a.GetValue(), o); err != nil {
		return bad("not a message of type %s: %v", optionsType, err)
	}
	if unknown := o.ProtoReflect().GetUnknown(); len(unknown) > 0 {
		num, _, _ := protowire.ConsumeTag(unknown)
		return bad("field %d of %s is not known", num, optionsType)
	}
	if o.GetBinaryName() != "" {
		return bad("binary_name %q: this runtime is its own, it executes no other", o.GetBinaryName())
	}
	return process.Options{
		NoPivotRoot: o.GetNoPivotRoot(), NoNewKeyring: o.GetNoNewKeyring(), SystemdCgroup: o.GetSystemdCgroup(), ShimCgroup: o.GetShimCgroup(),
		IOUID: o.GetIoUid(), IOGID: o.GetIoGid(), Root: o.GetRoot(), CriuImagePath: o.GetCriuImagePath(), CriuWorkPath: o.GetCriuWorkPath(),
	}, nil
}
