// Package wire holds the shim's own messages and RPC against containerd's: the types, the client and the server that containerd itself is built with.
package wire

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	taskv2 "github.com/containerd/containerd/api/runtime/task/v2"
	taskv3 "github.com/containerd/containerd/api/runtime/task/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// form lists what decides about the bytes of a message: of each field, by number, its kind, its cardinality and the form of its own message. Messages
// are named in the order in which they are met, so that those that hold themselves, directly or not, end too.
func form(m protoreflect.MessageDescriptor, met map[protoreflect.FullName]int, to map[string]string) {
	if _, ok := met[m.FullName()]; ok {
		return
	}
	name := fmt.Sprint("message ", len(met))
	met[m.FullName()] = len(met)
	fields := m.Fields()
	for _, i := range byNumber(fields) {
		f := fields.Get(i)
		line := fmt.Sprintf("%v %v packed=%t presence=%t map=%t", f.Kind(), f.Cardinality(), f.IsPacked(), f.HasPresence(), f.IsMap())
		if one := f.ContainingOneof(); one != nil {
			line += fmt.Sprint(" oneof ", one.Index())
		}
		if f.Message() != nil {
			form(f.Message(), met, to)
			line += fmt.Sprint(" of message ", met[f.Message().FullName()])
		}
		if e := f.Enum(); e != nil {
			for j := range e.Values().Len() {
				line += fmt.Sprintf(" %s=%d", e.Values().Get(j).Name(), e.Values().Get(j).Number())
			}
		}
		to[fmt.Sprintf("%s field %d", name, f.Number())] = line
	}
	to[name] = fmt.Sprintf("%d fields, message set %t", fields.Len(), m.IsMapEntry())
}

func byNumber(fields protoreflect.FieldDescriptors) []int {
	list := make([]int, fields.Len())
	for i := range list {
		list[i] = i
	}
	slices.SortFunc(list, func(a, b int) int { return int(fields.Get(a).Number() - fields.Get(b).Number()) })
	return list
}

func formOf(m protoreflect.MessageDescriptor) map[string]string {
	to := map[string]string{}
	form(m, map[protoreflect.FullName]int{}, to)
	return to
}

// diff lists how two forms differ.
func diff(a, b map[string]string) (list []string) {
	keys := maps.Clone(a)
	maps.Copy(keys, b)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if a[k] != b[k] {
			list = append(list, fmt.Sprintf("%s: %q and %q", k, a[k], b[k]))
		}
	}
	return list
}

// services are the two versions of the Task service.
func services(t *testing.T) (v2, v3 protoreflect.ServiceDescriptor) {
	t.Helper()
	find := func(file protoreflect.FileDescriptor, name string) protoreflect.ServiceDescriptor {
		s := file.Services().ByName("Task")
		if s == nil || string(s.FullName()) != name {
			t.Fatalf("%s has no service %s", file.Path(), name)
		}
		return s
	}
	v2 = find((&taskv2.StateRequest{}).ProtoReflect().Descriptor().ParentFile(), "containerd.task.v2.Task")
	v3 = find((&taskv3.StateRequest{}).ProtoReflect().Descriptor().ParentFile(), "containerd.task.v3.Task")
	return v2, v3
}

// TestVersionsAreTheSame holds what lets one implementation serve both versions: each method has messages of the same form.
func TestVersionsAreTheSame(t *testing.T) {
	v2, v3 := services(t)
	if v2.Methods().Len() != v3.Methods().Len() {
		t.Errorf("%d methods in version 2, %d in version 3", v2.Methods().Len(), v3.Methods().Len())
	}
	for i := range v3.Methods().Len() {
		new := v3.Methods().Get(i)
		old := v2.Methods().ByName(new.Name())
		if old == nil {
			t.Errorf("%s is in version 3 only", new.Name())
			continue
		}
		if old.IsStreamingClient() || old.IsStreamingServer() || new.IsStreamingClient() || new.IsStreamingServer() {
			t.Errorf("%s streams", new.Name())
		}
		for _, d := range diff(formOf(old.Input()), formOf(new.Input())) {
			t.Errorf("request of %s: %s", new.Name(), d)
		}
		for _, d := range diff(formOf(old.Output()), formOf(new.Output())) {
			t.Errorf("answer of %s: %s", new.Name(), d)
		}
	}
}

// TestFormSeesDifferences compares messages that differ, so that the comparison above says something.
func TestFormSeesDifferences(t *testing.T) {
	cases := []struct {
		a, b proto.Message
		same bool
	}{
		{&taskv2.CreateTaskRequest{}, &taskv3.CreateTaskRequest{}, true},
		{&taskv2.StartRequest{}, &taskv3.DeleteRequest{}, true},               // two texts
		{&taskv2.StartRequest{}, &taskv3.PidsRequest{}, false},                // one text
		{&taskv2.PidsRequest{}, &taskv3.StartResponse{}, false},               // a text, a number
		{&taskv2.CloseIORequest{}, &taskv3.ResizePtyRequest{}, false},         // a bool, two numbers
		{&taskv2.StatsResponse{}, &taskv3.PidsResponse{}, false},              // one message, many
		{&taskv2.WaitResponse{}, &taskv3.StateResponse{}, false},              // more
		{&taskv2.CheckpointTaskRequest{}, &taskv3.UpdateTaskRequest{}, false}, // other numbers
	}
	for _, c := range cases {
		d := diff(formOf(c.a.ProtoReflect().Descriptor()), formOf(c.b.ProtoReflect().Descriptor()))
		if (len(d) == 0) != c.same {
			t.Errorf("%s and %s differ in %q, want the same: %t", c.a.ProtoReflect().Descriptor().FullName(), c.b.ProtoReflect().Descriptor().FullName(), d, c.same)
		}
	}
}
