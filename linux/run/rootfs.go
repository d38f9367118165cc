package run

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mountMapped mounts an overlay whose lower layers are idmapped by the user namespace userns. The layers are mounted in a mount namespace that this
// thread alone is in, so that nothing of them can be left behind; the overlay, which holds them, is then brought to target. The thread ends with its work.
func mountMapped(userns int, source, target, fstype string, flags uintptr, data string) error {
	if fstype != "overlay" {
		return fmt.Errorf("uidmap and gidmap with a root file system of type %s: only overlay and bind can be mapped: %w", fstype, unix.EINVAL)
	}
	layers, rest, err := lowerDirs(data)
	if err != nil {
		return err
	}
	home, err := unix.Open("/proc/thread-self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open our mount namespace: %w", err)
	}
	defer func() { _ = unix.Close(home) }()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mount namespace: %w", err)
	}
	tree, err := mappedOverlay(userns, source, target, flags, layers, rest)
	if back := unix.Setns(home, unix.CLONE_NEWNS); back != nil {
		return errors.Join(err, fmt.Errorf("go back to our mount namespace: %w", back))
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(tree) }()
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount %s: %w", target, err)
	}
	return nil
}

// mappedOverlay makes the overlay in the thread's own mount namespace and returns a detached copy of its mount.
func mappedOverlay(userns int, source, target string, flags uintptr, layers []string, rest string) (int, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return -1, fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "mode=700"); err != nil {
		return -1, fmt.Errorf("mount a tmpfs for the layers: %w", err)
	}
	names := make([]string, len(layers))
	for i, layer := range layers {
		names[i] = strconv.Itoa(i)
		if err := mapLayer(userns, layer, filepath.Join(target, names[i])); err != nil {
			return -1, fmt.Errorf("map the ids of %s: %w", layer, err)
		}
	}
	if err := unix.Chdir(target); err != nil {
		return -1, fmt.Errorf("chdir %s: %w", target, err)
	}
	const merged = "merged"
	if err := unix.Mkdir(merged, 0o700); err != nil {
		return -1, fmt.Errorf("mkdir: %w", err)
	}
	data := "lowerdir=" + strings.Join(names, ":")
	if rest != "" {
		data += "," + rest
	}
	if err := unix.Mount(source, merged, "overlay", flags, data); err != nil {
		return -1, fmt.Errorf("mount the overlay: %w", err)
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, merged, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("open_tree: %w", err)
	}
	return tree, nil
}

func mapLayer(userns int, layer, at string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, layer, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer func() { _ = unix.Close(tree) }()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Propagation: unix.MS_PRIVATE, Userns_fd: uint64(userns)}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	if err := unix.Mkdir(at, 0o700); err != nil {
		return fmt.Errorf("mkdir: %w", err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount: %w", err)
	}
	return nil
}

// lowerDirs takes the layers out of overlay's options.
func lowerDirs(data string) (layers []string, rest string, err error) {
	var others []string
	for o := range strings.SplitSeq(data, ",") {
		list, ok := strings.CutPrefix(o, "lowerdir=")
		switch {
		case !ok:
			others = append(others, o)
		case strings.ContainsAny(list, `\`) || strings.Contains(list, "::"):
			return nil, "", fmt.Errorf("idmapped layers %q: neither backslashes nor data-only layers: %w", list, unix.EINVAL)
		default:
			layers = append(layers, strings.Split(list, ":")...)
		}
	}
	if len(layers) == 0 {
		return nil, "", fmt.Errorf("the overlay has no lowerdir: %w", unix.EINVAL)
	}
	return layers, strings.Join(others, ","), nil
}

// loopTries is how often another free device is taken when somebody else was faster: as many as programs may mount at once.
const loopTries = 64

// mountLoop mounts the file system in the file source. The loop device frees itself when the mount goes (LO_FLAGS_AUTOCLEAR, loop(4)).
func mountLoop(source, target, fstype string, flags uintptr, data string) error {
	mode := unix.O_RDWR
	if flags&unix.MS_RDONLY != 0 {
		mode = unix.O_RDONLY
	}
	file, err := unix.Open(source, mode|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", source, err)
	}
	defer func() { _ = unix.Close(file) }()
	dev, name, err := attachLoop(file, flags&unix.MS_RDONLY != 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(dev) }()
	if err := unix.Mount(name, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s: %w", name, err)
	}
	return nil
}

func attachLoop(file int, readonly bool) (dev int, name string, err error) {
	ctl, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, "", fmt.Errorf("open /dev/loop-control: %w", err)
	}
	defer func() { _ = unix.Close(ctl) }()
	config := unix.LoopConfig{Fd: uint32(file), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
	if readonly {
		config.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	for range loopTries {
		n, err := unix.IoctlRetInt(ctl, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return -1, "", fmt.Errorf("find a free loop device: %w", err)
		}
		name = "/dev/loop" + strconv.Itoa(n)
		if dev, err = unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
			return -1, "", fmt.Errorf("open %s: %w", name, err)
		}
		err = unix.IoctlLoopConfigure(dev, &config)
		if err == nil {
			return dev, name, nil
		}
		_ = unix.Close(dev)
		if !errors.Is(err, unix.EBUSY) {
			return -1, "", fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return -1, "", fmt.Errorf("no free loop device in %d tries: %w", loopTries, unix.EBUSY)
}
