package wire

// Any is google.protobuf.Any.
type Any struct {
	TypeUrl string
	Value   []byte
}

func (m *Any) fields(c *coder) {
	c.text(1, &m.TypeUrl)
	c.data(2, &m.Value)
}

// Timestamp is google.protobuf.Timestamp.
type Timestamp struct {
	Seconds int64
	Nanos   int32
}

func (m *Timestamp) fields(c *coder) {
	c.int64(1, &m.Seconds)
	c.int32(2, &m.Nanos)
}

// Empty is google.protobuf.Empty.
type Empty struct {
}

func (m *Empty) fields(*coder) {
}
