package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/spec"
)

const (
	// parentLink is CRIU's name for the folder of the dump before, a link in the folder of the images.
	parentLink = "parent"
	// maxParents bounds a chain of dumps, which could be a ring.
	maxParents = 64
)

// openImages opens the images for a container with a user namespace of its own; nil: CRIU opens the folder itself. The processes read some images when their
// namespace has no maps yet, as the host's root without its capabilities, and others as the container's root. The folder is the host's root's alone, and
// no owner suits both. So they get another one, in CRIU's own mount namespace, that lets everybody through, with the files bound to it: nobody else sees
// it. The thread is CRIU's.
func (c *Container) openImages() (*os.File, error) {
	if p, ok := spec.Namespace(c.spec, specs.UserNamespace); !ok || p != "" {
		return nil, nil
	}
	dir := filepath.Join(c.state.workDir(), "images")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("a folder for the images: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0711"); err != nil {
		return nil, fmt.Errorf("a folder for the images: mount %s: %w", dir, err)
	}
	if err := bindImages(c.restore.opts.ImagePath, dir, maxParents); err != nil {
		return nil, err
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("a folder for the images: %w", err)
	}
	return f, nil
}

// bindImages binds the files of from, and of the dumps before it, to files in to.
func bindImages(from, to string, parents int) error {
	list, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("read the folder of the images: %w", err)
	}
	for _, e := range list {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.Name() == parentLink {
			if parents == 0 {
				return fmt.Errorf("%s: more than %d dumps stand on one another: %w", src, maxParents, errdefs.ErrInvalidArgument)
			}
			if err := errors.Join(os.Mkdir(dst, 0o711), os.Chmod(dst, 0o711)); err != nil { // whatever our umask is
				return fmt.Errorf("a folder for the images: %w", err)
			}
			if err := bindImages(src, dst, parents-1); err != nil {
				return err
			}
			continue
		}
		if !e.Type().IsRegular() || filepath.Ext(e.Name()) != ".img" {
			continue
		}
		st, err := e.Info()
		if err != nil {
			return fmt.Errorf("read the folder of the images: %w", err)
		}
		if st.Mode()&0o004 == 0 {
			return fmt.Errorf("%s, mode %o, is not for everybody to read, as CRIU makes it: the root of a user namespace cannot: %w", src, st.Mode().Perm(), errdefs.ErrInvalidArgument)
		}
		if err := os.WriteFile(dst, nil, 0o600); err != nil {
			return fmt.Errorf("a place for an image: %w", err)
		}
		if err := unix.Mount(src, dst, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("bind %s: %w", src, err)
		}
	}
	return nil
}
