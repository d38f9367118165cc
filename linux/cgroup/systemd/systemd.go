// Package systemd asks a systemd manager for units, over its private socket: without a bus daemon, and its signals come there unasked for. A
// connection is made for one piece of work and closed behind it: an idle runtime has none, and no goroutine of the library.
package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/linux/cgroup/dbus"
	"example.io/shim/linux/cgroup/gvariant"
	"example.io/shim/linux/cgroup/unit"
)

// systemSocket is the system manager's private socket, which root alone may use. The one of a user's manager is in the user's run-time directory.
const systemSocket = "/run/systemd/private"

const (
	object  = "/org/freedesktop/systemd1"
	name    = "org.freedesktop.systemd1"
	manager = name + ".Manager"
)

// jobLimit is how long systemd may take for one piece of work. It does it in milliseconds; while it loads its configuration anew, or with thousands of
// jobs in its queue, it takes seconds. It is below the time that a client waits for a create (a minute and more).
const jobLimit = 30 * time.Second

// Socket returns the path of the manager's socket. It is an error when that manager does not run.
func Socket(user bool) (string, error) {
	path, who := systemSocket, "this machine's"
	if user {
		dir := os.Getenv("XDG_RUNTIME_DIR")
		if dir == "" {
			dir = filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
		}
		path, who = filepath.Join(dir, "systemd/private"), "the user's"
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%s systemd does not run (%s: %w): %w", who, path, errors.Unwrap(err), errdefs.ErrFailedPrecondition)
	}
	return path, nil
}

// Conn is a connection to a manager. One goroutine uses it, and is the only one that it has: a call reads until its answer is there.
type Conn struct {
	f      *os.File
	ctx    context.Context
	cancel func() // ends the watch over ctx
	serial uint32
	unit   string   // whose jobs are of interest
	ended  []ending // of that unit, seen and not asked for
}

// ending is a signal JobRemoved.
type ending struct{ job, result string }

// Dial connects to the user's manager, or the system's. What is done with the connection takes jobLimit at most, and ends with ctx.
func Dial(ctx context.Context, user bool) (*Conn, error) {
	path, err := Socket(user)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Conn, error) { return nil, fmt.Errorf("connect to systemd at %s: %w", path, err) }
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fail(err)
	}
	// A local connect does not wait: when the other's queue is full it is EAGAIN (unix(7)).
	if err := retry(ctx, func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) }); err != nil {
		_ = unix.Close(fd)
		return fail(err)
	}
	c := &Conn{f: os.NewFile(uintptr(fd), path)}
	limited, cancel := context.WithTimeoutCause(ctx, jobLimit, fmt.Errorf("systemd has not answered for %v: %w", jobLimit, context.DeadlineExceeded))
	c.ctx = limited
	stop := context.AfterFunc(limited, func() { _ = c.f.SetDeadline(time.Unix(1, 0)) })
	c.cancel = func() { stop(); cancel() }
	if err := c.introduce(); err != nil {
		c.Close()
		return fail(err)
	}
	return c, nil
}

// A full queue of connections: tried again this often, so long apart.
const (
	connectTries = 1000
	connectPause = 5 * time.Millisecond
)

func retry(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if !errors.Is(err, unix.EAGAIN) || try == connectTries || ctx.Err() != nil {
			return err
		}
		time.Sleep(connectPause)
	}
}

// Close ends the connection.
func (c *Conn) Close() {
	_ = c.f.Close() // nothing is under way
	c.cancel()
}

// introduce says who we are (D-Bus Specification, "Authentication Protocol"): without a name, so that the peer takes us for whom the kernel says that we
// are. In a user namespace our own idea of our uid would be another. All is written at once, as systemd's own clients do: a message that came to systemd
// together with BEGIN would lie in its buffer until another one comes.
func (c *Conn) introduce() error {
	if err := c.write([]byte("\x00AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")); err != nil {
		return err
	}
	for {
		switch line, err := c.line(); {
		case err != nil:
			return err
		case strings.HasPrefix(line, "OK "):
			return nil
		case line != "DATA": // what more is there to say
			return fmt.Errorf("it does not let us in: %q: %w", line, errdefs.ErrPermissionDenied)
		}
	}
}

// maxLine bounds a line of that protocol; they have some forty bytes.
const maxLine = 512

