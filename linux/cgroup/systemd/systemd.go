// Package systemd asks a systemd manager for units, over its private socket: without a bus daemon, and its signals come there unasked for. A
// connection is made for one piece of work and closed behind it: an idle runtime has none, and no goroutine of the library.
package systemd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/godbus/dbus/v5"

	"example.io/shim/linux/cgroup/gvariant"
	"example.io/shim/linux/cgroup/unit"
)

// systemSocket is the system manager's private socket, which root alone may use. The one of a user's manager is in the user's run-time directory.
const systemSocket = "/run/systemd/private"

const (
	object  = dbus.ObjectPath("/org/freedesktop/systemd1")
	name    = "org.freedesktop.systemd1"
	manager = name + ".Manager"
)

// jobLimit is how long systemd may take for one piece of work. It does it in milliseconds; while it loads its configuration anew, or with thousands of
// jobs in its queue, it takes seconds. It is below the time that a client waits for a create (a minute and more).
const jobLimit = 30 * time.Second

// maxJobs is room for the signals about jobs of our unit that come before we look: start and stop, and a stop that replaces a start.
const maxJobs = 8

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

// Conn is a connection to a manager.
type Conn struct {
	c      *dbus.Conn
	ctx    context.Context
	cancel context.CancelFunc
	jobs   jobs
}

// Dial connects to the user's manager, or the system's. What is done with the connection takes jobLimit at most, and ends with ctx.
func Dial(ctx context.Context, user bool) (*Conn, error) {
	path, err := Socket(user)
	if err != nil {
		return nil, err
	}
	c := &Conn{jobs: jobs{removed: make(chan []any, maxJobs)}}
	c.ctx, c.cancel = context.WithTimeout(ctx, jobLimit)
	fail := func(err error) (*Conn, error) {
		if c.c != nil {
			_ = c.c.Close()
		}
		c.cancel()
		return nil, fmt.Errorf("connect to systemd at %s: %w", path, err)
	}
	if c.c, err = dbus.Dial("unix:path="+dbus.EscapeBusAddressValue(path), dbus.WithContext(c.ctx), dbus.WithSignalHandler(&c.jobs)); err != nil {
		return fail(err)
	}
	// Without a name: the peer takes us for whom the kernel says that we are. In a user namespace our own idea of our uid would be another.
	if err := c.c.Auth([]dbus.Auth{dbus.AuthExternal("")}); err != nil {
		return fail(err)
	}
	return c, nil
}

// Close ends the connection.
func (c *Conn) Close() {
	_ = c.c.Close() // nothing is under way
	c.cancel()
}

// property is a(sv).
type property struct {
	Name  string
	Value dbus.Variant
}

// properties reads the values. Those that this systemd is too old for are left out.
func (c *Conn) properties(list []unit.Property) ([]property, error) {
	version := 0
	props := make([]property, 0, len(list)+1)
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
		props = append(props, property{p.Name, v})
	}
	return props, nil
}

// major is the number that a version begins with: "252.39-1~deb12u1", "v257".
func major(version string) int {
	version = strings.TrimPrefix(version, "v")
	end := strings.IndexFunc(version+".", func(r rune) bool { return r < '0' || r > '9' })
	n, _ := strconv.Atoi(version[:end])
	return n
}

// Start makes the transient unit with the processes pids in it, and returns when it is active.
func (c *Conn) Start(unitName string, list []unit.Property, pids ...uint32) error {
	props, err := c.properties(list)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		props = append(props, property{"PIDs", dbus.MakeVariant(pids)})
	}
	type aux struct {
		Name       string
		Properties []property
	}
	return c.job(unitName, "StartTransientUnit", unitName, "fail", props, []aux{})
}

// Stop stops the unit, forgets that it failed, and returns when it is gone. One that is not there is no error.
func (c *Conn) Stop(unitName string) error {
	err := c.job(unitName, "StopUnit", unitName, "replace")
	// A unit that failed stays loaded when an annotation says so (CollectMode).
	return errors.Join(notThere(err), notThere(named(c.call("ResetFailedUnit", unitName).Err)))
}

