package unit

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/spec"
)

// Property is a property of a unit (org.freedesktop.systemd1(5)). The value is in the text form of GVariant: a plan can hold and print it.
type Property struct {
	Name, Value string
	// Since is the first version of systemd that takes it; an older one is not told. 0: all that there are.
	Since int
}

// String is the form in a plan: "MemoryMax=uint64 67108864", "CPUWeight@252=uint64 0".
func (p Property) String() string {
	if p.Since != 0 {
		return fmt.Sprintf("%s@%d=%s", p.Name, p.Since, p.Value)
	}
	return p.Name + "=" + p.Value
}

// ReadProperty is the reverse of String.
func ReadProperty(text string) Property {
	name, value, _ := strings.Cut(text, "=")
	p := Property{Value: value}
	name, since, _ := strings.Cut(name, "@")
	p.Name = name
	p.Since, _ = strconv.Atoi(since)
	return p
}

func number(n uint64) string { return "uint64 " + strconv.FormatUint(n, 10) }

// quote writes a string; what is quoted here has neither backslashes nor control characters.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }

// noLimit is what systemd's D-Bus interface calls infinity.
const noLimit = math.MaxUint64

// New are the properties that the new unit of a container has besides its limits. version is that of the cgroups. A unit that fails (RuntimeMaxSec, the OOM
// killer) stays until the container is deleted, and says why: there is no CollectMode.
func (u Unit) New(id string, version int) []Property {
	list := []Property{
		{Name: "Description", Value: quote("container " + id)},
		{Name: "DefaultDependencies", Value: "false"}, // a shutdown must not stop it as an ordinary service: the runtime's client does
	}
	if u.IsSlice() {
		list = append(list, Property{Name: "Wants", Value: "[" + quote(u.Slice) + "]"})
	} else {
		// Delegated: systemd neither removes what is below it nor moves its processes.
		list = append(list, Property{Name: "Slice", Value: quote(u.Slice)}, Property{Name: "Delegate", Value: "true"})
	}
	// systemd makes a unit's directory in a hierarchy of version 1 only for what it accounts or delegates.
	io := "IOAccounting"
	if version == 1 {
		io = "BlockIOAccounting"
	}
	for _, name := range []string{"CPUAccounting", "MemoryAccounting", io, "TasksAccounting"} {
		list = append(list, Property{Name: name, Value: "true"})
	}
	return list
}

// Limits are the properties that say the same as files of the cgroup do. systemd writes those files again when it sees a reason (another property of
// the unit is set, its configuration is loaded anew), from what it knows. names are the files that were written, content says what is in them.
func Limits(version int, names []string, content func(file string) (string, bool)) ([]Property, error) {
	l := limits{content: content}
	table := v2Files
	if version == 1 {
		table = v1Files
	}
	for _, f := range table() {
		if !slices.ContainsFunc(f.files, func(name string) bool { return slices.Contains(names, name) }) {
			continue
		}
		if err := f.add(&l); err != nil {
			return nil, fmt.Errorf("%s for systemd: %w", f.files[0], err)
		}
	}
	return l.list, nil
}

// OfWrites is Limits for what a create is going to write to a new cgroup, with the rules of v1's devices.
func OfWrites(version int, writes []files.Write) ([]Property, error) {
	values := map[string]string{}
	var names []string
	for _, w := range writes {
		values[w.File] = w.Value
		names = append(names, w.File)
		if w.Else != nil {
			values[w.Else.File] = w.Else.Value
			names = append(names, w.Else.File)
		}
	}
	list, err := Limits(version, names, func(file string) (string, bool) { v, ok := values[file]; return v, ok })
	if err != nil || version != 1 {
		return list, err
	}
	return append(list, devices(writes)...), nil
}

type limits struct {
	list    []Property
	content func(file string) (string, bool)
}

func (l *limits) put(name, value string) { l.list = append(l.list, Property{Name: name, Value: value}) }

// fileRule makes properties of files.
type fileRule struct {
	files []string
	add   func(*limits) error
}

// The tables are made when they are asked for: no shim without a unit pays for them.

func v1Files() []fileRule {
	return []fileRule{
		plain("memory.limit_in_bytes", "MemoryLimit"),
		plain("cpu.shares", "CPUShares"),
		{[]string{"cpu.cfs_quota_us", "cpu.cfs_period_us"}, func(l *limits) error {
			quota, _ := l.content("cpu.cfs_quota_us")
			period, _ := l.content("cpu.cfs_period_us")
			return l.quota(quota, period)
		}},
		{[]string{"blkio.bfq.weight", "blkio.weight"}, func(l *limits) error {
			file := "blkio.bfq.weight" // with that scheduler the other is not there
			if _, ok := l.content(file); !ok {
				file = "blkio.weight"
			}
			return plain(file, "BlockIOWeight").add(l)
		}},
		{[]string{"pids.max"}, (*limits).tasks},
	}
}