// line reads one. The peer says nothing more before we answer, but a byte behind a line would be lost: it is read byte by byte.
func (c *Conn) line() (string, error) {
	var b [1]byte
	var text []byte
	for !bytes.HasSuffix(text, []byte("\r\n")) {
		if len(text) > maxLine {
			return "", fmt.Errorf("a line of more than %d bytes", maxLine)
		}
		if err := c.read(b[:]); err != nil {
			return "", err
		}
		text = append(text, b[0])
	}
	return string(text[:len(text)-2]), nil
}

// write does nothing after the end of the context, though the watch over that may not have run yet.
func (c *Conn) write(b []byte) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	_, err := c.f.Write(b)
	return c.why(err)
}

func (c *Conn) read(b []byte) error {
	_, err := io.ReadFull(c.f, b)
	return c.why(err)
}

// why says that an error came from the end of the context.
func (c *Conn) why(err error) error {
	if err != nil && c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	return err
}

// next reads a message.
func (c *Conn) next() (*dbus.Message, error) {
	b := make([]byte, dbus.HeaderSize)
	if err := c.read(b); err != nil {
		return nil, err
	}
	n, err := dbus.Rest(b)
	if err != nil {
		return nil, err
	}
	b = append(b, make([]byte, n)...)
	if err := c.read(b[dbus.HeaderSize:]); err != nil {
		return nil, err
	}
	m, err := dbus.Decode(b)
	if err == nil && m.Kind == dbus.Signal && m.Interface == manager && m.Member == "JobRemoved" {
		err = c.note(m)
	}
	return m, err
}

// note keeps the end of a job of our unit: id, job, unit, result.
func (c *Conn) note(m *dbus.Message) error {
	v, err := m.Values()
	if err != nil || len(v) != 4 {
		return fmt.Errorf("systemd's signal JobRemoved has the type %q: %w", m.Signature, err)
	}
	job, _ := v[1].(string)
	result, _ := v[3].(string)
	if v[2] == c.unit {
		c.ended = append(c.ended, ending{job, result})
	}
	return nil
}

// call calls a method and returns the values of the answer.
func (c *Conn) call(iface, method, sig string, args func(*dbus.Encoder)) ([]any, error) {
	c.serial++
	e := &dbus.Encoder{}
	args(e)
	m := &dbus.Message{Kind: dbus.Call, Serial: c.serial, Destination: name, Path: object, Interface: iface, Member: method, Signature: sig, Body: e.Bytes()}
	if err := c.write(m.Encode()); err != nil {
		return nil, fmt.Errorf("systemd's %s: %w", method, err)
	}
	for {
		m, err := c.next()
		if err != nil {
			return nil, fmt.Errorf("systemd's %s: %w", method, err)
		}
		if m.ReplyTo != c.serial {
			continue
		}
		v, err := m.Values()
		if m.Kind == dbus.Error {
			return nil, failure(m.ErrorName, v)
		}
		return v, err
	}
}

// known reads the values. Those that this systemd is too old for are left out.
func (c *Conn) known(list []unit.Property) ([]property, error) {
	version := 0
	var props []property
	for _, p := range list {
		if p.Since > 0 && version == 0 {
			text, err := c.get("Version")
			if err != nil {
				return nil, err
			}
			version = major(text)
		}
		if p.Since > version && p.Since > 0 {
			continue
		}
		v, err := gvariant.Parse(p.Value)
		if err != nil {
			return nil, fmt.Errorf("property %s: %w", p.Name, err)
		}
		props = append(props, property{p.Name, v.Sig, v.Append})
	}
	return props, nil
}

// property is (sv).
type property struct {
	name, sig string
	value     func(*dbus.Encoder)
}

func appendProperties(e *dbus.Encoder, props []property) {
	e.Array("(sv)", func() {
		for _, p := range props {
			e.Struct()
			e.String(p.name)
			e.Signature(p.sig)
			p.value(e)
		}
	})
}

// major is the number that a version begins with: "252.39-1~deb12u1", "v257".
func major(version string) int {
	version = strings.TrimPrefix(version, "v")
	end := strings.IndexFunc(version+".", func(r rune) bool { return r < '0' || r > '9' })
	n, _ := strconv.Atoi(version[:end])
	return n
}

// Start makes the transient unit with the processes pids in it, and returns when it is active. One of that name that failed is forgotten first.
func (c *Conn) Start(unitName string, list []unit.Property, pids ...uint32) error {
	err := c.start(unitName, list, pids)
	if !errors.Is(err, errdefs.ErrAlreadyExists) {
		return err
	}
	if err := unlessGone(c.resetFailed(unitName)); err != nil { // one that is active does not mind
		return err
	}
	return c.start(unitName, list, pids)
}

