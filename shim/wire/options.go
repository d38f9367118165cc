package wire

// Options is containerd.runc.v1.Options.
type Options struct {
	NoPivotRoot, NoNewKeyring                   bool
	ShimCgroup                                  string
	IoUid, IoGid                                uint32
	BinaryName, Root                            string
	SystemdCgroup                               bool
	CriuImagePath, CriuWorkPath, TaskApiAddress string
	TaskApiVersion                              uint32
}

func (m *Options) fields(c *coder) {
	c.flag(1, &m.NoPivotRoot)
	c.flag(2, &m.NoNewKeyring)
	c.text(3, &m.ShimCgroup)
	c.uint32(4, &m.IoUid)
	c.uint32(5, &m.IoGid)
	c.text(6, &m.BinaryName)
	c.text(7, &m.Root)
	c.flag(9, &m.SystemdCgroup)
	c.text(10, &m.CriuImagePath)
	c.text(11, &m.CriuWorkPath)
	c.text(12, &m.TaskApiAddress)
	c.uint32(13, &m.TaskApiVersion)
}

// CheckpointOptions is containerd.runc.v1.CheckpointOptions.
type CheckpointOptions struct {
	Exit, OpenTcp, ExternalUnixSockets, Terminal, FileLocks bool
	EmptyNamespaces                                         []string
	CgroupsMode, ImagePath, WorkPath, ParentPath            string
}

func (m *CheckpointOptions) fields(c *coder) {
	m.common(c)
	c.text(8, &m.ImagePath)
	c.text(9, &m.WorkPath)
	c.text(10, &m.ParentPath)
}

// common are the fields that the old message has at the same numbers.
func (m *CheckpointOptions) common(c *coder) {
	c.flag(1, &m.Exit)
	c.flag(2, &m.OpenTcp)
	c.flag(3, &m.ExternalUnixSockets)
	c.flag(4, &m.Terminal)
	c.flag(5, &m.FileLocks)
	c.texts(6, &m.EmptyNamespaces)
	c.text(7, &m.CgroupsMode)
}

// ProcessDetails is containerd.runc.v1.ProcessDetails.
type ProcessDetails struct {
	ExecID string
}

func (m *ProcessDetails) fields(c *coder) {
	c.text(1, &m.ExecID)
}

// OldCreateOptions is containerd.linux.runc.CreateOptions of containerd 1.x.
type OldCreateOptions struct {
	NoPivotRoot, OpenTcp, ExternalUnixSockets, Terminal, FileLocks bool
	EmptyNamespaces                                                []string
	CgroupsMode                                                    string
	NoNewKeyring                                                   bool
	ShimCgroup                                                     string
	IoUid, IoGid                                                   uint32
	CriuWorkPath, CriuImagePath                                    string
}

func (m *OldCreateOptions) fields(c *coder) {
	c.flag(1, &m.NoPivotRoot)
	c.flag(2, &m.OpenTcp)
	c.flag(3, &m.ExternalUnixSockets)
	c.flag(4, &m.Terminal)
	c.flag(5, &m.FileLocks)
	c.texts(6, &m.EmptyNamespaces)
	c.text(7, &m.CgroupsMode)
	c.flag(8, &m.NoNewKeyring)
	c.text(9, &m.ShimCgroup)
	c.uint32(10, &m.IoUid)
	c.uint32(11, &m.IoGid)
	c.text(12, &m.CriuWorkPath)
	c.text(13, &m.CriuImagePath)
}

// OldCheckpointOptions is containerd.linux.runc.CheckpointOptions of containerd 1.x: image_path and work_path have each other's numbers, and there is no
// parent_path.
type OldCheckpointOptions CheckpointOptions

func (m *OldCheckpointOptions) fields(c *coder) {
	(*CheckpointOptions)(m).common(c)
	c.text(8, &m.WorkPath)
	c.text(9, &m.ImagePath)
}
