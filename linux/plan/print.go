package plan

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"

	"example.io/shim/linux/abi"
)

// PrintOptions say how much Print prints.
type PrintOptions struct {
	Verbose bool // also each step's call, tolerated errors, jumps, undo, source and reason
}

const (
	hexBytes  = 64  // content of a structure that is shown; struct mount_attr has 32, struct statx is only filled
	textBytes = 512 // of a string or list that is shown
)

// String returns "parent" or "child".
func (a Actor) String() string {
	switch a {
	case Parent:
		return "parent"
	case Child:
		return "child"
	}
	return fmt.Sprintf("actor(%d)", uint8(a))
}

// Print writes p for people. The same plan gives the same text. The error is the one of w.
//
//	create web1: 64 steps, 30 of the parent and 34 of the child; 12 registers, 2310 bytes of data
//
//	 1/64 parent cgroup   make the cgroup /sys/fs/cgroup/memory/web1
//	      mkdirat(AT_FDCWD, "/sys/fs/cgroup/memory/web1", 0755)
//	      tolerates EEXIST, then 5/64
//	      undo: unlinkat(AT_FDCWD, "/sys/fs/cgroup/memory/web1", AT_REMOVEDIR)
//	      /linux/cgroupsPath: cgroups(7)
//
// %name is a register, &name an item of the data with its content: {hex} of a structure, [n] of n zeroed bytes, ["a", "b"] of a list.
func Print(w io.Writer, p *Plan, o PrintOptions) error {
	pr := printer{w: bufio.NewWriter(w), p: p, digits: len(strconv.Itoa(len(p.Steps)))}
	pr.header()
	for i := range p.Steps {
		pr.step(i, o.Verbose)
	}
	return pr.w.Flush()
}

type printer struct {
	w      *bufio.Writer
	p      *Plan
	digits int
	phase  int // width of the column
}

func (pr *printer) header() {
	var n [2]int
	for i := range pr.p.Steps {
		s := &pr.p.Steps[i]
		n[s.Actor&1]++
		pr.phase = max(pr.phase, len(s.Phase))
	}
	size := 0
	for i := range pr.p.Data {
		size += len(pr.p.Data[i].Bytes)
	}
	pr.printf("%s: %d steps, %d of the parent and %d of the child; %d registers, %d bytes of data\n\n",
		pr.p.Name, len(pr.p.Steps), n[Parent], n[Child], max(len(pr.p.Regs)-1, 0), size)
}

// printf writes to a buffer or a terminal: what fails there is the reader's to see.
func (pr *printer) printf(format string, args ...any) { _, _ = fmt.Fprintf(pr.w, format, args...) }

// number returns "17/64".
func (pr *printer) number(i int) string {
	return fmt.Sprintf("%*d/%d", pr.digits, i+1, len(pr.p.Steps))
}

func (pr *printer) step(i int, verbose bool) {
	s := &pr.p.Steps[i]
	pr.printf("%s %-6s %-*s %s\n", pr.number(i), s.Actor, pr.phase, s.Phase, clean(s.Label))
	if !verbose {
		return
	}
	pr.line("%s", pr.call(s))
	if t := pr.onError(s); t != "" {
		pr.line("%s", t)
	}
	if s.OnOK != 0 {
		pr.line("then %s", strings.TrimSpace(pr.number(s.OnOK)))
	}
	if u := s.Undo; u != nil {
		label := ""
		if u.Label != "" {
			label = " -- " + u.Label
		}
		name := sysName(u.Sys)
		if u.Call != "" {
			name = "call " + u.Call
		}
		pr.line("undo: %s(%s)%s", name, pr.args(u.Args), label)
	}
	if s.Stays != "" {
		pr.line("stays: %s", s.Stays)
	}
	if s.Fault != 0 {
		pr.line("fault: %s", errnoName(s.Fault))
	}
	switch {
	case s.Source != "" && s.Why != "":
		pr.line("%s: %s", s.Source, s.Why)
	case s.Source+s.Why != "":
		pr.line("%s", s.Source+s.Why)
	}
}

// line writes an indented line.
func (pr *printer) line(format string, args ...any) {
	pr.printf("%*s %s\n", 2*pr.digits+1, "", clean(fmt.Sprintf(format, args...)))
}

// clean quotes a text with control characters: names come from config.json, and must not look like other lines.
func clean(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return strconv.Quote(s)
	}
	return s
}

// call returns what the step does: "fsopen("proc", FSOPEN_CLOEXEC) = %fs".
func (pr *printer) call(s *Step) string {
	var t string
	switch s.Op {
	case OpSyscall:
		t = sysName(s.Sys) + "(" + pr.args(s.Args) + ")"
	case OpCheck:
		t = "check " + pr.args(s.Args)
		if s.Mask != ^uint64(0) {
			t += " & " + number(s.Mask)
		}
		t += " == " + number(s.Equal)
	case OpMove:
		a := append(append([]Arg(nil), s.Args...), Arg{}, Arg{})
		t = "store " + pr.arg(a[0]) + " at " + pr.place(a[1])
	case OpAsk:
		t = "ask " + s.Call + "(" + pr.args(s.Ask) + ")"
	case OpExit:
		t = "exit " + pr.args(s.Args) + " | " + number(s.Equal)
	case OpClone:
		t = "clone3(" + pr.args(s.Args) + ")"
	case OpCloseAll:
		keep := make([]string, len(s.Keep))
		for i, r := range s.Keep {
			keep[i] = pr.reg(r)
		}
		t = "close_range all but " + strings.Join(keep, " ")
	case OpCall:
		t = "call " + s.Call + "(" + pr.args(s.Args) + ")"
	case OpGate:
		t = "gate"
	default:
		t = fmt.Sprintf("operation(%d)", s.Op)
	}
	if s.Save != 0 {
		t += " = " + pr.reg(s.Save)
		if s.FD {
			t += " (fd)"
		}
	}
	if s.HasWant {
		t += fmt.Sprintf(", must be %d", s.Want)
	}
	if s.ExitParent {
		t += ", the caller leaves"
	}
	return t
}

