package files

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// V2Only is the part of a Write that cgroup v2 alone needs.
type V2Only struct {
	// Else is written instead where the file does not exist.
	Else *Write
	// Optional says that the value holds anyway where the file does not exist.
	Optional bool
	// Live completes Value by what a living cgroup has now. A new cgroup has the kernel's defaults, and Value is complete.
	Live Live
	// InUse, in an update, is what a limit may not be below. It is checked before anything is written.
	InUse InUse
}

// InUse is a limit of bytes, and the files whose sum is what of it is in use. Without files there is nothing to check.
type InUse struct {
	Limit int64
	Files []string
}

// Live is how an update completes a value.
type Live uint8

// The completions.
const (
	// Whole: the value is complete.
	Whole Live = iota
	// KeepFirst: the first word of the value is the one that the file has now.
	KeepFirst
	// LessMemoryMax: the value is less what memory.max has now.
	LessMemoryMax
)

// v2 collects the writes of one LinuxResources to cgroup v2 files (Documentation/admin-guide/cgroup-v2.rst). The specification's fields have the
// meaning of v1; what v2 has no file for is refused, unless the value asks for nothing.
type v2 struct {
	resources
	dir    Dir
	update bool
}

// V2 returns the writes to cgroup v2 files that carry r out in the new cgroup dir, in order, all but its device rules (V2Devices).
// dir.Controllers are those that are available. prefix is the JSON pointer of r ("/linux/resources").
func V2(r *specs.LinuxResources, dir Dir, prefix string) ([]Write, error) {
	w := &v2{resources: resources{prefix: prefix}, dir: dir}
	w.all(r)
	return w.list, w.err
}

// V2Update returns the writes that change a living cgroup. Device rules stay as they were made, as on v1.
func V2Update(r *specs.LinuxResources, dir Dir) ([]Write, error) {
	w := &v2{dir: dir, update: true}
	w.all(r)
	return w.list, w.err
}

func (w *v2) all(r *specs.LinuxResources) {
	if r == nil {
		return
	}
	w.memory(r.Memory)
	w.cpu(r.CPU)
	w.pids(r.Pids)
	w.blockIO(r.BlockIO)
	w.hugetlb(r.HugepageLimits)
	w.rdma(r.Rdma)
	w.network(r.Network)
	w.unified(r.Unified)
	if IdleAndWeight(r) { // the kernel takes no weight of an idle cgroup, and forgets the one it has
		w.list = slices.DeleteFunc(w.list, isWeight)
	}
	if w.err != nil {
		w.list = nil
	}
}

// put appends a write; field is a JSON pointer below the prefix.
func (w *v2) put(file, value, field, label string, more V2Only) {
	controller, _, _ := strings.Cut(file, ".")
	if controller != "cgroup" && !w.dir.Has(controller) {
		w.fail(field, "the cgroup controller "+controller+" is not available", errdefs.ErrNotImplemented)
		return
	}
	x := Write{Controller: controller, File: file, Value: value, Source: w.prefix + field, Label: label, V2Only: more}
	if controller == "pids" {
		x.When = Late
	}
	w.list = append(w.list, x)
}

// none refuses a field that cgroup v2 has no file for.
func (w *v2) none(field, why string) {
	w.fail(field, "cgroup v2 has no such limit: "+why, errdefs.ErrNotImplemented)
}

