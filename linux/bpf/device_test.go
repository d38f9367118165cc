package bpf

import (
	"encoding/binary"
	"testing"
)

// decide is what Devices says that a program does, told by the list itself.
func decide(rules []DeviceRule, typ DeviceType, maj, min uint32, asked DeviceAccess) bool {
	spoken := false
	for bit := DeviceAccess(1); bit <= DeviceWrite; bit <<= 1 {
		allowed := false
		for _, r := range rules {
			same := (r.Type == AnyDevice || r.Type == typ) && (r.Major >= AnyNumber || r.Major == uint64(maj)) && (r.Minor >= AnyNumber || r.Minor == uint64(min))
			if same && r.Access&bit != 0 {
				allowed = r.Allow
			}
		}
		if asked&bit != 0 {
			if !allowed {
				return false
			}
			spoken = true
		}
	}
	return spoken
}

// interpret runs the few instructions of eBPF that a device program has.
func interpret(t *testing.T, p []byte, typ DeviceType, maj, min uint32, asked DeviceAccess) bool {
	t.Helper()
	if p == nil {
		return true
	}
	ctx := binary.LittleEndian.AppendUint32(nil, uint32(asked)<<16|uint32(typ))
	ctx = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(ctx, maj), min)
	var reg [11]uint64
	for pc := 0; ; pc++ {
		if pc*8+8 > len(p) {
			t.Fatalf("it runs out of its %d instructions", len(p)/8)
		}
		in := p[pc*8 : pc*8+8]
		dst, src := &reg[in[1]&15], reg[in[1]>>4]
		off, imm := int16(binary.LittleEndian.Uint16(in[2:])), binary.LittleEndian.Uint32(in[4:])
		if off < 0 {
			t.Fatal("it jumps back")
		}
		switch signed := uint64(int64(int32(imm))); in[0] {
		case 0x61:
			*dst = uint64(binary.LittleEndian.Uint32(ctx[off:]))
		case 0xb7:
			*dst = signed
		case 0xbf:
			*dst = src
		case 0x57:
			*dst &= signed
		case 0x77:
			*dst >>= imm
		case 0x16:
			if uint32(*dst) == imm {
				pc += int(off)
			}
		case 0x56:
			if uint32(*dst) != imm {
				pc += int(off)
			}
		case 0x95:
			return reg[0] != 0
		default:
			t.Fatalf("instruction %#x", in[0])
		}
	}
}

func TestDevices(t *testing.T) {
	null := DeviceRule{Allow: true, Type: CharDevice, Major: 1, Minor: 3, Access: DeviceAll}
	every := func(allow bool, typ DeviceType, a DeviceAccess) DeviceRule {
		return DeviceRule{Allow: allow, Type: typ, Major: AnyNumber, Minor: AnyNumber, Access: a}
	}
	notNull := null
	notNull.Allow = false
	for name, c := range map[string]struct {
		rules      []DeviceRule
		typ        DeviceType
		major, min uint32
		asked      DeviceAccess
		want       bool
	}{
		"no rules":                        {nil, CharDevice, 1, 3, DeviceRead, false},
		"allowed":                         {[]DeviceRule{null}, CharDevice, 1, 3, DeviceAll, true},
		"another type":                    {[]DeviceRule{null}, BlockDevice, 1, 3, DeviceRead, false},
		"another minor":                   {[]DeviceRule{null}, CharDevice, 1, 5, DeviceRead, false},
		"everything":                      {[]DeviceRule{every(false, AnyDevice, DeviceAll), every(true, AnyDevice, DeviceAll)}, BlockDevice, 8, 0, DeviceAll, true},
		"a later rule wins":               {[]DeviceRule{every(true, CharDevice, DeviceAll), notNull}, CharDevice, 1, 3, DeviceRead, false},
		"the others stay":                 {[]DeviceRule{every(true, CharDevice, DeviceAll), notNull}, CharDevice, 1, 5, DeviceRead, true},
		"nothing counts before all":       {[]DeviceRule{null, every(false, AnyDevice, DeviceAll)}, CharDevice, 1, 3, DeviceRead, false},
		"two rules give two rights":       {[]DeviceRule{every(true, CharDevice, DeviceMknod), {true, CharDevice, 1, 3, DeviceRead}}, CharDevice, 1, 3, DeviceMknod | DeviceRead, true},
		"a part is not enough":            {[]DeviceRule{{true, CharDevice, 1, 3, DeviceRead}}, CharDevice, 1, 3, DeviceRead | DeviceWrite, false},
		"a part is taken back":            {[]DeviceRule{null, {false, CharDevice, 1, 3, DeviceWrite}}, CharDevice, 1, 3, DeviceRead, true},
		"the part that was taken back":    {[]DeviceRule{null, {false, CharDevice, 1, 3, DeviceWrite}}, CharDevice, 1, 3, DeviceWrite, false},
		"a rule about nothing":            {[]DeviceRule{null, {false, CharDevice, 1, 3, 0}}, CharDevice, 1, 3, DeviceRead, true},
		"a number that is negative as 32": {[]DeviceRule{{true, CharDevice, 1<<32 - 1, 1 << 31, DeviceAll}}, CharDevice, 1<<32 - 1, 1 << 31, DeviceAll, true},
	} {
		p := Devices(c.rules)
		if got := interpret(t, p, c.typ, c.major, c.min, c.asked); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if p != nil && c.want != decide(c.rules, c.typ, c.major, c.min, c.asked) {
			t.Errorf("%s: the evaluator says the opposite", name)
		}
	}
	if Devices([]DeviceRule{null, every(true, AnyDevice, DeviceAll)}) != nil {
		t.Error("a program for what is allowed anyway")
	}
}

// FuzzDevices compares the programs of lists of rules with the lists.
func FuzzDevices(f *testing.F) {
	f.Add([]byte{1, 2, 1, 3, 7, 0, 2, 1, 3, 4}, byte(2), byte(1), byte(3), byte(2))
	f.Add([]byte{0, 0, 255, 255, 7, 1, 2, 5, 255, 3}, byte(2), byte(5), byte(1), byte(3))
	f.Fuzz(func(t *testing.T, text []byte, typ, maj, min, asked byte) {
		const few = 8 // numbers, so that rules meet
		number := func(b byte) uint64 {
			if b >= 128 {
				return AnyNumber
			}
			return uint64(b % few)
		}
		var rules []DeviceRule
		for ; len(text) >= 5; text = text[5:] {
			rules = append(rules, DeviceRule{Allow: text[0]&1 != 0, Type: DeviceType(text[1] % 3), Major: number(text[2]), Minor: number(text[3]), Access: DeviceAccess(text[4]) & DeviceAll})
		}
		kind := BlockDevice + DeviceType(typ%2)
		want := DeviceAccess(asked) & DeviceAll
		if want == 0 {
			want = DeviceRead // the kernel asks for something always
		}
		m, n := uint32(maj%few), uint32(min%few)
		if got := interpret(t, Devices(rules), kind, m, n, want); got != decide(rules, kind, m, n, want) {
			t.Errorf("%+v: %d %d:%d %d is %v", rules, kind, m, n, want, got)
		}
	})
}
