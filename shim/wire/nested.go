package wire

import (
	"maps"
	"slices"
)

// begin opens what has its length in front of it; end puts the length there, when it is known.
func (c *coder) begin(num uint64) (at int) {
	c.out = appendTag(c.out, num, length)
	return len(c.out)
}

func (c *coder) end(at int) {
	var size [maxVarint]byte
	c.out = slices.Insert(c.out, at, appendVarint(size[:0], uint64(len(c.out)-at))...)
}

func (c *coder) writeMessage(num uint64, m Message) {
	at := c.begin(num)
	m.fields(c)
	c.end(at)
}

func (c *coder) readMessage(m Message) { _, c.err = decode(c.hand.bytes, m) }

// one is a message in a message.
func one[T any, P pointer[T]](c *coder, num uint64, p *P) {
	switch {
	case c.is(num, length):
		if *p == nil {
			*p = new(T)
		}
		c.readMessage(*p)
	case !c.reading && *p != nil:
		c.writeMessage(num, *p)
	}
}

// many is a list of messages.
func many[T any, P pointer[T]](c *coder, num uint64, p *[]P) {
	if c.is(num, length) {
		m := P(new(T))
		c.readMessage(m)
		*p = append(*p, m)
	}
	if !c.reading {
		for _, m := range *p {
			c.writeMessage(num, m)
		}
	}
}

// pair is an entry of a map.
type pair struct{ key, value string }

func (m *pair) fields(c *coder) {
	if c.reading {
		c.text(1, &m.key)
		c.text(2, &m.value)
		return
	}
	c.writeText(1, m.key) // also when it is empty, as others do it
	c.writeText(2, m.value)
}

// pairs is a map of texts, written in the order of its keys.
func (c *coder) pairs(num uint64, p *map[string]string) {
	if c.is(num, length) {
		var e pair
		c.readMessage(&e)
		if *p == nil {
			*p = map[string]string{}
		}
		(*p)[e.key] = e.value
	}
	if !c.reading {
		for _, k := range slices.Sorted(maps.Keys(*p)) {
			c.writeMessage(num, &pair{k, (*p)[k]})
		}
	}
}