// orMax is a limit; -1 is none.
func orMax(v int64) string {
	if v < 0 {
		return "max"
	}
	return strconv.FormatInt(v, 10)
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

func (w *v2) memory(m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	if m.Swappiness != nil {
		w.none("/memory/swappiness", "vm.swappiness holds for the whole machine")
	}
	if value(m.DisableOOMKiller) {
		w.none("/memory/disableOOMKiller", "the OOM killer cannot be turned off")
	}
	if value(m.Kernel) > 0 { //nolint:staticcheck // deprecated, but configurations have it
		w.none("/memory/kernel", "memory.max has the kernel's memory in it")
	}
	if value(m.KernelTCP) > 0 {
		w.none("/memory/kernelTCP", "memory.max has the memory of sockets in it")
	}
	if m.UseHierarchy != nil && !*m.UseHierarchy {
		w.none("/memory/useHierarchy", "the memory of children is always accounted")
	}
	w.swap(m)
	set := func(file, field string, v int64, more V2Only) {
		if v != 0 {
			w.put(file, orMax(v), "/memory/"+field, "set "+file+" to "+bytesText(v), more)
		}
	}
	var check V2Only
	if w.update && value(m.CheckBeforeUpdate) && value(m.Limit) > 0 {
		check.InUse = InUse{value(m.Limit), []string{"memory.current"}}
	}
	set("memory.max", "limit", value(m.Limit), check)
	set("memory.low", "reservation", value(m.Reservation), V2Only{})
}

// swap sets memory.swap.max, which is swap alone, from the specification's sum of memory and swap. An unlimited memory without a word on swap
// is unlimited swap too, as on v1, where a sum cannot be less. A kernel without swap accounting has no such file: then there is no limit, and
// "no swap" means a machine that has none (config of a CRI on nodes without swap), so both pass.
func (w *v2) swap(m *specs.LinuxMemory) {
	limit, sum, field := value(m.Limit), value(m.Swap), "/memory/swap"
	more := V2Only{}
	if w.update && value(m.CheckBeforeUpdate) && sum > 0 {
		more.InUse = InUse{sum, []string{"memory.current", "memory.swap.current"}}
	}
	put := func(value, label string) { w.put("memory.swap.max", value, field, label, more) }
	switch {
	case sum == 0 && limit < 0:
		field = "/memory/limit"
		fallthrough
	case sum < 0:
		more.Optional = true
		put("max", "set no limit of swap")
	case sum == 0:
	case limit > 0 && sum < limit:
		w.fail(field, fmt.Sprintf("memory and swap together (%d) are less than memory (%d)", sum, limit), errdefs.ErrInvalidArgument)
	case limit > 0:
		more.Optional = sum == limit
		put(strconv.FormatInt(sum-limit, 10), "set the limit of swap to "+bytesText(sum-limit))
	case limit == 0 && w.update:
		more.Live = LessMemoryMax
		put(strconv.FormatInt(sum, 10), "set the limit of memory and swap together to "+bytesText(sum))
	default:
		w.fail(field, "is memory and swap together: it needs a limit of memory", errdefs.ErrInvalidArgument)
	}
}

// isWeight says that a write is one of the CPU weight.
func isWeight(w Write) bool { return w.File == "cpu.weight" || w.File == "cpu.weight.nice" }

// IdleAndWeight says that a cgroup is to be idle and to have a CPU weight, which it cannot have then.
func IdleAndWeight(r *specs.LinuxResources) bool {
	_, weight := r.Unified["cpu.weight"]
	_, nice := r.Unified["cpu.weight.nice"]
	idle := strings.TrimSpace(r.Unified["cpu.idle"]) == "1"
	if c := r.CPU; c != nil {
		weight, idle = weight || value(c.Shares) != 0, idle || value(c.Idle) == 1
	}
	return idle && (weight || nice)
}

// weightOfShares converts cpu.shares (2 to 262144, default 1024) to cpu.weight (1 to 10000, default 100). The parabola through those three
// points on logarithmic scales keeps the defaults equal and the steps between small values apart, which the linear conversion of older runtimes does
// not; it is the one of runc 1.3.2 and crun 1.23 (kubernetes/kubernetes#131216, opencontainers/cgroups#20).
func weightOfShares(shares uint64) uint64 {
	const least, most = 2, 1 << 18
	if shares <= least {
		return 1
	}
	if shares >= most {
		return 10000
	}
	l := math.Log2(float64(shares))
	return uint64(math.Ceil(math.Pow(10, (l*l+125*l-126)/612)))
}

func (w *v2) cpu(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	if value(c.RealtimePeriod) != 0 {
		w.none("/cpu/realtimePeriod", "it does not control realtime processes")
	}
	if value(c.RealtimeRuntime) != 0 {
		w.none("/cpu/realtimeRuntime", "it does not control realtime processes")
	}
	if c.Idle != nil { // an idle cgroup has no weight to write: it is out of it before
		w.put("cpu.idle", strconv.FormatInt(*c.Idle, 10), "/cpu/idle", fmt.Sprintf("schedule as idle: %v", *c.Idle != 0), V2Only{Optional: *c.Idle == 0})
	}
	if s := value(c.Shares); s != 0 {
		n := strconv.FormatUint(weightOfShares(s), 10)
		w.put("cpu.weight", n, "/cpu/shares", fmt.Sprintf("set the CPU weight to %s (%d shares)", n, s), V2Only{})
	}
	w.cpuMax(value(c.Quota), value(c.Period))
	if c.Burst != nil { // behind the quota that it is checked against
		n := strconv.FormatUint(*c.Burst, 10)
		w.put("cpu.max.burst", n, "/cpu/burst", "set the CPU burst to "+n+" µs", V2Only{Optional: *c.Burst == 0})
	}
	if c.Cpus != "" {
		w.put("cpuset.cpus", c.Cpus, "/cpu/cpus", "allow CPUs "+c.Cpus, V2Only{})
	}
	if c.Mems != "" {
		w.put("cpuset.mems", c.Mems, "/cpu/mems", "allow memory nodes "+c.Mems, V2Only{})
	}
}

// cpuMax writes "QUOTA PERIOD". The kernel takes a quota alone and keeps the period.
func (w *v2) cpuMax(quota int64, period uint64) {
	p := strconv.FormatUint(period, 10)
	switch {
	case quota == 0 && period == 0:
	case period == 0:
		w.put("cpu.max", orMax(quota), "/cpu/quota", "set the CPU quota to "+orMax(quota)+" µs a period", V2Only{})
	case quota == 0:
		w.put("cpu.max", "max "+p, "/cpu/period", "set the CPU period to "+p+" µs", V2Only{Live: KeepFirst})
	default:
		w.put("cpu.max", orMax(quota)+" "+p, "/cpu/quota", "set the CPU quota to "+orMax(quota)+" of "+p+" µs", V2Only{})
	}
}

func (w *v2) pids(p *specs.LinuxPids) {
	if p != nil && p.Limit != nil {
		w.put("pids.max", orMax(*p.Limit), "/pids/limit", "limit tasks to "+orMax(*p.Limit), V2Only{})
	}
}

// ioWeight converts blkio.weight (10 to 1000) to io.weight (1 to 10000).
func ioWeight(v uint16) uint64 { return 1 + (uint64(max(v, 10))-10)*9999/990 }

func (w *v2) blockIO(b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	if value(b.LeafWeight) != 0 {
		w.none("/blockIO/leafWeight", "processes and children do not compete")
	}
	// The BFQ scheduler takes the specification's weights as they are; without it the file is not there, and the cost model has its own range.
	weight := func(who string, v uint16, field, label string) {
		if v == 0 {
			return
		}
		n := strconv.Itoa(int(v))
		if who != "default" { // a number alone is the default, also for kernels that do not know the word there
			n = who + " " + n
		}
		w.put("io.bfq.weight", n, field, label, V2Only{
			Else: &Write{Controller: "io", File: "io.weight", Value: fmt.Sprintf("%s %d", who, ioWeight(v)), Source: w.prefix + field, Label: label}})
	}
	weight("default", value(b.Weight), "/blockIO/weight", "set the I/O weight")
	for i, d := range b.WeightDevice {
		field := fmt.Sprintf("/blockIO/weightDevice/%d", i)
		if value(d.LeafWeight) != 0 {
			w.none(field+"/leafWeight", "processes and children do not compete")
		}
		dev := fmt.Sprintf("%d:%d", d.Major, d.Minor)
		weight(dev, value(d.Weight), field, "set the I/O weight of "+dev)
	}
	w.ioMax(b)
}

// ioMax writes one line of io.max a device, with all its limits. A rate of 0 is no limit, as in the files of v1.
func (w *v2) ioMax(b *specs.LinuxBlockIO) {
	type device struct{ name, keys, field string }
	var devices []device
	for _, t := range []struct {
		key, field string
		list       []specs.LinuxThrottleDevice
	}{
		{"rbps", "throttleReadBpsDevice", b.ThrottleReadBpsDevice}, {"wbps", "throttleWriteBpsDevice", b.ThrottleWriteBpsDevice},
		{"riops", "throttleReadIOPSDevice", b.ThrottleReadIOPSDevice}, {"wiops", "throttleWriteIOPSDevice", b.ThrottleWriteIOPSDevice},
	} {
		for i, d := range t.list {
			name := fmt.Sprintf("%d:%d", d.Major, d.Minor)
			at := slices.IndexFunc(devices, func(x device) bool { return x.name == name })
			if at < 0 {
				devices = append(devices, device{name: name, field: fmt.Sprintf("/blockIO/%s/%d", t.field, i)})
				at = len(devices) - 1
			}
			rate := "max"
			if d.Rate != 0 {
				rate = strconv.FormatUint(d.Rate, 10)
			}
			devices[at].keys += " " + t.key + "=" + rate
		}
	}
	for _, d := range devices {
		w.put("io.max", d.name+d.keys, d.field, "throttle the device "+d.name, V2Only{})
	}
}

func (w *v2) hugetlb(list []specs.LinuxHugepageLimit) {
	for i, h := range list {
		field := fmt.Sprintf("/hugepageLimits/%d", i)
		limit := strconv.FormatUint(h.Limit, 10)
		if h.Limit == math.MaxUint64 {
			limit = "max"
		}
		w.put("hugetlb."+h.Pagesize+".max", limit, field, "limit huge pages of "+h.Pagesize, V2Only{})
		// Since Linux 5.7; before, the limit of pages is all there is.
		w.put("hugetlb."+h.Pagesize+".rsvd.max", limit, field, "limit reservations of huge pages of "+h.Pagesize, V2Only{Optional: true})
	}
}

func (w *v2) rdma(m map[string]specs.LinuxRdma) {
	for _, dev := range sortedKeys(m) {
		line := dev
		set := func(key string, v *uint32) {
			switch {
			case v == nil:
			case *v == math.MaxUint32:
				line += " " + key + "=max"
			default:
				line += fmt.Sprintf(" %s=%d", key, *v)
			}
		}
		set("hca_handle", m[dev].HcaHandles)
		set("hca_object", m[dev].HcaObjects)
		if line != dev {
			w.put("rdma.max", line, "/rdma/"+pointerPart(dev), "limit the RDMA device "+dev, V2Only{})
		}
	}
}

func (w *v2) network(n *specs.LinuxNetwork) {
	if n == nil {
		return
	}
	if value(n.ClassID) != 0 {
		w.none("/network/classID", "net_cls is a controller of v1")
	}
	if len(n.Priorities) > 0 {
		w.none("/network/priorities", "net_prio is a controller of v1")
	}
}

// ours are the core files that a configuration may write: the others place processes, start, stop and kill, which is the runtime's.
var ours = []string{"cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"}

// unified writes files by their name, after all else (config-linux.md, "Unified"). A value of several lines is as many writes: the kernel takes one
// line a write.
func (w *v2) unified(m map[string]string) {
	for _, name := range sortedKeys(m) {
		field := "/unified/" + pointerPart(name)
		controller, rest, _ := strings.Cut(name, ".")
		switch {
		case controller == "" || rest == "" || strings.ContainsAny(name, "/\n\x00"):
			w.fail(field, "is no name of a cgroup file (CONTROLLER.FILE)", errdefs.ErrInvalidArgument)
			continue
		case controller == "cgroup" && !slices.Contains(ours, name):
			w.fail(field, "is not for a configuration: of the core files only "+strings.Join(ours, ", ")+" are", errdefs.ErrInvalidArgument)
			continue
		}
		wrote := false
		for line := range strings.SplitSeq(m[name], "\n") {
			if strings.TrimSpace(line) != "" {
				wrote = true
				w.put(name, line, field, "write "+line+" to "+name, V2Only{})
			}
		}
		if !wrote { // a write of no bytes does not reach the kernel's file
			w.put(name, "\n", field, "empty "+name, V2Only{})
		}
	}
}

// pointerPart escapes a name in a JSON pointer (RFC 6901, section 3).
func pointerPart(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }
