package systemd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/cgroup/dbus"
	"example.io/shim/linux/cgroup/unit"
)

// peer is the other end of a connection: what a manager could say, also one that is broken. The real one is in the guests (systemd_test.go).
type peer struct {
	net.Conn
	in *bufio.Reader
}

// listen lets f talk to whoever connects to a user's manager.
func listen(t *testing.T, f func(p *peer)) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if err := os.Mkdir(filepath.Join(dir, "systemd"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "systemd/private"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		f(&peer{c, bufio.NewReader(c)})
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
}

// welcome does the peer's part of the introduction.
func (p *peer) welcome() {
	for range 3 { // AUTH EXTERNAL, DATA, BEGIN
		if _, err := p.in.ReadString('\n'); err != nil {
			return
		}
	}
	_, _ = io.WriteString(p, "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\n")
}

// hear reads a call.
func (p *peer) hear() *dbus.Message {
	b := make([]byte, dbus.HeaderSize)
	if _, err := io.ReadFull(p.in, b); err != nil {
		return &dbus.Message{}
	}
	n, _ := dbus.Rest(b)
	b = append(b, make([]byte, n)...)
	_, _ = io.ReadFull(p.in, b[dbus.HeaderSize:])
	m, err := dbus.Decode(b)
	if err != nil {
		return &dbus.Message{}
	}
	return m
}

func (p *peer) say(m *dbus.Message, texts ...string) {
	e := &dbus.Encoder{}
	for i, s := range texts {
		switch m.Signature[i] {
		case 'u':
			e.Uint32(uint32(len(s)))
		case 'v':
			e.Signature("s")
			e.String(s)
		default:
			e.String(s)
		}
	}
	m.Body, m.Serial = e.Bytes(), 1
	_, _ = p.Write(m.Encode())
}

func (p *peer) removed(job, unitName, result string) {
	p.say(&dbus.Message{Kind: dbus.Signal, Path: object, Interface: manager, Member: "JobRemoved", Signature: "uoss"}, "", job, unitName, result)
}

func (p *peer) reply(to *dbus.Message, sig string, texts ...string) {
	p.say(&dbus.Message{Kind: dbus.Reply, ReplyTo: to.Serial, Signature: sig}, texts...)
}

// TestConversations starts a unit with peers that say other things than usual, or the usual in another order.
func TestConversations(t *testing.T) {
	const u, job = "x.scope", "/org/freedesktop/systemd1/job/1"
	for name, c := range map[string]struct {
		say  func(p *peer)
		want string // in the error, "" for none
		is   error
	}{
		"the job ends before the answer": {func(p *peer) {
			m := p.hear()
			p.removed(job, u, "done")
			p.reply(m, "o", job)
		}, "", nil},
		"signals between": {func(p *peer) {
			m := p.hear()
			p.say(&dbus.Message{Kind: dbus.Signal, Path: "/a", Interface: "a.b", Member: "C", Signature: "s"}, "x")
			p.say(&dbus.Message{Kind: dbus.Reply, ReplyTo: m.Serial + 1, Signature: "s"}, "another's")
			p.reply(m, "o", job)
			p.removed(job, "y.scope", "failed")
			p.removed(job+"1", u, "failed")
			p.removed(job, u, "done")
		}, "", nil},
		"the job fails": {func(p *peer) { m := p.hear(); p.reply(m, "o", job); p.removed(job, u, "failed") }, "job for x.scope ended: failed", nil},
		"the unit is there": {func(p *peer) {
			for _, e := range []string{"UnitExists", "", "UnitExists"} {
				if m := p.hear(); e == "" {
					p.reply(m, "")
				} else {
					p.say(&dbus.Message{Kind: dbus.Error, ReplyTo: m.Serial, ErrorName: name + "." + e, Signature: "s"}, "it is there")
				}
			}
		}, "it is there (", errdefs.ErrAlreadyExists},
		"a unit of that name failed": {func(p *peer) {
			m := p.hear()
			p.say(&dbus.Message{Kind: dbus.Error, ReplyTo: m.Serial, ErrorName: name + ".UnitExists", Signature: "s"}, "it is there")
			if m = p.hear(); m.Member != "ResetFailedUnit" {
				return
			}
			p.reply(m, "")
			p.reply(p.hear(), "o", job)
			p.removed(job, u, "done")
		}, "", nil},
		"an error of no kind": {func(p *peer) {
			m := p.hear()
			p.say(&dbus.Message{Kind: dbus.Error, ReplyTo: m.Serial, ErrorName: "a.b.C"})
		}, "systemd: a.b.C", nil},
		"a closed connection": {func(p *peer) { p.hear() }, "StartTransientUnit: EOF", io.EOF},
		"half a message":      {func(p *peer) { p.hear(); _, _ = p.Write([]byte("l\x02\x00\x01")) }, "unexpected EOF", io.ErrUnexpectedEOF},
		"big-endian": {func(p *peer) {
			p.hear()
			_, _ = p.Write([]byte("B\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00"))
		}, "byte order", nil},
		"a job signal of another form": {func(p *peer) {
			p.hear()
			p.say(&dbus.Message{Kind: dbus.Signal, Path: object, Interface: manager, Member: "JobRemoved", Signature: "s"}, "x")
		}, `JobRemoved has the type "s"`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			listen(t, func(p *peer) {
				p.welcome()
				c.say(p)
			})
			conn, err := Dial(t.Context(), true)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			err = conn.Start(u, []unit.Property{{Name: "TasksMax", Value: "uint64 5"}}, 1)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestSince: what a systemd is too old for it is not told; it is asked once.
func TestSince(t *testing.T) {
	for version, want := range map[string]bool{"251": false, "252.39-1~deb12u1": true} {
		heard := make(chan string, 2)
		listen(t, func(p *peer) {
			p.welcome()
			p.reply(p.hear(), "v", version)
			m := p.hear()
			heard <- string(m.Body)
			p.reply(m, "")
			p.reply(p.hear(), "v", version)
		})
		c, err := Dial(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Set("x.scope", []unit.Property{{Name: "TasksMax", Value: "uint64 5"}, {Name: "CPUWeight", Value: "uint64 0", Since: 252}, {Name: "Other", Value: "true", Since: 250}})
		c.Close()
		body := <-heard
		if err != nil || strings.Contains(body, "CPUWeight") != want || !strings.Contains(body, "TasksMax") || !strings.Contains(body, "Other") {
			t.Errorf("version %s: %q, %v", version, body, err)
		}
	}
}

// TestIntroductions: a peer that does not let us in, is silent, or says too much.
func TestIntroductions(t *testing.T) {
	for name, c := range map[string]struct {
		say  string
		want string
		is   error
	}{
		"rejected": {"REJECTED EXTERNAL\r\n", "does not let us in", errdefs.ErrPermissionDenied},
		"closed":   {"", "EOF", io.EOF},
		"endless":  {strings.Repeat("x", maxLine+10), "a line of more than", nil},
	} {
		listen(t, func(p *peer) {
			_, _ = p.in.ReadString('\n')
			_, _ = io.WriteString(p, c.say)
			_, _ = io.ReadAll(io.LimitReader(p.in, int64(len("DATA\r\nBEGIN\r\n")))) // so that it is not reset before it is read
		})
		if conn, err := Dial(t.Context(), true); err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%s: %v, %v; want %q", name, conn, err, c.want)
		}
	}
}

// TestSilence: the end of the context ends the wait for a peer that says nothing.
func TestSilence(t *testing.T) {
	listen(t, func(p *peer) {
		p.welcome()
		_, _ = io.ReadAll(p.in)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	c, err := Dial(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ControlGroup(); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
