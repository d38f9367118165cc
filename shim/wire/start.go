package wire

// BootstrapParams is containerd.runtime.bootstrap.v1.BootstrapParams.
type BootstrapParams struct {
	InstanceID, Namespace                                                              string
	LogLevel                                                                           int32
	ContainerdVersion, ContainerdTtrpcAddress, ContainerdGrpcAddress, ContainerdBinary string
	Extensions                                                                         []*Extension
	SocketDir                                                                          *string
}

func (m *BootstrapParams) fields(c *coder) {
	c.text(1, &m.InstanceID)
	c.text(2, &m.Namespace)
	c.int32(3, &m.LogLevel)
	c.text(4, &m.ContainerdVersion)
	c.text(5, &m.ContainerdTtrpcAddress)
	c.text(6, &m.ContainerdGrpcAddress)
	c.text(7, &m.ContainerdBinary)
	many(c, 8, &m.Extensions)
	c.optionalText(9, &m.SocketDir)
}

// Extension is containerd.runtime.bootstrap.v1.Extension.
type Extension struct {
	Value *Any
}

func (m *Extension) fields(c *coder) {
	one(c, 1, &m.Value)
}

// BootstrapResult is containerd.runtime.bootstrap.v1.BootstrapResult, but for capabilities, of which there are none yet.
type BootstrapResult struct {
	Version           int32
	Address, Protocol string
	Metadata          map[string]string
	Extensions        []*Extension
}

func (m *BootstrapResult) fields(c *coder) {
	c.int32(1, &m.Version)
	c.text(2, &m.Address)
	c.text(3, &m.Protocol)
	c.pairs(5, &m.Metadata)
	many(c, 6, &m.Extensions)
}

// RuntimeInfo is containerd.types.RuntimeInfo.
type RuntimeInfo struct {
	Name              string
	Version           *RuntimeVersion
	Options, Features *Any
	Annotations       map[string]string
}

func (m *RuntimeInfo) fields(c *coder) {
	c.text(1, &m.Name)
	one(c, 2, &m.Version)
	one(c, 3, &m.Options)
	one(c, 4, &m.Features)
	c.pairs(5, &m.Annotations)
}

// RuntimeVersion is containerd.types.RuntimeVersion.
type RuntimeVersion struct {
	Version, Revision string
}

func (m *RuntimeVersion) fields(c *coder) {
	c.text(1, &m.Version)
	c.text(2, &m.Revision)
}
