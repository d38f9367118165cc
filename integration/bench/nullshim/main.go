// Command nullshim is the floor of everything that is not a runtime's: a shim that answers at once and runs nothing. The benchmark builds it with the
// libraries of ours and compares; nobody else should use it.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// initPid is what the null shim says the pid of its container is: no process has it.
const initPid = 1 << 21

func main() {
	namespace := flag.String("namespace", "", "")
	id := flag.String("id", "", "")
	address := flag.String("address", "", "")
	socket := flag.String("socket", "", "")
	for _, name := range []string{"publish-binary", "bundle"} {
		_ = flag.String(name, "", "")
	}
	_ = flag.Bool("debug", false, "")
	flag.Parse()
	var err error
	switch flag.Arg(0) {
	case "start":
		err = start(*address, *namespace, *id)
	case "delete":
		err = write(&taskapi.DeleteResponse{ExitedAt: timestamppb.Now()})
	default:
		err = serve(*socket)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "nullshim:", err)
		os.Exit(1)
	}
}

func write(m proto.Message) error {
	data, err := proto.Marshal(m)
	if err == nil {
		_, err = os.Stdout.Write(data)
	}
	return err
}

func start(address, namespace, id string) error {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	path := filepath.Join("/run/containerd/s", fmt.Sprintf("%x", sha256.Sum256([]byte(filepath.Join(address, namespace, id)))))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	file, err := l.File()
	if err != nil {
		return err
	}
	if err := os.WriteFile("address", []byte("unix://"+path), 0o600); err != nil {
		return err
	}
	cmd := exec.Command("/proc/self/exe", "-socket", path)
	cmd.ExtraFiles = []*os.File{file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	params := &bootapi.BootstrapParams{}
	switch _, old := os.LookupEnv("MAX_SHIM_VERSION"); {
	case proto.Unmarshal(in, params) == nil && params.GetInstanceID() == id:
		return write(&bootapi.BootstrapResult{Version: 3, Address: "unix://" + path, Protocol: "ttrpc"})
	case old:
		_, err = fmt.Printf(`{"version":2,"address":%q,"protocol":"ttrpc"}`, "unix://"+path)
	default:
		_, err = fmt.Print("unix://" + path)
	}
	return err
}

// null is the state of the container that is not there.
type null struct {
	mu      sync.Mutex
	status  task.Status
	started chan struct{}
	exited  time.Time
	end     func()
}

func serve(socket string) error {
	l, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()))
	if err != nil {
		return err
	}
	done := make(chan struct{})
	n := &null{started: make(chan struct{}), end: sync.OnceFunc(func() { close(done) })}
	for _, name := range []string{"containerd.task.v2.Task", "containerd.task.v3.Task"} {
		server.RegisterService(name, &ttrpc.ServiceDesc{Methods: n.methods()})
	}
	go func() { _ = server.Serve(context.Background(), l) }()
	<-done
	_ = os.Remove(socket)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

func (n *null) methods() map[string]ttrpc.Method {
	return map[string]ttrpc.Method{
		"Create": on(func(*taskapi.CreateTaskRequest) any {
			n.set(task.Status_CREATED)
			return &taskapi.CreateTaskResponse{Pid: initPid}
		}),
		"Start": on(func(*taskapi.StartRequest) any {
			n.set(task.Status_STOPPED)
			return &taskapi.StartResponse{Pid: initPid}
		}),
		"State": on(n.state),
		"Wait": on(func(*taskapi.WaitRequest) any {
			<-n.started
			return &taskapi.WaitResponse{ExitedAt: timestamppb.New(n.exited)}
		}),
		"Delete": on(func(*taskapi.DeleteRequest) any {
			return &taskapi.DeleteResponse{Pid: initPid, ExitedAt: timestamppb.New(n.exited)}
		}),
		"Connect": on(func(*taskapi.ConnectRequest) any {
			return &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: initPid}
		}),
		"Pids": on(func(*taskapi.PidsRequest) any {
			return &taskapi.PidsResponse{Processes: []*task.ProcessInfo{{Pid: initPid}}}
		}),
		"Shutdown": on(func(*taskapi.ShutdownRequest) any { n.end(); return &emptypb.Empty{} }),
	}
}

// on makes a method of a function of its request.
func on[Q any](f func(*Q) any) ttrpc.Method {
	return func(_ context.Context, unmarshal func(any) error) (any, error) {
		q := new(Q)
		if err := unmarshal(q); err != nil {
			return nil, err
		}
		return f(q), nil
	}
}

// set moves on. The start is the end, too.
func (n *null) set(s task.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s == task.Status_STOPPED && n.status == task.Status_CREATED {
		n.exited = time.Now()
		close(n.started)
	}
	n.status = s
}

func (n *null) state(q *taskapi.StateRequest) any {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := &taskapi.StateResponse{ID: q.GetID(), Pid: initPid, Status: n.status}
	if n.status == task.Status_STOPPED {
		r.ExitedAt = timestamppb.New(n.exited)
	}
	return r
}