// notThere makes nothing of the errors that say that there is no such unit.
func notThere(err error) error {
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil
	}
	return err
}

// Set changes properties of a running unit, until it ends.
func (c *Conn) Set(unitName string, list []unit.Property) error {
	props, err := c.properties(list)
	if err != nil || len(props) == 0 {
		return err
	}
	return named(c.call("SetUnitProperties", unitName, true, props).Err)
}

// ControlGroup returns the manager's own cgroup: its slices are below it. The system's is "/".
func (c *Conn) ControlGroup() (string, error) {
	text, err := c.get("ControlGroup")
	if text == "" {
		text = "/"
	}
	return text, err
}

func (c *Conn) get(prop string) (text string, err error) {
	var v dbus.Variant
	err = c.c.Object(name, object).CallWithContext(c.ctx, "org.freedesktop.DBus.Properties.Get", 0, manager, prop).Store(&v)
	if err == nil {
		err = v.Store(&text)
	}
	if err != nil {
		return "", fmt.Errorf("systemd's property %s: %w", prop, named(err))
	}
	return text, nil
}

func (c *Conn) call(method string, args ...any) *dbus.Call {
	return c.c.Object(name, object).CallWithContext(c.ctx, manager+"."+method, 0, args...)
}

// job makes the call, whose answer is a job, and waits for the job's end.
func (c *Conn) job(unitName, method string, args ...any) error {
	c.jobs.unit.Store(&unitName)
	var path dbus.ObjectPath
	if err := c.call(method, args...).Store(&path); err != nil {
		return named(err)
	}
	for {
		select {
		case body := <-c.jobs.removed: // id, job, unit, result
			if job, _ := body[1].(dbus.ObjectPath); job != path {
				continue
			}
			if result, _ := body[3].(string); result != "done" {
				return fmt.Errorf("systemd's job for %s ended: %s", unitName, result)
			}
			return nil
		case <-c.c.Context().Done():
			return fmt.Errorf("systemd's job for %s: %w", unitName, context.Cause(c.ctx))
		}
	}
}

// jobs is the library's SignalHandler: it hands on the ends of the jobs of one unit. It is called by the goroutine that reads the connection.
type jobs struct {
	unit    atomic.Pointer[string]
	removed chan []any
}

// DeliverSignal implements dbus.SignalHandler.
func (j *jobs) DeliverSignal(iface, member string, s *dbus.Signal) {
	if iface != manager || member != "JobRemoved" || len(s.Body) != 4 {
		return
	}
	if got, _ := s.Body[2].(string); j.unit.Load() == nil || got != *j.unit.Load() {
		return
	}
	select {
	case j.removed <- s.Body:
	default: // more than maxJobs of our unit: the wait for it ends by its limit
	}
}

// kinds are what the errors of the interface mean.
var kinds = map[string]error{
	name + ".NoSuchUnit":                          errdefs.ErrNotFound,
	name + ".UnitExists":                          errdefs.ErrAlreadyExists,
	"org.freedesktop.DBus.Error.InvalidArgs":      errdefs.ErrInvalidArgument,
	"org.freedesktop.DBus.Error.PropertyReadOnly": errdefs.ErrInvalidArgument,
	"org.freedesktop.DBus.Error.UnknownProperty":  errdefs.ErrInvalidArgument,
	"org.freedesktop.DBus.Error.AccessDenied":     errdefs.ErrPermissionDenied,
}

// named gives an error of the interface its kind.
func named(err error) error {
	var e dbus.Error
	if !errors.As(err, &e) {
		return err
	}
	if kind := kinds[e.Name]; kind != nil {
		return fmt.Errorf("systemd: %w: %w", err, kind)
	}
	return fmt.Errorf("systemd: %w (%s)", err, e.Name)
}
