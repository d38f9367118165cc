package wire

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	eventsapi "github.com/containerd/containerd/api/events"
	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
	eventsttrpc "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.io/shim/shim/wire"
)

// pairs are our messages and containerd's. Messages in messages come with them.
var pairs = []struct {
	ours   wire.Message
	theirs proto.Message
}{
	{&wire.Any{}, &anypb.Any{}}, {&wire.Timestamp{}, &timestamppb.Timestamp{}}, {&wire.Empty{}, &emptypb.Empty{}},
	{&wire.Request{}, &ttrpc.Request{}}, {&wire.Response{}, &ttrpc.Response{}},
	{&wire.CreateTaskRequest{}, &taskapi.CreateTaskRequest{}}, {&wire.CreateTaskResponse{}, &taskapi.CreateTaskResponse{}},
	{&wire.StartRequest{}, &taskapi.StartRequest{}}, {&wire.StartResponse{}, &taskapi.StartResponse{}},
	{&wire.DeleteRequest{}, &taskapi.DeleteRequest{}}, {&wire.DeleteResponse{}, &taskapi.DeleteResponse{}},
	{&wire.ExecProcessRequest{}, &taskapi.ExecProcessRequest{}}, {&wire.ResizePtyRequest{}, &taskapi.ResizePtyRequest{}},
	{&wire.StateRequest{}, &taskapi.StateRequest{}}, {&wire.StateResponse{}, &taskapi.StateResponse{}},
	{&wire.KillRequest{}, &taskapi.KillRequest{}}, {&wire.CloseIORequest{}, &taskapi.CloseIORequest{}},
	{&wire.PidsRequest{}, &taskapi.PidsRequest{}}, {&wire.PidsResponse{}, &taskapi.PidsResponse{}},
	{&wire.CheckpointTaskRequest{}, &taskapi.CheckpointTaskRequest{}}, {&wire.UpdateTaskRequest{}, &taskapi.UpdateTaskRequest{}},
	{&wire.WaitRequest{}, &taskapi.WaitRequest{}}, {&wire.WaitResponse{}, &taskapi.WaitResponse{}},
	{&wire.StatsRequest{}, &taskapi.StatsRequest{}}, {&wire.StatsResponse{}, &taskapi.StatsResponse{}},
	{&wire.ConnectRequest{}, &taskapi.ConnectRequest{}}, {&wire.ConnectResponse{}, &taskapi.ConnectResponse{}},
	{&wire.ShutdownRequest{}, &taskapi.ShutdownRequest{}}, {&wire.PauseRequest{}, &taskapi.PauseRequest{}}, {&wire.ResumeRequest{}, &taskapi.ResumeRequest{}},
	{&wire.ForwardRequest{}, &eventsttrpc.ForwardRequest{}},
	{&wire.TaskCreate{}, &eventsapi.TaskCreate{}}, {&wire.TaskStart{}, &eventsapi.TaskStart{}}, {&wire.TaskExit{}, &eventsapi.TaskExit{}},
	{&wire.TaskDelete{}, &eventsapi.TaskDelete{}}, {&wire.TaskOOM{}, &eventsapi.TaskOOM{}}, {&wire.TaskExecAdded{}, &eventsapi.TaskExecAdded{}},
	{&wire.TaskExecStarted{}, &eventsapi.TaskExecStarted{}}, {&wire.TaskPaused{}, &eventsapi.TaskPaused{}}, {&wire.TaskResumed{}, &eventsapi.TaskResumed{}},
	{&wire.TaskCheckpointed{}, &eventsapi.TaskCheckpointed{}},
	{&wire.Options{}, &runcopts.Options{}}, {&wire.CheckpointOptions{}, &runcopts.CheckpointOptions{}}, {&wire.ProcessDetails{}, &runcopts.ProcessDetails{}},
	{&wire.BootstrapParams{}, &bootapi.BootstrapParams{}}, {&wire.BootstrapResult{}, &bootapi.BootstrapResult{}},
	{&wire.RuntimeInfo{}, &types.RuntimeInfo{}}, {&wire.MetricsV1{}, &v1.Metrics{}}, {&wire.MetricsV2{}, &v2.Metrics{}},
}

// absent are fields that we do not have, by their full names: nothing is to be sent in them, and what comes is skipped.
var absent = map[protoreflect.FullName]bool{"containerd.runtime.bootstrap.v1.BootstrapResult.capabilities": true}

// filler fills messages: which of the fields, and with what.
type filler struct {
	rnd *rand.Rand
	// part is the share of fields that are set.
	part float64
}

// number is often one of those at which the encoding's length or sign changes.
func (f *filler) number() uint64 {
	switch f.rnd.IntN(4) {
	case 0:
		return uint64(f.rnd.IntN(2))
	case 1:
		return 1<<(7*f.rnd.IntN(10)) - uint64(f.rnd.IntN(2))
	case 2:
		return -uint64(f.rnd.IntN(300))
	}
	return f.rnd.Uint64()
}

