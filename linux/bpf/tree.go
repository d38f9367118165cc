package bpf

import "github.com/opencontainers/runtime-spec/specs-go"

// span is a run of numbers with the same verdict, from its first one on.
type span struct {
	first uint32
	v     uint16 // an index in the section's verdicts + 1, or one of those below
}

// Verdicts that stand in no list.
const (
	defaultVerdict = 0
	newerVerdict   = 0xffff // of numbers above all that the profile names
)

// spans returns the section's runs in ascending order, without x32's bit. They cover all numbers.
func (s *section) spans() []span {
	list := make([]span, 0, 64)
	put := func(first uint32, v uint16) {
		if len(list) == 0 || list[len(list)-1].v != v {
			list = append(list, span{first, v})
		}
	}
	for n := range s.top + 1 {
		put(uint32(n), s.calls[n])
	}
	switch {
	case s.top < 0:
		put(0, defaultVerdict) // the profile says nothing about this architecture
	default:
		put(uint32(s.top+1), newerVerdict)
	}
	if s.arch == S390X && s.top >= 0 {
		// Numbers that do not fit in the instruction come as 0 when the kernel does not know them: what is newer too.
		rest := list[1:]
		if s.calls[0] == s.calls[1] && s.top > 0 {
			rest = append([]span{{1, s.calls[1]}}, rest...)
		}
		list = append([]span{{0, newerVerdict}}, rest...)
	}
	if s.arch == ARM {
		for n := range privateSpace {
			put(armPrivate+uint32(n), s.calls[callSpace+n])
		}
		put(armPrivate+privateSpace, defaultVerdict)
	}
	return list
}

// writer writes one section.
type writer struct {
	*asm
	*section
	leaves map[uint16]label
	newer  uint32
}

// emit writes the section and returns where it begins, with the call's number in the accumulator.
func (s *section) emit(a *asm, newer uint32) label {
	w := &writer{a, s, map[uint16]label{}, newer}
	return w.tree(s.spans(), 1<<32)
}

// chainLimit is how many single numbers are asked for one after the other before the rest of a range is halved: three questions for the rest of it,
// where halving would take three for each.
const chainLimit = 3

// tree finds the call's number in spans, behind which the next begins at end.
func (w *writer) tree(list []span, end uint64) label {
	if len(list) == 1 {
		return w.leaf(list[0].v)
	}
	if singles, rest, ok := chain(list, end); ok {
		next := w.leaf(rest)
		for _, s := range singles {
			next = w.jump(opJeq, w.bit(s.first), w.leaf(s.v), next)
		}
		return next
	}
	mid := len(list) / 2
	above := w.tree(list[mid:], end)
	below := w.tree(list[:mid], uint64(list[mid].first))
	return w.jump(opJge, w.bit(list[mid].first), above, below)
}

func (w *writer) bit(n uint32) uint32 {
	if w.arch == X32 {
		n |= x32Bit
	}
	return n
}

// chain says whether all numbers of a list have one verdict but a few single ones.
func chain(list []span, end uint64) (singles []span, rest uint16, ok bool) {
	long := func(i int) bool {
		next := end
		if i+1 < len(list) {
			next = uint64(list[i+1].first)
		}
		return next-uint64(list[i].first) > 1
	}
	rest = list[len(list)-1].v
	for i := range list {
		if long(i) {
			rest = list[i].v
			break
		}
	}
	for i, s := range list {
		switch {
		case s.v == rest:
		case long(i) || len(singles) == chainLimit:
			return nil, 0, false
		default:
			singles = append(singles, s)
		}
	}
	return singles, rest, true
}

// leaf is where a verdict is given.
func (w *writer) leaf(v uint16) label {
	switch v {
	case defaultVerdict:
		return w.ret(w.def)
	case newerVerdict:
		return w.ret(w.newer)
	}
	at, ok := w.leaves[v]
	if !ok {
		at = w.rules(&w.verdicts[v-1])
		w.leaves[v] = at
	}
	return at
}

// rules asks for the conditions of a call, rule by rule.
func (w *writer) rules(v *verdict) label {
	next := w.ret(v.ret)
	for end := len(v.rules); end > 0; {
		first := w.group(v.rules[:end])
		if end-first > 1 {
			next = w.values(v.rules[first:end], next)
		} else {
			next = w.rule(&v.rules[first], next)
		}
		end = first
	}
	return next
}

// group returns where the rules begin that, at the end of the list, ask whether one argument is one of several values with the same upper half.
func (w *writer) group(list []rule) int {
	last := &list[len(list)-1]
	first := len(list) - 1
	for i := first; i >= 0; i-- {
		r := &list[i]
		if len(r.conds) != 1 || r.conds[0].Op != specs.OpEqualTo || r.conds[0].Index != last.conds[0].Index || r.conds[0].Value>>32 != last.conds[0].Value>>32 {
			break
		}
		first = i
	}
	return first
}

// values asks for the values of a group: the argument is loaded once.
func (w *writer) values(list []rule, next label) label {
	at := next
	for i := range list {
		r := &list[len(list)-1-i]
		at = w.jump(opJeq, uint32(r.conds[0].Value), w.ret(r.ret), at)
	}
	c := &list[0].conds[0]
	low, high := w.halves(c)
	at = w.load(low, at)
	if archs[w.arch].narrow {
		return at
	}
	return w.load(high, w.jump(opJeq, uint32(c.Value>>32), at, next))
}

// rule asks for the conditions of one rule.
func (w *writer) rule(r *rule, next label) label {
	yes := w.ret(r.ret)
	for n := range r.conds {
		yes = w.cond(&r.conds[len(r.conds)-1-n], yes, next)
	}
	return yes
}

// halves are the offsets of an argument's lower and upper half.
func (w *writer) halves(c *specs.LinuxSeccompArg) (low, high uint32) {
	low = offArgs + 8*uint32(c.Index)
	high = low + 4
	if archs[w.arch].big {
		low, high = high, low
	}
	return low, high
}

// cond asks for one condition: the upper half of the argument first, and the lower one when that does not decide.
func (w *writer) cond(c *specs.LinuxSeccompArg, yes, no label) label {
	low, high := w.halves(c)
	value, code := c.Value, uint16(opJeq)
	switch c.Op {
	case specs.OpNotEqual:
		yes, no = no, yes
	case specs.OpGreaterThan, specs.OpLessEqual:
		code = opJgt
	case specs.OpGreaterEqual, specs.OpLessThan:
		code = opJge
	case specs.OpMaskedEqual:
		return w.masked(c, low, high, yes, no)
	}
	if c.Op == specs.OpLessEqual || c.Op == specs.OpLessThan {
		yes, no = no, yes
	}
	at := w.load(low, w.jump(code, uint32(value), yes, no))
	if archs[w.arch].narrow {
		return at
	}
	at = w.jump(opJeq, uint32(value>>32), at, no)
	if code != opJeq {
		at = w.jump(opJgt, uint32(value>>32), yes, at)
	}
	return w.load(high, at)
}

// masked asks whether the bits Value of an argument are ValueTwo.
func (w *writer) masked(c *specs.LinuxSeccompArg, low, high uint32, yes, no label) label {
	at := yes
	if m := uint32(c.Value); m != 0 {
		at = w.load(low, w.and(m, w.jump(opJeq, uint32(c.ValueTwo), yes, no)))
	}
	if m := uint32(c.Value >> 32); m != 0 {
		at = w.load(high, w.and(m, w.jump(opJeq, uint32(c.ValueTwo>>32), at, no)))
	}
	return at
}
