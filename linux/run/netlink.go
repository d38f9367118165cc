package run

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// netlink is a socket for the network devices and addresses of one network namespace (rtnetlink(7)). It keeps the namespace alive.
type netlink struct {
	fd  int
	seq uint32
}

// netlinkBuffer holds every answer: the kernel fills 32 KiB at most of a dump, and a link without virtual functions is some KiB.
const netlinkBuffer = 1 << 16

// newNetlink opens a socket in the namespace that ns is a descriptor of; -1 is the caller's.
func newNetlink(ns int) (*netlink, error) {
	n := &netlink{}
	err := onThread(func() (err error) {
		if ns >= 0 {
			if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the network namespace: %w", err)
			}
		}
		n.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	// The kernel's words for an error, without the request in front of them. One that is too old for them says the error alone.
	_ = unix.SetsockoptInt(n.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(n.fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	return n, nil
}

func (n *netlink) close() {
	if n != nil {
		_ = unix.Close(n.fd)
	}
}

// message is an answer without its header.
type message struct {
	body  []byte // struct ifinfomsg or ifaddrmsg
	attrs map[uint16][]byte
}

// do sends a request and returns the answers up to its end.
func (n *netlink) do(typ, flags uint16, body []byte) ([]message, error) {
	n.seq++
	if flags&unix.NLM_F_DUMP != unix.NLM_F_DUMP { // one of its two bits is also NLM_F_REPLACE
		flags |= unix.NLM_F_ACK
	}
	req := binary.NativeEndian.AppendUint32(nil, uint32(unix.NLMSG_HDRLEN+len(body)))
	req = binary.NativeEndian.AppendUint16(req, typ)
	req = binary.NativeEndian.AppendUint16(req, flags|unix.NLM_F_REQUEST)
	req = binary.NativeEndian.AppendUint32(req, n.seq)
	req = append(binary.NativeEndian.AppendUint32(req, 0), body...)
	if err := unix.Sendto(n.fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	buf := make([]byte, netlinkBuffer)
	var list []message
	for {
		size, _, flags, from, err := unix.Recvmsg(n.fd, buf, nil, 0)
		switch addr, ok := from.(*unix.SockaddrNetlink); {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, fmt.Errorf("receive: %w", err)
		case flags&unix.MSG_TRUNC != 0:
			return nil, fmt.Errorf("an answer of more than %d bytes: %w", netlinkBuffer, unix.EMSGSIZE)
		case !ok || addr.Pid != 0:
			continue // not of the kernel
		}
		msgs, err := syscall.ParseNetlinkMessage(bytes.Clone(buf[:size])) // what it returns lies in there
		if err != nil {
			return nil, fmt.Errorf("answer: %w", err)
		}
		for _, m := range msgs {
			switch {
			case m.Header.Seq != n.seq:
			case m.Header.Type == unix.NLMSG_ERROR:
				return list, ackError(m)
			case m.Header.Type == unix.NLMSG_DONE:
				return list, nil
			default:
				list = append(list, parseMessage(m))
			}
		}
	}
}

// ackError returns the error of an NLMSG_ERROR, which is nil for 0, with the kernel's words if it has some.
func ackError(m syscall.NetlinkMessage) error {
	const capped = 4 + unix.NLMSG_HDRLEN // the error, and the header of the request
	if len(m.Data) < 4 {
		return unix.EBADMSG
	}
	errno := -int32(binary.NativeEndian.Uint32(m.Data))
	if errno == 0 {
		return nil
	}
	if m.Header.Flags&unix.NLM_F_ACK_TLVS != 0 && len(m.Data) >= capped {
		if words := parseAttrs(m.Data[capped:])[unix.NLMSGERR_ATTR_MSG]; len(words) > 1 {
			return fmt.Errorf("%w: %s", unix.Errno(errno), words[:len(words)-1])
		}
	}
	return unix.Errno(errno)
}

func parseMessage(m syscall.NetlinkMessage) message {
	size := unix.SizeofIfInfomsg
	if m.Header.Type == unix.RTM_NEWADDR {
		size = unix.SizeofIfAddrmsg
	}
	if len(m.Data) < size {
		return message{body: make([]byte, size)}
	}
	return message{body: m.Data[:size], attrs: parseAttrs(m.Data[size:])}
}

// parseAttrs takes attributes apart (rtnetlink(7), "struct rtattr").
func parseAttrs(b []byte) map[uint16][]byte {
	attrs := map[uint16][]byte{}
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		attrs[binary.NativeEndian.Uint16(b[2:])] = b[unix.SizeofRtAttr:size]
		b = b[min(len(b), (size+3)&^3):]
	}
	return attrs
}

func appendAttr(b []byte, typ uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, typ), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// linkMsg is a struct ifinfomsg.
func linkMsg(index int32, flags, change uint32) []byte {
	b := binary.NativeEndian.AppendUint32(nil, 0) // family and type: any
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(b, flags), change)
}