// text is sometimes empty and sometimes longer than one byte's length says.
func (f *filler) text() string {
	return strings.Repeat([]string{"a", "ü", "\x00", "日本"}[f.rnd.IntN(4)], f.rnd.IntN(4)*f.rnd.IntN(60))
}

func (f *filler) value(d protoreflect.FieldDescriptor) protoreflect.Value {
	switch d.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(f.text())
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(f.text() + "\xff"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(f.rnd.IntN(2) == 0)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(f.number()))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(f.number())
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(f.number()))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(f.number()))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(f.number())))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, math.Copysign(0, -1), 1.5, math.Inf(1), f.rnd.NormFloat64()}[f.rnd.IntN(5)])
	}
	panic(fmt.Sprintf("%s: a field of kind %v", d.FullName(), d.Kind()))
}

func (f *filler) fill(m protoreflect.Message) {
	for i := range m.Descriptor().Fields().Len() {
		if d := m.Descriptor().Fields().Get(i); !absent[d.FullName()] && f.rnd.Float64() < f.part {
			f.field(m, d)
		}
	}
}

func (f *filler) field(m protoreflect.Message, d protoreflect.FieldDescriptor) {
	switch {
	case d.IsMap():
		for range f.rnd.IntN(3) + 1 {
			m.Mutable(d).Map().Set(f.value(d.MapKey()).MapKey(), f.value(d.MapValue()))
		}
	case d.IsList():
		for range f.rnd.IntN(3) + 1 {
			if l := m.Mutable(d).List(); d.Message() != nil {
				f.fill(l.AppendMutable().Message())
			} else {
				l.Append(f.value(d))
			}
		}
	case d.Message() != nil:
		f.fill(m.Mutable(d).Message())
	default:
		m.Set(d, f.value(d))
	}
}

func newOf[T any](like T) T { return reflect.New(reflect.TypeOf(like).Elem()).Interface().(T) }

// encode is theirs, in the order of the fields and of the keys of maps.
func encode(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestRoundTrip fills containerd's messages and takes them through ours: what we write of them is the same, byte for byte, and what we append to is kept.
func TestRoundTrip(t *testing.T) {
	const rounds = 200
	for _, p := range pairs {
		name := p.theirs.ProtoReflect().Descriptor().FullName()
		f := &filler{rand.New(rand.NewPCG(1, 2)), 1}
		for i := range rounds {
			if i > rounds/2 {
				f.part = f.rnd.Float64()
			}
			theirs, ours := newOf(p.theirs), newOf(p.ours)
			f.fill(theirs.ProtoReflect())
			want := encode(t, theirs)
			if err := wire.UnmarshalKnown(want, ours); err != nil {
				t.Fatalf("%s: %v of %v", name, err, theirs)
			}
			got, err := wire.Append([]byte("before"), ours)
			if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Fatalf("%s: %v became (%v)\n%x\nwant\n%x", name, theirs, err, got[min(len(got), 6):], want)
			}
		}
	}
}

// TestFieldNames sets each field of containerd's messages alone, also those of messages in messages: ours has the value in the field of that name, and in no other.
func TestFieldNames(t *testing.T) {
	f := &filler{rand.New(rand.NewPCG(3, 4)), 1}
	for _, p := range pairs {
		checkNames(t, f, p.ours, p.theirs, map[reflect.Type]bool{})
	}
}

func checkNames(t *testing.T, f *filler, ours wire.Message, theirs proto.Message, seen map[reflect.Type]bool) {
	t.Helper()
	if seen[reflect.TypeOf(theirs)] {
		return
	}
	seen[reflect.TypeOf(theirs)] = true
	fields := theirs.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		d := fields.Get(i)
		if absent[d.FullName()] {
			continue
		}
		m, o := newOf(theirs), newOf(ours)
		for tries := 0; !m.ProtoReflect().Has(d) && tries < 100; tries++ {
			f.field(m.ProtoReflect(), d)
		}
		if err := wire.UnmarshalKnown(encode(t, m), o); err != nil {
			t.Errorf("%s: %v", d.FullName(), err)
			continue
		}
		at := reflect.ValueOf(o).Elem()
		for j := range at.NumField() {
			name := at.Type().Field(j).Name
			is := strings.EqualFold(name, strings.ReplaceAll(string(d.Name()), "_", ""))
			if is == at.Field(j).IsZero() {
				t.Errorf("%s of %v is set: %s is %v", d.FullName(), m, name, at.Field(j))
			}
			if is && d.Message() != nil && !d.IsMap() {
				checkNested(t, f, at.Field(j), m.ProtoReflect().Get(d), seen)
			}
		}
	}
}

