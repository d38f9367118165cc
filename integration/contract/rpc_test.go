package contract

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.io/shim/integration/daemon"
)

// eachService runs f under every containerd, with both services.
func eachService(t *testing.T, f func(t *testing.T, d *daemon.Daemon, service string)) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for name, service := range map[string]string{"v2": taskV2, "v3": taskV3} {
			t.Run(name, func(t *testing.T) { f(t, d, service) })
		}
	})
}

// newShim starts a shim without a container, to be talked to by one of the services.
func newShim(t *testing.T, d *daemon.Daemon, service string, args ...string) *raw {
	t.Helper()
	r := newRaw(t, d, args).start()
	r.service = service
	return r
}

func (r *raw) execRequest(id string, args ...string) *taskapi.ExecProcessRequest {
	r.t.Helper()
	data, err := json.Marshal(specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin"}})
	r.ok(err)
	return &taskapi.ExecProcessRequest{ID: r.id, ExecID: id, Spec: anyOf("types.containerd.io/opencontainers/runtime-spec/1/Process", data)}
}

// exec adds an exec and starts it.
func (r *raw) exec(id string, args ...string) {
	r.t.Helper()
	r.ok(r.errOf("Exec", r.execRequest(id, args...)))
	r.begin(id)
}

func (r *raw) state(execID string) *taskapi.StateResponse {
	r.t.Helper()
	a, err := ask[taskapi.StateResponse](r, "State", &taskapi.StateRequest{ID: r.id, ExecID: execID})
	r.ok(err)
	return a
}

func (r *raw) status(what string, want task.Status) {
	r.t.Helper()
	if got := r.state("").GetStatus(); got != want {
		r.t.Errorf("%s: status %s, want %s", what, got, want)
	}
}

// limits is an update of the container's memory.
func (r *raw) limits(json string) *taskapi.UpdateTaskRequest {
	return &taskapi.UpdateTaskRequest{ID: r.id, Resources: anyOf("types.containerd.io/opencontainers/runtime-spec/1/LinuxResources", []byte(json))}
}

// TestUnknown: every method says NotFound of a container and of an exec that it does not know.
func TestUnknown(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		r.begin("")
		known := r.id
		for _, exec := range []string{"", "nosuch"} {
			id := "nosuch"
			if exec != "" {
				id = known
			}
			calls := map[string]any{
				"State": &taskapi.StateRequest{ID: id, ExecID: exec}, "Start": &taskapi.StartRequest{ID: id, ExecID: exec},
				"Delete": &taskapi.DeleteRequest{ID: id, ExecID: exec}, "Kill": &taskapi.KillRequest{ID: id, ExecID: exec, Signal: 9},
				"ResizePty": &taskapi.ResizePtyRequest{ID: id, ExecID: exec, Width: 1, Height: 1}, "Wait": &taskapi.WaitRequest{ID: id, ExecID: exec},
				"CloseIO": &taskapi.CloseIORequest{ID: id, ExecID: exec, Stdin: true},
			}
			if exec == "" {
				q, u := r.execRequest("e", "true"), r.limits("{}")
				q.ID, u.ID = id, id
				calls["Exec"], calls["Update"] = q, u
				calls["Pause"], calls["Resume"] = &taskapi.PauseRequest{ID: id}, &taskapi.ResumeRequest{ID: id}
				calls["Pids"], calls["Stats"] = &taskapi.PidsRequest{ID: id}, &taskapi.StatsRequest{ID: id}
				calls["Checkpoint"] = &taskapi.CheckpointTaskRequest{ID: id, Path: "/"}
			}
			for method, q := range calls {
				r.must(method+" of an unknown "+exec, errdefs.IsNotFound, r.errOf(method, q), "nosuch")
			}
		}
		file := (&taskapi.StateRequest{}).ProtoReflect().Descriptor().ParentFile()
		for i := range file.Services().ByName("Task").Methods().Len() {
			m := file.Services().ByName("Task").Methods().Get(i)
			if err := r.errOf(string(m.Name()), &emptypb.Empty{}); errdefs.IsNotImplemented(err) {
				t.Errorf("%s with an empty request: %v", m.Name(), err)
			}
		}
		r.must("unknown method", errdefs.IsNotImplemented, r.errOf("NoSuch", &emptypb.Empty{}))
		r.service = "containerd.task.v9.Task"
		r.must("unknown service", errdefs.IsNotImplemented, r.errOf("State", &taskapi.StateRequest{ID: known}))
		r.service = service
		r.finish()
	})
}

// TestCreateRPC: what is wrong is named and undone, so that the same id can be created afterwards.
func TestCreateRPC(t *testing.T) {
	noSystemd, word := errdefs.IsFailedPrecondition, "systemd_cgroup"
	if daemon.Systemd {
		noSystemd, word = errdefs.IsInvalidArgument, "/linux/cgroupsPath" // it is of the other driver
	}
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		for _, c := range []struct {
			name   string
			is     func(error) bool
			words  string
			change func(q *taskapi.CreateTaskRequest)
		}{
			{"options of a wrong type", errdefs.IsInvalidArgument, "some.Type", func(q *taskapi.CreateTaskRequest) { q.Options = anyOf("some.Type", []byte("x")) }},
			{"options that are no message", errdefs.IsInvalidArgument, "containerd.runc.v1.Options", func(q *taskapi.CreateTaskRequest) {
				q.Options = anyOf("containerd.runc.v1.Options", []byte("\xff"))
			}},
			{"options without a type", errdefs.IsInvalidArgument, "options", func(q *taskapi.CreateTaskRequest) { q.Options = anyOf("", []byte("x")) }},
			{"another program", errdefs.IsInvalidArgument, `binary_name "crun"`, func(q *taskapi.CreateTaskRequest) {
				q.Options = runcOptions(t, &runcopts.Options{BinaryName: "crun"})
			}},
			{"systemd_cgroup", noSystemd, word, func(q *taskapi.CreateTaskRequest) {
				q.Options = runcOptions(t, &runcopts.Options{SystemdCgroup: true})
			}},
			{"checkpoint", errdefs.IsInvalidArgument, "/a/checkpoint", func(q *taskapi.CreateTaskRequest) { q.Checkpoint = "/a/checkpoint" }},
			{"no bundle", errdefs.IsInvalidArgument, "/no/such/bundle", func(q *taskapi.CreateTaskRequest) { q.Bundle = "/no/such/bundle" }},
			{"relative bundle", errdefs.IsInvalidArgument, `"bundle"`, func(q *taskapi.CreateTaskRequest) { q.Bundle = "bundle" }},
			{"no id", errdefs.IsInvalidArgument, "id", func(q *taskapi.CreateTaskRequest) { q.ID = "" }},
			{"id that is a path", errdefs.IsInvalidArgument, `"a/b"`, func(q *taskapi.CreateTaskRequest) { q.ID = "a/b" }},
			{"stdout of an unknown scheme", errdefs.IsInvalidArgument, "nosuch", func(q *taskapi.CreateTaskRequest) { q.Stdout = "nosuch:///x" }},
			{"no rootfs source", errdefs.IsInvalidArgument, "/no/such/layer", func(q *taskapi.CreateTaskRequest) { q.Rootfs[0].Source = "/no/such/layer" }},
		} {
			q := r.createRequest()
			c.change(q)
			r.must(c.name, c.is, r.errOf("Create", q), c.words)
		}
		good := filepath.Join(r.bundle, "config.json")
		data, err := os.ReadFile(good)
		r.ok(err)
		r.ok(os.Remove(good))
		r.must("no config.json", errdefs.IsInvalidArgument, r.errOf("Create", r.createRequest()), "config.json")
		for bad, words := range map[string]string{"": "config.json", "{\"ociVersion\": ": "config.json", "[]": "config.json", `{"ociVersion":"1.0.2","process":{"args":7}}`: "/process/args"} {
			r.ok(os.WriteFile(good, []byte(bad), 0o644))
			r.must("config.json "+bad, errdefs.IsInvalidArgument, r.errOf("Create", r.createRequest()), words)
		}
		r.ok(os.WriteFile(good, data, 0o644))
		left, err := filepath.Glob(filepath.Join(r.bundle, "shim-state*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left in the bundle: %q, %v", left, err)
		}
		r.create(nil)
		r.must("second create", errdefs.IsAlreadyExists, r.errOf("Create", r.createRequest()), r.id)
		r.remove("")
		r.create(nil) // the id is free again
		r.remove("")
		r.shutdown()
	})
}

// TestStartRPC: what cannot be started.
func TestStartRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		events := record(t, d)
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		r.begin("")
		r.must("second start", errdefs.IsFailedPrecondition, r.errOf("Start", &taskapi.StartRequest{ID: r.id}))
		r.exec("e", "true")
		r.wait("e")
		r.must("second start of an exec", errdefs.IsFailedPrecondition, r.errOf("Start", &taskapi.StartRequest{ID: r.id, ExecID: "e"}))
		r.ok(r.errOf("Exec", r.execRequest("late", "true")))
		r.signal("", syscall.SIGKILL)
		r.wait("")
		r.must("start after the exit", errdefs.IsFailedPrecondition, r.errOf("Start", &taskapi.StartRequest{ID: r.id}))
		r.must("exec after init's exit", errdefs.IsFailedPrecondition, r.errOf("Start", &taskapi.StartRequest{ID: r.id, ExecID: "late"}))
		r.remove("late")
		r.remove("e")
		r.remove("")
		events.want(t, r.id, "create", "start", "exec-added e", "exec-started e", "exit e 0", "exec-added late", "exit init 137", "delete")
		// A start that fails: the program is gone since the create.
		r.create(nil)
		waited := make(chan uint32, 1)
		go func() { waited <- r.wait("") }()
		r.ok(os.Remove(filepath.Join(r.tree(), "bin/sleep")))
		r.must("start of no program", func(error) bool { return true }, r.errOf("Start", &taskapi.StartRequest{ID: r.id}), "sleep")
		if code := <-waited; code != 255 {
			t.Errorf("who waited for a start that failed got %d", code)
		}
		r.status("after a start that failed", task.Status_STOPPED)
		r.remove("")
		r.shutdown()
		if got := strings.Join(events.of(r.id), ", "); !strings.HasSuffix(got, "delete, create, delete") {
			t.Errorf("events: %s", got) // neither start nor exit
		}
	})
}

// TestDeleteRPC: when it is allowed, and what it answers.
func TestDeleteRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		if a := r.remove(""); int(a.GetPid()) != r.init || a.GetExitStatus() != 137 || !a.GetExitedAt().IsValid() {
			t.Errorf("delete of a created one: %v", a)
		}
		r.create(nil)
		r.begin("")
		refused := func(what, exec string) {
			r.must("delete of a "+what, errdefs.IsFailedPrecondition, r.errOf("Delete", &taskapi.DeleteRequest{ID: r.id, ExecID: exec}))
		}
		refused("running one", "")
		r.exec("e", "sh", "-c", "exit 3")
		r.wait("e")
		if a := r.remove("e"); a.GetPid() == 0 || a.GetExitStatus() != 3 || !a.GetExitedAt().IsValid() {
			t.Errorf("delete of an exec: %v", a)
		}
		r.exec("long", "sleep", "1000")
		refused("running exec", "long")
		r.ok(r.errOf("Pause", &taskapi.PauseRequest{ID: r.id}))
		refused("paused one", "")
		r.signal("", syscall.SIGKILL)
		before := r.state("").GetPid()
		r.wait("")
		at := r.state("").GetExitedAt()
		if a := r.remove(""); a.GetPid() != before || a.GetExitStatus() != 137 || !proto.Equal(a.GetExitedAt(), at) {
			t.Errorf("delete: %v, want pid %d at %v", a, before, at)
		}
		r.must("wait after the delete", errdefs.IsNotFound, r.errOf("Wait", &taskapi.WaitRequest{ID: r.id}))
		r.must("second delete", errdefs.IsNotFound, r.errOf("Delete", &taskapi.DeleteRequest{ID: r.id}))
		r.shutdown()
	})
}

// TestExecRPC: ids, specifications and states.
func TestExecRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		r.exec("early", "true") // of a created container
		if code := r.wait("early"); code != 0 {
			t.Errorf("exec in a created container: %d", code)
		}
		r.begin("")
		r.must("an id twice", errdefs.IsAlreadyExists, r.errOf("Exec", r.execRequest("early", "true")), "early")
		r.must("the container's id", errdefs.IsInvalidArgument, r.errOf("Exec", r.execRequest(r.id, "true")), r.id)
		r.must("no id", errdefs.IsInvalidArgument, r.errOf("Exec", r.execRequest("", "true")))
		q := r.execRequest("e", "true")
		q.Spec = nil
		r.must("no specification", errdefs.IsInvalidArgument, r.errOf("Exec", q), "Process")
		q.Spec = anyOf("types.containerd.io/opencontainers/runtime-spec/1/Process", []byte("{"))
		r.must("no JSON", errdefs.IsInvalidArgument, r.execError(q))
		r.must("no args", errdefs.IsInvalidArgument, r.execError(r.execRequest("e")), "args")
		r.remove("early")
		r.exec("early", "true") // the id is free again
		r.wait("early")
		r.ok(r.errOf("Pause", &taskapi.PauseRequest{ID: r.id}))
		r.must("exec in a paused one", errdefs.IsFailedPrecondition, r.errOf("Exec", r.execRequest("e", "true")))
		r.ok(r.errOf("Resume", &taskapi.ResumeRequest{ID: r.id}))
		r.ok(r.errOf("Exec", r.execRequest("e", "true")))
		r.must("kill of an exec that is not started", errdefs.IsFailedPrecondition, r.errOf("Kill", &taskapi.KillRequest{ID: r.id, ExecID: "e", Signal: 9}))
		waited := make(chan error, 1)
		go func() { waited <- r.errOf("Wait", &taskapi.WaitRequest{ID: r.id, ExecID: "e"}) }()
		r.awaitGoroutine("process.(*Manager).Wait", true)
		r.remove("e")
		r.must("wait for an exec that was deleted before it ran", errdefs.IsNotFound, <-waited)
		r.signal("", syscall.SIGKILL)
		r.wait("")
		r.must("exec in a stopped one", errdefs.IsFailedPrecondition, r.errOf("Exec", r.execRequest("e", "true")))
		r.remove("")
		r.shutdown()
	})
}

// execError adds an exec, or else starts it, and removes it again: a specification may be read by either.
func (r *raw) execError(q *taskapi.ExecProcessRequest) error {
	r.t.Helper()
	if err := r.errOf("Exec", q); err != nil {
		return err
	}
	err := r.errOf("Start", &taskapi.StartRequest{ID: q.ID, ExecID: q.ExecID})
	r.remove(q.ExecID)
	return err
}

// awaitGoroutine waits until a goroutine of the shim is in that function, or none is any more.
func (r *raw) awaitGoroutine(name string, want bool) {
	r.t.Helper()
	for end := time.Now().Add(stepLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		log := r.readLog()
		r.ok(syscall.Kill(r.pid, syscall.SIGUSR1))
		log.until("=== end ===")
		_ = log.file.Close()
		if strings.Contains(string(log.data), name+"(") == want {
			return
		}
	}
	r.t.Errorf("a goroutine in %s: want %t", name, want)
}

// TestPidsRPC: all of the cgroup, and whose they are.
func TestPidsRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		pids := func() (all []int, execs []string) {
			a, err := ask[taskapi.PidsResponse](r, "Pids", &taskapi.PidsRequest{ID: r.id})
			r.ok(err)
			for _, p := range a.GetProcesses() {
				all = append(all, int(p.GetPid()))
				if info := p.GetInfo(); info != nil {
					details := &runcopts.ProcessDetails{}
					r.ok(proto.Unmarshal(info.GetValue(), details))
					execs = append(execs, fmt.Sprint(p.GetPid(), info.GetTypeUrl(), details.GetExecID()))
				}
			}
			return all, execs
		}
		if all, execs := pids(); !slices.Equal(all, []int{r.init}) || len(execs) > 0 {
			t.Errorf("created: %v, %q, want %d", all, execs, r.init)
		}
		r.begin("")
		r.exec("e", "sh", "-c", "sleep 1000 & wait")
		want := []string{fmt.Sprint(r.state("e").GetPid(), "containerd.runc.v1.ProcessDetails", "e")}
		for end := time.Now().Add(stepLimit); ; time.Sleep(5 * time.Millisecond) {
			if all, execs := pids(); len(all) == 3 && slices.Equal(execs, want) { // the exec's child has no name
				break
			} else if time.Now().After(end) {
				t.Fatalf("pids %v, execs %q, want %q", all, execs, want)
			}
		}
		r.signal("", syscall.SIGKILL)
		r.wait("")
		if all, _ := pids(); !slices.Equal(all, []int{r.init}) {
			t.Errorf("stopped: %v, want init's %d: without one containerd takes the shim for leaked", all, r.init)
		}
		r.remove("")
		r.shutdown()
	})
}

// TestUpdateRPC: JSON in the Any, carried out at once.
func TestUpdateRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		r.begin("")
		r.ok(r.errOf("Update", r.limits(`{"memory":{"limit":33554432}}`)))
		a, err := ask[taskapi.StatsResponse](r, "Stats", &taskapi.StatsRequest{ID: r.id})
		r.ok(err)
		if got := usageOf(t, a.GetStats()).limit; got != 33554432 {
			t.Errorf("limit %d", got)
		}
		r.must("no JSON", errdefs.IsInvalidArgument, r.errOf("Update", r.limits("{")))
		r.must("no resources", errdefs.IsInvalidArgument, r.errOf("Update", &taskapi.UpdateTaskRequest{ID: r.id}), "LinuxResources")
		wrong := &taskapi.UpdateTaskRequest{ID: r.id, Resources: anyOf("some.Type", []byte("{}"))}
		r.must("resources of a wrong type", errdefs.IsInvalidArgument, r.errOf("Update", wrong), "some.Type")
		r.must("a value that is none", errdefs.IsInvalidArgument, r.errOf("Update", r.limits(`{"cpu":{"cpus":"zero"}}`)), "/cpu/cpus")
		r.signal("", syscall.SIGKILL)
		r.wait("")
		r.must("update of a stopped one", errdefs.IsFailedPrecondition, r.errOf("Update", r.limits("{}")))
		r.remove("")
		r.shutdown()
	})
}