func v2Files() []fileRule {
	return []fileRule{
		plain("memory.min", "MemoryMin"), plain("memory.low", "MemoryLow"), plain("memory.high", "MemoryHigh"), plain("memory.max", "MemoryMax"),
		plain("memory.swap.max", "MemorySwapMax"), {[]string{"memory.zswap.max"}, (*limits).zswap},
		{[]string{"cpu.weight", "cpu.idle"}, (*limits).weight},
		{[]string{"cpu.max"}, func(l *limits) error {
			text, _ := l.content("cpu.max")
			quota, period, _ := strings.Cut(strings.TrimSpace(text), " ")
			return l.quota(quota, period)
		}},
		set("cpuset.cpus", "AllowedCPUs", spec.CPUSet), set("cpuset.mems", "AllowedMemoryNodes", spec.NodeSet),
		{[]string{"io.weight"}, (*limits).ioWeight},
		{[]string{"pids.max"}, (*limits).tasks},
	}
}

// plain is a file with one number.
func plain(file, property string) fileRule {
	return fileRule{[]string{file}, func(l *limits) error {
		n, err := l.number(file)
		if err == nil {
			l.put(property, number(n))
		}
		return err
	}}
}

// number reads one number; "max", and what is below 0, is no limit.
func (l *limits) number(file string) (uint64, error) {
	text, _ := l.content(file)
	text = strings.TrimSpace(text)
	if text == "max" || strings.HasPrefix(text, "-") {
		return noLimit, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// tasks: systemd refuses a limit of 0, which is one here. One task is as good: there is a process in the cgroup, so none can be added.
func (l *limits) tasks() error {
	n, err := l.number("pids.max")
	if err == nil {
		l.put("TasksMax", number(max(n, 1)))
	}
	return err
}

// zswapSince is the systemd that writes memory.zswap.max.
const zswapSince = 253

func (l *limits) zswap() error {
	n, err := l.number("memory.zswap.max")
	if err == nil {
		l.list = append(l.list, Property{Name: "MemoryZSwapMax", Value: number(n), Since: zswapSince})
	}
	return err
}

// idleSince is the systemd that writes cpu.idle: it takes a weight of 0 for it.
const idleSince = 252

func (l *limits) weight() error {
	if idle, ok := l.content("cpu.idle"); ok && strings.TrimSpace(idle) == "1" {
		l.list = append(l.list, Property{Name: "CPUWeight", Value: number(0), Since: idleSince})
		return nil
	}
	if _, ok := l.content("cpu.weight"); !ok { // no longer idle, at the weight that a new cgroup has
		l.put("CPUWeight", number(100))
		return nil
	}
	n, err := l.number("cpu.weight")
	if err == nil {
		l.put("CPUWeight", number(n))
	}
	return err
}

// Units of time, in microseconds, and the kernel's period when none is set (sched-bwc.rst).
const (
	second        = 1_000_000
	percent       = second / 100
	defaultPeriod = 100_000
)

// quota: systemd counts in whole percents of a CPU. A part of one is rounded up, so that it never allows less than the file; the file is written after.
func (l *limits) quota(quota, period string) error {
	q, p := strings.TrimSpace(quota), uint64(defaultPeriod)
	if text := strings.TrimSpace(period); text != "" {
		var err error
		if p, err = strconv.ParseUint(text, 10, 64); err != nil || p == 0 {
			return fmt.Errorf("the period %q is no number above 0", text)
		}
		l.put("CPUQuotaPeriodUSec", number(p))
	}
	if q == "max" || q == "" || strings.HasPrefix(q, "-") {
		l.put("CPUQuotaPerSecUSec", number(noLimit))
		return nil
	}
	n, err := strconv.ParseUint(q, 10, 64)
	if err != nil || n > math.MaxUint64/second {
		return fmt.Errorf("the quota %q is no number that fits", q)
	}
	perSecond := n * second / p
	if rest := perSecond % percent; rest != 0 || perSecond == 0 {
		perSecond += percent - rest
	}
	l.put("CPUQuotaPerSecUSec", number(perSecond))
	return nil
}

// set is a file with a list of numbers; the property is their bits.
func set(file, property string, parse func(string) ([]byte, error)) fileRule {
	return fileRule{[]string{file}, func(l *limits) error {
		text, _ := l.content(file)
		bits, err := parse(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		for len(bits) > 0 && bits[len(bits)-1] == 0 {
			bits = bits[:len(bits)-1]
		}
		words := make([]string, len(bits))
		for i, b := range bits {
			words[i] = strconv.Itoa(int(b))
		}
		l.put(property, "@ay ["+strings.Join(words, ", ")+"]")
		return nil
	}}
}

// ioWeight reads the line "default N" among those of devices.
func (l *limits) ioWeight() error {
	text, _ := l.content("io.weight")
	for line := range strings.Lines(text) {
		word, ok := strings.CutPrefix(strings.TrimSpace(line), "default ")
		if !ok {
			word = strings.TrimSpace(line) // an older kernel's number alone
		}
		if n, err := strconv.ParseUint(word, 10, 64); err == nil {
			l.put("IOWeight", number(n))
			return nil
		}
	}
	return nil // weights of devices only, which systemd knows by their paths
}