func checkNested(t *testing.T, f *filler, ours reflect.Value, theirs protoreflect.Value, seen map[reflect.Type]bool) {
	t.Helper()
	if l, ok := theirs.Interface().(protoreflect.List); ok {
		theirs, ours = l.Get(0), ours.Index(0)
	}
	checkNames(t, f, ours.Interface().(wire.Message), theirs.Message().Interface(), seen)
}

// TestNames has the names that our messages have in an Any.
func TestNames(t *testing.T) {
	n := 0
	for _, p := range pairs {
		if m, ok := p.ours.(wire.Named); ok {
			n++
			if got, want := wire.NameOf(m), string(p.theirs.ProtoReflect().Descriptor().FullName()); got != want {
				t.Errorf("%T is called %s, want %s", p.ours, got, want)
			}
		}
	}
	if n < 15 {
		t.Errorf("%d messages have a name", n)
	}
	for s, want := range map[wire.TaskStatus]task.Status{wire.StatusUnknown: task.Status_UNKNOWN, wire.StatusCreated: task.Status_CREATED, wire.StatusRunning: task.Status_RUNNING,
		wire.StatusStopped: task.Status_STOPPED, wire.StatusPaused: task.Status_PAUSED, wire.StatusPausing: task.Status_PAUSING} {
		if int32(s) != int32(want) {
			t.Errorf("%v is %d", want, s)
		}
	}
}

// agree decodes data with both: both take it or neither does, and it is the same message to both.
func agree(t *testing.T, ours wire.Message, theirs proto.Message, data []byte) {
	t.Helper()
	m, o := newOf(theirs), newOf(ours)
	want := proto.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
	got := wire.Unmarshal(data, o)
	if (got == nil) != (want == nil) {
		t.Fatalf("%T of %x: %v, theirs says: %v", ours, data, got, want)
	}
	if got != nil {
		return
	}
	m.ProtoReflect().Range(func(d protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if absent[d.FullName()] {
			m.ProtoReflect().Clear(d)
		}
		return true
	})
	again, err := wire.Marshal(o)
	back := newOf(theirs)
	if err == nil {
		err = proto.Unmarshal(again, back)
	}
	if err != nil || !bytes.Equal(encode(t, back), encode(t, m)) {
		t.Fatalf("%T of %x became %v (%v), theirs says %v", ours, data, back, err, m)
	}
}

// TestDamaged cuts, changes and joins encoded messages.
func TestDamaged(t *testing.T) {
	const rounds = 2000
	for k, p := range pairs {
		f := &filler{rand.New(rand.NewPCG(5, uint64(k))), 0.5}
		for range rounds {
			theirs := newOf(p.theirs)
			f.fill(theirs.ProtoReflect())
			data := encode(t, theirs)
			for range f.rnd.IntN(3) + 1 {
				data = damage(f.rnd, data)
			}
			agree(t, p.ours, p.theirs, data)
		}
	}
}

func damage(rnd *rand.Rand, data []byte) []byte {
	at := rnd.IntN(len(data) + 1)
	switch rnd.IntN(5) {
	case 0:
		return data[:at]
	case 1:
		return data[at:]
	case 2:
		return append(bytes.Clone(data), data[at:]...) // fields that come twice
	case 3:
		return append(append(bytes.Clone(data[:at]), byte(rnd.IntN(256))), data[at:]...)
	}
	if at < len(data) {
		data = bytes.Clone(data)
		data[at] ^= 1 << rnd.IntN(8)
	}
	return data
}

// FuzzAgree is TestDamaged for the fuzzer, which chooses the message too.
func FuzzAgree(f *testing.F) {
	for k, p := range pairs {
		fill := &filler{rand.New(rand.NewPCG(7, 8)), 1}
		m := newOf(p.theirs)
		fill.fill(m.ProtoReflect())
		data, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(k, data)
	}
	f.Add(0, []byte("\x0b\x0b\x0c\x0c")) // groups
	f.Fuzz(func(t *testing.T, k int, data []byte) {
		p := pairs[uint(k)%uint(len(pairs))]
		agree(t, p.ours, p.theirs, data)
	})
}

// TestNoUTF8 must be refused when it is written: containerd would not read it.
func TestNoUTF8(t *testing.T) {
	for _, m := range []wire.Message{&wire.TaskOOM{ContainerID: "\xff"}, &wire.Mount{Options: []string{"a", "\xc3"}}, &wire.RuntimeInfo{Annotations: map[string]string{"a": "\xff"}},
		&wire.StateResponse{ExitedAt: &wire.Timestamp{}, ExecID: "\xed\xa0\x80"}, &wire.BootstrapParams{Extensions: []*wire.Extension{{Value: &wire.Any{TypeUrl: "\xff"}}}}} {
		if data, err := wire.Marshal(m); err == nil {
			t.Errorf("%+v became %x", m, data)
		}
	}
}
