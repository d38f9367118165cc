package shim

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/process"
	"example.io/shim/shim/wire"
)

func TestTimestamp(t *testing.T) {
	if ts := timestamp(time.Time{}); ts != nil {
		t.Errorf("no time is %v", ts)
	}
	at := time.Date(2024, 2, 29, 23, 59, 59, 999999999, time.FixedZone("", 3600))
	if ts := timestamp(at); !asTime(ts).Equal(at) {
		t.Errorf("%v is %v", at, asTime(ts))
	}
}

func asTime(ts *wire.Timestamp) time.Time { return time.Unix(ts.Seconds, int64(ts.Nanos)) }

// TestTaskStatus goes over every status that there is.
func TestTaskStatus(t *testing.T) {
	public := map[process.Status]wire.TaskStatus{process.Created: wire.StatusCreated, process.Running: wire.StatusRunning, process.Pausing: wire.StatusPausing,
		process.Paused: wire.StatusPaused, process.Stopped: wire.StatusStopped}
	seen := map[wire.TaskStatus]bool{}
	for s := range process.Status(32) {
		want, ok := public[s.Public()]
		if !ok {
			want = wire.StatusUnknown
		}
		if got := taskStatus(s); got != want {
			t.Errorf("%v is %v, want %v", s, got, want)
		}
		seen[taskStatus(s)] = true
	}
	for _, want := range public {
		if !seen[want] {
			t.Errorf("no status becomes %v", want)
		}
	}
}

func TestMessage(t *testing.T) {
	a, err := wire.Pack(&wire.ProcessDetails{ExecID: "e1"})
	must(t, err)
	got := &wire.ProcessDetails{}
	if err := wire.Unmarshal(a.Value, got); err != nil || a.TypeUrl != "containerd.runc.v1.ProcessDetails" || got.ExecID != "e1" {
		t.Errorf("%v, %v", a, err)
	}
	_, err = wire.Pack(&wire.ProcessDetails{ExecID: "\xff"})
	holds(t, "text that is no UTF-8", err, "encode containerd.runc.v1.ProcessDetails")
}

func TestPidsResponse(t *testing.T) {
	details, err := wire.Pack(&wire.ProcessDetails{ExecID: "e1"})
	must(t, err)
	want := &wire.PidsResponse{Processes: []*wire.ProcessInfo{{Pid: 10}, {Pid: 11, Info: details}, {Pid: 4194304}}}
	got, err := pidsResponse([]process.PidInfo{{Pid: 10}, {Pid: 11, ExecID: "e1"}, {Pid: 4194304}})
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v (%v), want %v", got, err, want)
	}
	if got, err := pidsResponse(nil); err != nil || len(got.Processes) != 0 {
		t.Errorf("no process: %v, %v", got, err)
	}
	_, err = pidsResponse([]process.PidInfo{{Pid: 1, ExecID: "\xff"}})
	holds(t, "an id that is no UTF-8", err, "ProcessDetails")
}

func TestJSONOf(t *testing.T) {
	const document = `{"terminal":true}`
	read := map[string]func(*wire.Any) ([]byte, error){"Process": processSpec, "LinuxResources": resources}
	for kind, f := range read {
		for _, c := range []struct {
			url  string
			ok   bool
			data string
		}{
			{"types.containerd.io/opencontainers/runtime-spec/1/" + kind, true, document},
			{"opencontainers/runtime-spec/1/" + kind, true, document},
			{"types.containerd.io/opencontainers/runtime-spec/1/" + kind, false, ""},
			{"types.containerd.io/opencontainers/runtime-spec/1/Spec", false, document},
			{"types.containerd.io/opencontainers/runtime-spec/1/" + kind + "/x", false, document},
			{"types.containerd.io/opencontainers/runtime-spec/1/x" + kind, false, document},
			{"google.protobuf." + kind, false, document},
			{kind, false, document},
			{"", false, document},
		} {
			got, err := f(&wire.Any{TypeUrl: c.url, Value: []byte(c.data)})
			if c.ok {
				if err != nil || string(got) != c.data {
					t.Errorf("%q as %s: %q, %v", c.url, kind, got, err)
				}
				continue
			}
			words := []string{kind, `"` + c.url + `"`}
			if c.data == "" {
				words = []string{"there is no " + kind}
			}
			holds(t, c.url, err, words...)
			if !errors.Is(err, errdefs.ErrInvalidArgument) {
				t.Errorf("%q as %s: %v is no ErrInvalidArgument", c.url, kind, err)
			}
		}
		if _, err := f(nil); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("no %s: %v", kind, err)
		}
	}
}
