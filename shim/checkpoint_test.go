package shim

import (
	"reflect"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.io/shim/process"
)

func TestCheckpointRequest(t *testing.T) {
	all := &runcopts.CheckpointOptions{Exit: true, OpenTcp: true, ExternalUnixSockets: true, Terminal: true, FileLocks: true, EmptyNamespaces: []string{"network"},
		CgroupsMode: "full", ImagePath: "/eight", WorkPath: "/nine"}
	encode := func(url string, m *runcopts.CheckpointOptions) *anypb.Any {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return &anypb.Any{TypeUrl: url, Value: data}
	}
	want := process.CheckpointRequest{ImagePath: "/path", WorkPath: "/nine", Exit: true, OpenTCP: true, ExternalUnixSockets: true, Terminal: true, FileLocks: true,
		EmptyNamespaces: []string{"network"}, CgroupsMode: "full"}
	byOption := want
	byOption.ImagePath = "/eight"
	old := want
	old.ImagePath, old.WorkPath = "/nine", "/eight"
	for name, c := range map[string]struct {
		path    string
		options *anypb.Any
		want    process.CheckpointRequest
		err     string
	}{
		"nothing":            {"/path", nil, process.CheckpointRequest{ImagePath: "/path"}, ""},
		"empty":              {"/path", &anypb.Any{}, process.CheckpointRequest{ImagePath: "/path"}, ""},
		"all":                {"/path", encode("containerd.runc.v1.CheckpointOptions", all), want, ""},
		"with a host":        {"/path", encode("type.googleapis.com/containerd.runc.v1.CheckpointOptions", all), want, ""},
		"path in the option": {"", encode("containerd.runc.v1.CheckpointOptions", all), byOption, ""},
		"old":                {"", encode("containerd.linux.runc.CheckpointOptions", all), old, ""},
		"parent": {"/path", encode("containerd.runc.v1.CheckpointOptions", &runcopts.CheckpointOptions{ParentPath: "../p"}),
			process.CheckpointRequest{ImagePath: "/path", ParentPath: "../p"}, ""},
		"no path":          {"", nil, process.CheckpointRequest{}, "path"},
		"relative":         {"a", nil, process.CheckpointRequest{}, `path "a"`},
		"relative work":    {"/path", encode("containerd.runc.v1.CheckpointOptions", &runcopts.CheckpointOptions{WorkPath: "w"}), process.CheckpointRequest{}, `work_path "w"`},
		"other type":       {"/path", encode("containerd.runc.v1.Options", all), process.CheckpointRequest{}, `"containerd.runc.v1.Options"`},
		"no message":       {"/path", &anypb.Any{TypeUrl: "containerd.runc.v1.CheckpointOptions", Value: []byte("\xff")}, process.CheckpointRequest{}, "not a message"},
		"wrong wire type":  {"/path", &anypb.Any{TypeUrl: "containerd.runc.v1.CheckpointOptions", Value: text(1, "x")}, process.CheckpointRequest{}, "field 1"},
		"unknown field":    {"/path", &anypb.Any{TypeUrl: "containerd.runc.v1.CheckpointOptions", Value: text(99, "x")}, process.CheckpointRequest{}, "field 99"},
		"parent in an old": {"/path", encode("containerd.linux.runc.CheckpointOptions", &runcopts.CheckpointOptions{ParentPath: "p"}), process.CheckpointRequest{}, "field 10"},
	} {
		got, err := checkpointRequest(&taskapi.CheckpointTaskRequest{ID: "c", Path: c.path, Options: c.options})
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(toGRPC(err).Error(), codes.InvalidArgument.String()) {
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
	_, conn, _ := newService(t, r)
	c := client{t, conn}
	q := createRequest(t)
	q.Checkpoint = "/from"
	c.ok("Create", q, &taskapi.CreateTaskResponse{})
	if r.asked[0].Checkpoint != "/from" {
		t.Errorf("asked for %+v", r.asked[0])
	}
	c.fails("Checkpoint", &taskapi.CheckpointTaskRequest{ID: q.GetID(), Path: "/to"}, codes.FailedPrecondition, "checkpoint", "created")
	c.ok("Start", &taskapi.StartRequest{ID: q.GetID()}, &taskapi.StartResponse{})
	c.ok("Checkpoint", &taskapi.CheckpointTaskRequest{ID: q.GetID(), Path: "/to"}, &emptypb.Empty{})
	if len(r.handle.dumps) != 1 || r.handle.dumps[0].ImagePath != "/to" {
		t.Errorf("dumped %+v", r.handle.dumps)
	}
	c.ok("Kill", &taskapi.KillRequest{ID: q.GetID(), Signal: 9}, &emptypb.Empty{})
	c.ok("Wait", &taskapi.WaitRequest{ID: q.GetID()}, &taskapi.WaitResponse{})
	c.ok("Delete", &taskapi.DeleteRequest{ID: q.GetID()}, &taskapi.DeleteResponse{})
}
