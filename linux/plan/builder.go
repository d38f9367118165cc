package plan

import (
	"fmt"
	"slices"
	"strconv"

	"example.io/shim/linux/abi"
)

// Label is a place in the plan that is not known yet; see Builder.Label.
type Label int

// Builder collects a plan.
type Builder struct {
	p       Plan
	actor   Actor
	phase   Phase
	strings map[string]Ref
	labels  []int // step index, -1 while not placed
	fixes   []fix
}

type fix struct {
	step  int
	label Label
	ok    bool
}

// NewBuilder starts a plan of that name.
func NewBuilder(name string) *Builder {
	return &Builder{p: Plan{Name: name, Regs: make([]string, 1), Data: make([]Item, 1)}, strings: map[string]Ref{}}
}

// Grow makes room for n steps, and for as many items and registers as they mostly have: a plan of hundreds is not copied each time that it doubles.
func (b *Builder) Grow(n int) {
	b.p.Steps, b.p.Data, b.p.Regs = slices.Grow(b.p.Steps, n), slices.Grow(b.p.Data, n/2), slices.Grow(b.p.Regs, n/4)
	if len(b.strings) == 0 {
		b.strings = make(map[string]Ref, n/3)
	}
}

// In sets the actor and phase of the steps that follow.
func (b *Builder) In(a Actor, ph Phase) { b.actor, b.phase = a, ph }

// Reg returns the register of that name and makes it when it is new.
func (b *Builder) Reg(name string) Reg {
	if r := b.p.Reg(name); r != 0 {
		return r
	}
	b.p.Regs = append(b.p.Regs, name)
	return Reg(len(b.p.Regs) - 1)
}

// Temp makes a new register whose name begins with prefix.
func (b *Builder) Temp(prefix string) Reg {
	r := len(b.p.Regs)
	b.p.Regs = append(b.p.Regs, prefix+"."+strconv.Itoa(r)) // its number makes it the only one of that name: nobody has to look
	return Reg(r)
}

// Str returns an argument that is the address of s, NUL-terminated. s must not hold a NUL (spec.Validate sees to it).
func (b *Builder) Str(s string) Arg {
	r, ok := b.strings[s]
	if !ok {
		b.p.Data = append(b.p.Data, Item{Name: s, Str: true, Bytes: append([]byte(s), 0)})
		r = Ref(len(b.p.Data) - 1)
		b.strings[s] = r
	}
	return Arg{Kind: Addr, Data: r}
}

// Bytes adds an item with that content.
func (b *Builder) Bytes(name string, content []byte) Ref {
	b.p.Data = append(b.p.Data, Item{Name: name, Bytes: content})
	return Ref(len(b.p.Data) - 1)
}

// Buf adds a zeroed item of n bytes.
func (b *Builder) Buf(name string, n int) Ref { return b.Bytes(name, make([]byte, n)) }

// Struct adds an item with pointers to other items.
func (b *Builder) Struct(name string, content []byte, words ...Word) Ref {
	b.p.Data = append(b.p.Data, Item{Name: name, Bytes: content, Words: words})
	return Ref(len(b.p.Data) - 1)
}

// Vec adds an array of pointers to the strings, ended by spare+1 nil pointers (execve(2)'s argv and envp).
func (b *Builder) Vec(name string, list []string, spare int) Ref {
	it := Item{Name: name, Bytes: make([]byte, 8*(len(list)+spare+1))}
	for i, s := range list {
		it.Words = append(it.Words, Word{Off: 8 * i, To: b.Str(s).Data})
	}
	b.p.Data = append(b.p.Data, it)
	return Ref(len(b.p.Data) - 1)
}

// Add appends a step with the current actor and phase and returns its index.
func (b *Builder) Add(s Step) int {
	s.Actor, s.Phase = b.actor, b.phase
	b.p.Steps = append(b.p.Steps, s)
	return len(b.p.Steps) - 1
}

// Last returns the step added last, to be completed by the caller.
func (b *Builder) Last() *Step { return &b.p.Steps[len(b.p.Steps)-1] }

// Label makes a label, to be placed later by Place.
func (b *Builder) Label() Label {
	b.labels = append(b.labels, -1)
	return Label(len(b.labels) - 1)
}

// Place puts l before the next step that is added.
func (b *Builder) Place(l Label) { b.labels[l] = len(b.p.Steps) }

// OnOK makes step i go on at l after a success.
func (b *Builder) OnOK(i int, l Label) { b.fixes = append(b.fixes, fix{i, l, true}) }

// OnErr makes step i go on at l after a tolerated error.
func (b *Builder) OnErr(i int, l Label) { b.fixes = append(b.fixes, fix{i, l, false}) }

// Plan returns what was built. A label that points behind the last step, or was not placed, is a bug of the caller and panics.
// A label means the first step of the same actor at or behind its place.
func (b *Builder) Plan() *Plan {
	for _, f := range b.fixes {
		to := b.labels[f.label]
		for to >= 0 && to < len(b.p.Steps) && b.p.Steps[to].Actor != b.p.Steps[f.step].Actor {
			to++
		}
		if to < 0 || to >= len(b.p.Steps) {
			panic(fmt.Sprintf("plan: %q: a label was not placed before a step", b.p.Steps[f.step].Label))
		}
		if f.ok {
			b.p.Steps[f.step].OnOK = to
		} else {
			b.p.Steps[f.step].OnErr = to
		}
	}
	p := b.p
	return &p
}

// V is an immediate argument.
func V(v uint64) Arg { return Arg{Value: v} }

// N is a signed immediate argument (AT_FDCWD, -1).
func N(v int64) Arg { return Arg{Value: uint64(v), Text: fmt.Sprint(v)} }

// T is an immediate argument with its symbolic form.
func T(v uint64, text string) Arg { return Arg{Value: v, Text: text} }

// R is the content of a register.
func R(r Reg) Arg { return Arg{Kind: FromReg, Reg: r} }

// A is the address of an item.
func A(d Ref) Arg { return Arg{Kind: Addr, Data: d} }

// AtOff is the address of a place in an item.
func AtOff(d Ref, off int) Arg { return Arg{Kind: Addr, Data: d, Value: uint64(off)} }

// M is the 64-bit word in an item (OpCheck only).
func M(d Ref, off int) Arg { return Arg{Kind: Mem, Data: d, Value: uint64(off)} }

// AtCwd is AT_FDCWD.
func AtCwd() Arg { return T(abi.AT_FDCWD, "AT_FDCWD") }
