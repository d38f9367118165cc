package wire

// Request is ttrpc.Request.
type Request struct {
	Service, Method string
	Payload         []byte
	TimeoutNano     int64
	Metadata        []*KeyValue
}

func (m *Request) fields(c *coder) {
	c.text(1, &m.Service)
	c.text(2, &m.Method)
	c.data(3, &m.Payload)
	c.int64(4, &m.TimeoutNano)
	many(c, 5, &m.Metadata)
}

// KeyValue is ttrpc.KeyValue.
type KeyValue struct {
	Key, Value string
}

func (m *KeyValue) fields(c *coder) {
	c.text(1, &m.Key)
	c.text(2, &m.Value)
}

// Response is ttrpc.Response.
type Response struct {
	Status  *Status
	Payload []byte
}

func (m *Response) fields(c *coder) {
	one(c, 1, &m.Status)
	c.data(2, &m.Payload)
}

// Status is google.rpc.Status.
type Status struct {
	Code    int32
	Message string
	Details []*Any
}

func (m *Status) fields(c *coder) {
	c.int32(1, &m.Code)
	c.text(2, &m.Message)
	many(c, 3, &m.Details)
}
