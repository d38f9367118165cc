package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// link is a network device.
type link struct {
	index int32
	flags uint32
	name  string
}

func linkOf(m message) link {
	return link{index: int32(binary.NativeEndian.Uint32(m.body[4:])), flags: binary.NativeEndian.Uint32(m.body[8:]),
		name: strings.TrimRight(string(m.attrs[unix.IFLA_IFNAME]), "\x00")}
}

func (n *netlink) links() ([]link, error) {
	msgs, err := n.do(unix.RTM_GETLINK, unix.NLM_F_DUMP, linkMsg(0, 0, 0))
	if err != nil {
		return nil, fmt.Errorf("list the network devices: %w", err)
	}
	list := make([]link, len(msgs))
	for i, m := range msgs {
		list[i] = linkOf(m)
	}
	return list, nil
}

// addresses returns the requests that give another device the permanent addresses of global scope that this one has: such are the ones that somebody has
// configured, and that are good outside the machine (config-linux.md, "Network Devices").
func (n *netlink) addresses(index int32) ([]message, error) {
	msgs, err := n.do(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg))
	if err != nil {
		return nil, fmt.Errorf("list the addresses: %w", err)
	}
	return slices.DeleteFunc(msgs, func(m message) bool {
		flags := uint32(m.body[2])
		if all := m.attrs[unix.IFA_FLAGS]; len(all) == 4 {
			flags = binary.NativeEndian.Uint32(all)
		}
		return int32(binary.NativeEndian.Uint32(m.body[4:])) != index || flags&unix.IFA_F_PERMANENT == 0 || m.body[3] != unix.RT_SCOPE_UNIVERSE
	}), nil
}

// addAddress gives a device an address. Its label would be the old name, its times are those of permanent ones.
func (n *netlink) addAddress(index int32, m message) error {
	body := slices.Clone(m.body)
	binary.NativeEndian.PutUint32(body[4:], uint32(index))
	for _, typ := range []uint16{unix.IFA_LOCAL, unix.IFA_ADDRESS, unix.IFA_BROADCAST, unix.IFA_FLAGS, unix.IFA_RT_PRIORITY} {
		if v, ok := m.attrs[typ]; ok {
			body = appendAttr(body, typ, v)
		}
	}
	if _, err := n.do(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, body); err != nil {
		return fmt.Errorf("restore an address: %w", err)
	}
	return nil
}

// moved is a network device that was moved, and how to take it back.
type moved struct {
	from, to *netlink
	home     int   // descriptor of the namespace that it came from
	index    int32 // where it is now
	name     string
	up       bool // it was
}

func (m *moved) close() {
	m.from.close()
	m.to.close()
	if m.home >= 0 {
		_ = unix.Close(m.home)
	}
}

// moveDevice moves the device name of this thread's network namespace to that of pid, where it gets the name newName, its addresses, and is up.
func moveDevice(pid int, name, newName string) (*moved, error) {
	target, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's network namespace: %w", err)
	}
	defer func() { _ = unix.Close(target) }()
	m := &moved{name: name, home: -1}
	if m.home, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		if m.from, err = newNetlink(m.home); err == nil {
			m.to, err = newNetlink(target)
		}
	}
	if err != nil {
		m.close()
		return nil, err
	}
	old, err := m.from.find(func(l link) bool { return l.name == name })
	if err != nil {
		m.close()
		return nil, fmt.Errorf("network device %s: %w", name, err)
	}
	m.up = old.flags&unix.IFF_UP != 0
	if m.index, err = change(m.from, m.to, target, old, newName, true); err == nil {
		return m, nil
	}
	if m.index != 0 { // it is there, but not as it should be
		err = errors.Join(err, m.restore())
	}
	m.close()
	return nil, err
}

// restore moves the device back to where it was.
func (m *moved) restore() error {
	now, err := m.to.find(func(l link) bool { return l.index == m.index })
	if err == nil {
		_, err = change(m.to, m.from, m.home, now, m.name, m.up)
	}
	if err != nil {
		return fmt.Errorf("move the network device %s back: %w", m.name, err)
	}
	return nil
}

func (n *netlink) find(is func(link) bool) (link, error) {
	list, err := n.links()
	if err != nil {
		return link{}, err
	}
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], nil
	}
	return link{}, unix.ENODEV
}

// change moves a device to the namespace of to, which target is a descriptor of. It returns the device's number there, 0 when it was not moved.
func change(from, to *netlink, target int, dev link, newName string, up bool) (int32, error) {
	addresses, err := from.addresses(dev.index)
	if err != nil {
		return 0, err
	}
	there, err := to.links()
	if err != nil {
		return 0, err
	}
	index, last := dev.index, int32(0)
	for _, l := range there {
		// Moving and renaming are one call but not one deed: a device that cannot have its name would be there with another one.
		if l.name == newName {
			return 0, fmt.Errorf("there is a network device %s already: %w", newName, unix.EEXIST)
		}
		last = max(last, l.index)
	}
	if slices.ContainsFunc(there, func(l link) bool { return l.index == index }) {
		index = last + 1
	}
	req := linkMsg(dev.index, 0, 0)
	req = appendAttr(req, unix.IFLA_IFNAME, append([]byte(newName), 0))
	req = appendAttr(req, unix.IFLA_NET_NS_FD, binary.NativeEndian.AppendUint32(nil, uint32(target)))
	req = appendAttr(req, unix.IFLA_NEW_IFINDEX, binary.NativeEndian.AppendUint32(nil, uint32(index)))
	if _, err := from.do(unix.RTM_NEWLINK, 0, req); err != nil {
		return 0, fmt.Errorf("move the network device %s: %w", dev.name, err)
	}
	for _, a := range addresses {
		if err := to.addAddress(index, a); err != nil {
			return index, err
		}
	}
	if up {
		if _, err := to.do(unix.RTM_NEWLINK, 0, linkMsg(index, unix.IFF_UP, unix.IFF_UP)); err != nil {
			return index, fmt.Errorf("set the network device %s up: %w", newName, err)
		}
	}
	return index, nil
}

// moveDevice keeps what was moved until the container is created.
func (e *engine) moveDevice(pid int, name, newName string) error {
	m, err := moveDevice(pid, name, newName)
	if err == nil {
		e.moved = append(e.moved, m)
	}
	return err
}

// restoreDevices gives the host its devices back: with the network namespace they would go too.
func (e *engine) restoreDevices() error {
	var errs []error
	for _, m := range slices.Backward(e.moved) {
		errs = append(errs, m.restore())
	}
	e.keepDevices()
	return errors.Join(errs...)
}

// keepDevices leaves the devices where they are.
func (e *engine) keepDevices() {
	for _, m := range e.moved {
		m.close()
	}
	e.moved = nil
}
