package criu

import (
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
)

// checkFeatures asks CRIU for what not every kernel has, before anything is made: CRIU itself would fail somewhere in the middle.
func (o *Options) checkFeatures() error {
	want := &rpc.CriuFeatures{}
	if o.PreDump || o.ParentPath != "" {
		want.MemTrack = ptr(true)
	}
	if o.LazyPages {
		want.LazyPages = ptr(true)
	}
	if want.MemTrack == nil && want.LazyPages == nil {
		return nil
	}
	w, err := start(nil)
	if err != nil {
		return err
	}
	resp, err := w.ask(&rpc.CriuReq{Type: ptr(rpc.CriuReqType_FEATURE_CHECK), Features: want}, func(_ *rpc.CriuNotify, f *os.File) error { return closed(f) })
	err = w.refusal(resp, err)
	_ = w.end() // its answer is what counts
	if err != nil {
		return w.explain(fmt.Errorf("ask criu for its features: %w", err), "", "")
	}
	has := resp.GetFeatures()
	for _, f := range []struct {
		want, has bool
		text      string
	}{
		{want.GetMemTrack(), has.GetMemTrack(), "a pre-dump and a parent path: criu and this kernel cannot tell what was written since (mem_dirty_track; CONFIG_MEM_SOFT_DIRTY)"},
		{want.GetLazyPages(), has.GetLazyPages(), "lazy pages: criu and this kernel cannot serve them (uffd-noncoop; CONFIG_USERFAULTFD)"},
	} {
		if f.want && !f.has {
			return fmt.Errorf("%s: %w", f.text, errdefs.ErrNotImplemented)
		}
	}
	return nil
}

// checkStatus says whether the status descriptor can be written.
func (o *Options) checkStatus() error {
	if o.StatusFD == nil {
		return nil
	}
	flags, err := unix.FcntlInt(o.StatusFD.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("status descriptor %d: %w: %w", o.StatusFD.Fd(), err, errdefs.ErrInvalidArgument)
	}
	if flags&unix.O_ACCMODE == unix.O_RDONLY {
		return fmt.Errorf("status descriptor %d: it cannot be written: %w", o.StatusFD.Fd(), errdefs.ErrInvalidArgument)
	}
	return nil
}

func closed(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}
