package ttrpc

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"example.io/shim/shim/wire"
)

// A frame is a header of ten bytes, big-endian, and as many bytes as it says: length, stream, type, flags (PROTOCOL.md of containerd/ttrpc).
const (
	headerSize = 10
	// maxMessage bounds what comes behind a header, either way.
	maxMessage = 4 << 20
	// readBuffer takes a usual request with one read(2). Larger ones go by it.
	readBuffer = 512
	// answerRoom is what an answer takes beside its payload, so that it is allocated once.
	answerRoom = 16
)

type frameType uint8

const (
	typeRequest  frameType = 1
	typeResponse frameType = 2
	typeData     frameType = 3
)

// flagRemoteOpen is set on a request that is followed by data.
const flagRemoteOpen = 2

type header struct {
	length, stream uint32
	kind           frameType
	flags          uint8
}

func readHeader(r *bufio.Reader) (h header, err error) {
	b, err := r.Peek(headerSize)
	if err != nil {
		if len(b) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return h, err
	}
	h = header{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), frameType(b[8]), b[9]}
	_, err = r.Discard(headerSize)
	return h, err
}

// tooLong is of a message beyond maxMessage, sent or received.
func tooLong(n int) *Error {
	return &Error{ResourceExhausted, fmt.Sprintf("message length %d exceed maximum message size of %d", n, maxMessage)}
}

// readFrame reads a frame. tooLong comes with a good header: what follows it was thrown away, and reading can go on. Any other error is the end of the connection.
func readFrame(r *bufio.Reader) (h header, data []byte, err error) {
	if h, err = readHeader(r); err != nil {
		return h, nil, err
	}
	if h.length > maxMessage {
		if _, err := io.CopyN(io.Discard, r, int64(h.length)); err != nil {
			return h, nil, err
		}
		return h, nil, tooLong(int(h.length))
	}
	data = make([]byte, h.length)
	if _, err := io.ReadFull(r, data); err != nil {
		return h, nil, fmt.Errorf("read a message: %w", err)
	}
	return h, data, nil
}

// writeFrame writes m as one frame, by one write: frames of others do not come between. room is about as long as m is.
func writeFrame(w io.Writer, stream uint32, kind frameType, m wire.Message, room int) error {
	b, err := wire.Append(make([]byte, headerSize, headerSize+room), m)
	if err != nil {
		return err
	}
	n := len(b) - headerSize
	if n > maxMessage {
		return tooLong(n)
	}
	binary.BigEndian.PutUint32(b, uint32(n))
	binary.BigEndian.PutUint32(b[4:], stream)
	b[8] = byte(kind)
	_, err = w.Write(b)
	return err
}