// onError returns what becomes of errors.
func (pr *printer) onError(s *Step) string {
	var parts []string
	if s.Retry > 0 {
		parts = append(parts, fmt.Sprintf("tries %s again up to %d times", errnoName(s.RetryOn), s.Retry))
	}
	if len(s.Tolerate) > 0 {
		names := make([]string, len(s.Tolerate))
		for i, e := range s.Tolerate {
			names[i] = errnoName(e)
		}
		t := "tolerates " + strings.Join(names, " ")
		if s.OnErr != 0 {
			t += ", then " + strings.TrimSpace(pr.number(s.OnErr))
		}
		parts = append(parts, t)
	}
	if s.Errno != 0 {
		parts = append(parts, "fails with "+errnoName(s.Errno))
	}
	return strings.Join(parts, "; ")
}

func (pr *printer) args(list []Arg) string {
	t := make([]string, len(list))
	for i, a := range list {
		t[i] = pr.arg(a)
	}
	return strings.Join(t, ", ")
}

func (pr *printer) arg(a Arg) string {
	switch {
	case a.Kind == FromReg:
		return pr.reg(a.Reg)
	case a.Kind == Mem:
		return "*" + pr.place(a)
	case a.Kind == Addr && a.Text != "": // the content in words
		return pr.place(a) + "{" + a.Text + "}"
	case a.Kind == Addr && a.Value == 0:
		return pr.item(a.Data)
	case a.Kind == Addr:
		return pr.place(a)
	case a.Text != "":
		return a.Text
	}
	return number(a.Value)
}

func (pr *printer) reg(r Reg) string {
	if r == 0 || int(r) >= len(pr.p.Regs) {
		return fmt.Sprintf("%%%d?", r)
	}
	return "%" + pr.p.Regs[r]
}

// place returns "&name+8".
func (pr *printer) place(a Arg) string {
	if a.Data == 0 || int(a.Data) >= len(pr.p.Data) {
		return fmt.Sprintf("&%d?", a.Data)
	}
	t := "&" + clip(pr.p.Data[a.Data].Name)
	if a.Value != 0 {
		t += "+" + strconv.FormatUint(a.Value, 10)
	}
	return t
}

// item returns an item with its content.
func (pr *printer) item(r Ref) string {
	if r == 0 || int(r) >= len(pr.p.Data) {
		return fmt.Sprintf("&%d?", r)
	}
	it := &pr.p.Data[r]
	switch {
	case it.Str:
		return quote(it.Bytes)
	case len(it.Words) > 0:
		return "&" + it.Name + pr.list(it)
	case allZero(it.Bytes):
		return fmt.Sprintf("&%s[%d]", it.Name, len(it.Bytes))
	case len(it.Bytes) > hexBytes:
		return fmt.Sprintf("&%s{%s... %d bytes}", it.Name, hex.EncodeToString(it.Bytes[:hexBytes]), len(it.Bytes))
	}
	return fmt.Sprintf("&%s{%s}", it.Name, hex.EncodeToString(it.Bytes))
}

// list returns the strings that an item points to, in the order of its pointers.
func (pr *printer) list(it *Item) string {
	var b strings.Builder
	for i, w := range it.Words {
		if i > 0 {
			b.WriteString(", ")
		}
		if b.Len() > textBytes {
			fmt.Fprintf(&b, "... %d in all", len(it.Words))
			break
		}
		if w.To == 0 || int(w.To) >= len(pr.p.Data) {
			fmt.Fprintf(&b, "&%d?", w.To)
			continue
		}
		if to := &pr.p.Data[w.To]; to.Str {
			b.WriteString(quote(to.Bytes))
		} else {
			b.WriteString("&" + clip(to.Name))
		}
	}
	return "[" + b.String() + "]"
}

func quote(b []byte) string {
	b = bytes.TrimSuffix(b, []byte{0})
	if len(b) > textBytes {
		return fmt.Sprintf("%q... (%d bytes)", b[:textBytes], len(b))
	}
	return strconv.Quote(string(b))
}

func clip(s string) string {
	if len(s) > hexBytes {
		return s[:hexBytes] + "..."
	}
	return s
}

// number writes small and negative values in decimal, others in hexadecimal.
func number(v uint64) string {
	if s := int64(v); s > -4096 && s < 1024 {
		return strconv.FormatInt(s, 10)
	}
	return "0x" + strconv.FormatUint(v, 16)
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func errnoName(e abi.Errno) string {
	if n := e.Name(); n != "" {
		return n
	}
	return "errno " + strconv.Itoa(int(e))
}