// resetFailed forgets that a unit failed: it is gone then.
func (c *Conn) resetFailed(unitName string) error {
	_, err := c.call(manager, "ResetFailedUnit", "s", func(e *dbus.Encoder) { e.String(unitName) })
	return err
}

func (c *Conn) start(unitName string, list []unit.Property, pids []uint32) error {
	props, err := c.known(list)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		props = append(props, property{"PIDs", "au", func(e *dbus.Encoder) {
			e.Array("u", func() {
				for _, pid := range pids {
					e.Uint32(pid)
				}
			})
		}})
	}
	return c.job(unitName, "StartTransientUnit", "ssa(sv)a(sa(sv))", func(e *dbus.Encoder) {
		e.String(unitName)
		e.String("fail")
		appendProperties(e, props)
		e.Array("(sa(sv))", func() {}) // no units beside it
	})
}

// Stop stops the unit, forgets that it failed, and returns when it is gone. One that is not there is no error.
func (c *Conn) Stop(unitName string) error {
	err := c.job(unitName, "StopUnit", "ss", func(e *dbus.Encoder) {
		e.String(unitName)
		e.String("replace")
	})
	return errors.Join(unlessGone(err), unlessGone(c.resetFailed(unitName)))
}

// unlessGone makes nothing of the errors that say that there is no such unit.
func unlessGone(err error) error {
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}

// Set changes properties of a running unit, until it ends. When it returns, systemd has written what follows from them.
func (c *Conn) Set(unitName string, list []unit.Property) error {
	props, err := c.known(list)
	if err != nil || len(props) == 0 {
		return err
	}
	_, err = c.call(manager, "SetUnitProperties", "sba(sv)", func(e *dbus.Encoder) {
		e.String(unitName)
		e.Bool(true)
		appendProperties(e, props)
	})
	if err != nil {
		return err
	}
	_, err = c.get("Version") // it answers the next call only when it has written what the last one asked for
	return err
}

// ControlGroup returns the manager's own cgroup: its slices are below it. The system's is "/".
func (c *Conn) ControlGroup() (string, error) {
	text, err := c.get("ControlGroup")
	if text == "" {
		text = "/"
	}
	return text, err
}

func (c *Conn) get(prop string) (string, error) {
	v, err := c.call("org.freedesktop.DBus.Properties", "Get", "ss", func(e *dbus.Encoder) {
		e.String(manager)
		e.String(prop)
	})
	if err != nil {
		return "", err
	}
	if len(v) == 1 {
		if text, ok := v[0].(string); ok {
			return text, nil
		}
	}
	return "", fmt.Errorf("systemd's property %s is %v, and no string", prop, v)
}

// job makes the call, whose answer is a job, and waits for the job's end.
func (c *Conn) job(unitName, method, sig string, args func(*dbus.Encoder)) error {
	c.unit, c.ended = unitName, nil
	v, err := c.call(manager, method, sig, args)
	if err != nil {
		return err
	}
	job := ""
	if len(v) == 1 {
		job, _ = v[0].(string)
	}
	for {
		for _, e := range c.ended {
			switch {
			case e.job != job:
			case e.result == "done":
				return nil
			default:
				return fmt.Errorf("systemd's job for %s ended: %s", unitName, e.result)
			}
		}
		c.ended = nil
		if _, err := c.next(); err != nil {
			return fmt.Errorf("systemd's job for %s: %w", unitName, err)
		}
	}
}

// kind is what an error of the interface means, nil for any other.
func kind(name string) error {
	switch name {
	case "org.freedesktop.systemd1.NoSuchUnit":
		return errdefs.ErrNotFound
	case "org.freedesktop.systemd1.UnitExists":
		return errdefs.ErrAlreadyExists
	case "org.freedesktop.DBus.Error.InvalidArgs", "org.freedesktop.DBus.Error.PropertyReadOnly", "org.freedesktop.DBus.Error.UnknownProperty":
		return errdefs.ErrInvalidArgument
	case "org.freedesktop.DBus.Error.AccessDenied":
		return errdefs.ErrPermissionDenied
	}
	return nil
}

// failure is an error that systemd has answered: its text is the first value.
func failure(name string, values []any) error {
	text := name
	if len(values) > 0 {
		text = fmt.Sprintf("%v (%s)", values[0], name)
	}
	if k := kind(name); k != nil {
		return fmt.Errorf("systemd: %s: %w", text, k)
	}
	return fmt.Errorf("systemd: %s", text)
}
