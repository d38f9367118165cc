package shim

import (
	"reflect"
	"strings"
	"testing"

	"example.io/shim/process"
	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

func TestCheckpointRequest(t *testing.T) {
	all := &wire.CheckpointOptions{Exit: true, OpenTcp: true, ExternalUnixSockets: true, Terminal: true, FileLocks: true, EmptyNamespaces: []string{"network"},
		CgroupsMode: "full", ImagePath: "/eight", WorkPath: "/nine"}
	encode := func(url string, m *wire.CheckpointOptions) *wire.Any {
		data, err := wire.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return &wire.Any{TypeUrl: url, Value: data}
	}
	want := process.CheckpointRequest{ImagePath: "/path", WorkPath: "/nine", Exit: true, OpenTCP: true, ExternalUnixSockets: true, Terminal: true, FileLocks: true,
		EmptyNamespaces: []string{"network"}, CgroupsMode: "full"}
	byOption := want
	byOption.ImagePath = "/eight"
	old := want
	old.ImagePath, old.WorkPath = "/nine", "/eight"
	for name, c := range map[string]struct {
		path    string
		options *wire.Any
		want    process.CheckpointRequest
		err     string
	}{
		"nothing":            {"/path", nil, process.CheckpointRequest{ImagePath: "/path"}, ""},
		"empty":              {"/path", &wire.Any{}, process.CheckpointRequest{ImagePath: "/path"}, ""},
		"all":                {"/path", encode("containerd.runc.v1.CheckpointOptions", all), want, ""},
		"with a host":        {"/path", encode("type.googleapis.com/containerd.runc.v1.CheckpointOptions", all), want, ""},
		"path in the option": {"", encode("containerd.runc.v1.CheckpointOptions", all), byOption, ""},
		"old":                {"", encode("containerd.linux.runc.CheckpointOptions", all), old, ""},
		"parent": {"/path", encode("containerd.runc.v1.CheckpointOptions", &wire.CheckpointOptions{ParentPath: "../p"}),
			process.CheckpointRequest{ImagePath: "/path", ParentPath: "../p"}, ""},
		"no path":          {"", nil, process.CheckpointRequest{}, "path"},
		"relative":         {"a", nil, process.CheckpointRequest{}, `path "a"`},
		"relative work":    {"/path", encode("containerd.runc.v1.CheckpointOptions", &wire.CheckpointOptions{WorkPath: "w"}), process.CheckpointRequest{}, `work_path "w"`},
		"other type":       {"/path", encode("containerd.runc.v1.Options", all), process.CheckpointRequest{}, `"containerd.runc.v1.Options"`},
		"no message":       {"/path", &wire.Any{TypeUrl: "containerd.runc.v1.CheckpointOptions", Value: []byte("\xff")}, process.CheckpointRequest{}, "not a message"},
		"wrong wire type":  {"/path", &wire.Any{TypeUrl: "containerd.runc.v1.CheckpointOptions", Value: text(1, "x")}, process.CheckpointRequest{}, "field 1"},
		"unknown field":    {"/path", &wire.Any{TypeUrl: "containerd.runc.v1.CheckpointOptions", Value: text(99, "x")}, process.CheckpointRequest{}, "field 99"},
		"parent in an old": {"/path", encode("containerd.linux.runc.CheckpointOptions", &wire.CheckpointOptions{ParentPath: "p"}), process.CheckpointRequest{}, "field 10"},
	} {
		got, err := checkpointRequest(&wire.CheckpointTaskRequest{ID: "c", Path: c.path, Options: c.options})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(coded(err).Error(), ttrpc.InvalidArgument.String()) {
				t.Errorf("%s: %v, want InvalidArgument with %q", name, err, c.err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, c.want)
		}
	}
}

// TestCheckpointService: a request arrives, and so does the checkpoint of a create.
func TestCheckpointService(t *testing.T) {
	r := &fakeRuntime{}
	_, path, _ := newService(t, r)
	c := client{t, dial(t, path)}
	q := createRequest(t)
	q.Checkpoint = "/from"
	c.ok("Create", q, &wire.CreateTaskResponse{})
	if r.asked[0].Checkpoint != "/from" {
		t.Errorf("asked for %+v", r.asked[0])
	}
	c.fails("Checkpoint", &wire.CheckpointTaskRequest{ID: q.ID, Path: "/to"}, ttrpc.FailedPrecondition, "checkpoint", "created")
	c.ok("Start", &wire.StartRequest{ID: q.ID}, &wire.StartResponse{})
	c.ok("Checkpoint", &wire.CheckpointTaskRequest{ID: q.ID, Path: "/to"}, &wire.Empty{})
	if len(r.handle.dumps) != 1 || r.handle.dumps[0].ImagePath != "/to" {
		t.Errorf("dumped %+v", r.handle.dumps)
	}
	c.ok("Kill", &wire.KillRequest{ID: q.ID, Signal: 9}, &wire.Empty{})
	c.ok("Wait", &wire.WaitRequest{ID: q.ID}, &wire.WaitResponse{})
	c.ok("Delete", &wire.DeleteRequest{ID: q.ID}, &wire.DeleteResponse{})
}
