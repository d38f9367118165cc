package criu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
)

// DumpLog and RestoreLog are the names of CRIU's logs in the work folder.
const (
	DumpLog    = "dump.log"
	RestoreLog = "restore.log"
)

// dirMode is of the folders for images and logs: memory of processes is for root alone.
const dirMode = 0o700

// Dump says what is dumped.
type Dump struct {
	Options
	Pid          int      // the first process of the tree
	Root         string   // its root, on the host
	External     []string // what is not CRIU's to dump (criu(8), --external)
	FreezeCgroup string   // CRIU stops the processes by it
}

// Run dumps. Nothing interrupts it: processes whose memory a killed CRIU has touched would not go on. After an error they run as before.
func (d *Dump) Run() (err error) {
	if err := d.Check(); err != nil {
		return err
	}
	if err := d.checkFeatures(); err != nil {
		return err
	}
	return d.with(DumpLog, func(m *rpc.CriuOpts, work string) error {
		m.Pid, m.Root, m.External = ptr(int32(d.Pid)), &d.Root, d.External
		if d.FreezeCgroup != "" {
			m.FreezeCgroup = &d.FreezeCgroup
		}
		typ := rpc.CriuReqType_DUMP
		if d.PreDump {
			typ = rpc.CriuReqType_PRE_DUMP
		}
		// CRIU refuses to track what the processes write when it is not going to be asked again.
		if d.PreDump || d.ParentPath != "" {
			m.TrackMem = ptr(true)
		}
		if d.ParentPath != "" {
			m.ParentImg = &d.ParentPath
		}
		w, err := start(nil)
		if err != nil {
			return err
		}
		resp, err := w.ask(&rpc.CriuReq{Type: &typ, Opts: m}, func(n *rpc.CriuNotify, f *os.File) error {
			if n.GetScript() == "status-ready" && d.StatusFD != nil {
				return d.ready()
			}
			return closed(f)
		})
		err = w.refusal(resp, err)
		ended := w.end()
		// After a pre-dump CRIU waits for the next request, and takes it for a failure that there is none.
		if err == nil && ended != nil && !d.PreDump {
			err = fmt.Errorf("criu: %w", ended)
		}
		return w.explain(err, work, DumpLog)
	})
}

// ready tells who waits for it that the page server can be asked.
func (d *Dump) ready() error {
	if _, err := d.StatusFD.Write([]byte{0}); err != nil {
		return fmt.Errorf("status descriptor: %w", err)
	}
	return d.StatusFD.Close()
}

// with opens the folders of o for f.
func (o *Options) with(log string, f func(m *rpc.CriuOpts, work string) error) (err error) {
	dir := o.WorkPath
	if dir == "" {
		dir = o.ImagePath
	}
	images := o.Images
	if images == nil {
		if images, err = openDir(o.ImagePath, log == DumpLog); err != nil {
			return fmt.Errorf("image path: %w", err)
		}
		defer func() { err = errors.Join(err, images.Close()) }()
	}
	work, err := openDir(dir, true)
	if err != nil {
		return fmt.Errorf("work path: %w", err)
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	m, err := o.message(images, work, log)
	if err != nil {
		return err
	}
	// What an earlier run says is not to be taken for this one's reason.
	if err := os.Remove(filepath.Join(dir, log)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("work path: %w", err)
	}
	return f(m, dir)
}

func openDir(path string, create bool) (*os.File, error) {
	if create {
		if err := os.MkdirAll(path, dirMode); err != nil {
			return nil, err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.IsDir() {
		_ = f.Close()
		return nil, fmt.Errorf("%s is no folder", path)
	}
	return f, nil
}
