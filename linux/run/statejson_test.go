package run

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/quickjson"
)

// TestStateForm: a state is written as encoding/json would write it, is read as it was, and the usual ones without encoding/json.
func TestStateForm(t *testing.T) {
	now := time.Now().UTC()
	dirs := []files.Dir{{Controllers: []string{"cpu", "cpuacct"}, Mount: "/sys/fs/cgroup/cpu", Path: "/sys/fs/cgroup/cpu/a<b>", Own: "/sys/fs/cgroup/cpu"}, {Mount: "/u", Unified: true}}
	usual := State{Version: 1, ID: "a", Namespace: "default", Bundle: "/b", Rootfs: "/b/rootfs", MountsMade: true, CgroupDirs: dirs, Cgroup: cgroup.StateOf(dirs, nil), Created: now}
	later := usual
	later.Pid, later.StartTime, later.UID, later.NoNewKeyring, later.Restored, later.Streams = 1234, 1<<63, 65534, true, true, [3]string{"pipe:[1]", "/dev/null", "ä\xff"}
	later.Config, later.Resctrl = json.RawMessage(`{"ociVersion":"1.0.0","process":{"args":["}"]}}`), nil
	later.Cgroup.Unit = &unit.Unit{Name: "a.scope", Slice: "-.slice", User: true}
	rare := later
	rare.Resctrl, rare.Poststop, rare.Annotations = []string{"g"}, []specs.Hook{{Path: "/x"}}, map[string]string{"k": "v"}
	rare.StartSteps = []plan.StepError{{ID: "a", Step: 3, Label: "execve"}}
	for name, s := range map[string]State{"empty": {}, "usual": usual, "later": later, "rare": rare} {
		got, err := s.marshal()
		if err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(&s)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		var read, plain State
		if err := json.Unmarshal(want, &plain); err != nil {
			t.Fatal(err)
		}
		if quick := quickjson.Read(got, &read, readStateOf); quick == (name == "rare") {
			t.Errorf("%s: read without encoding/json: %v", name, quick)
		} else if quick && !reflect.DeepEqual(read, plain) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", name, read, plain)
		}
	}
}

// TestStateParts: what is written first and what is written behind it are one state; a part of either, as a killed writer leaves it, is the state before.
func TestStateParts(t *testing.T) {
	s := State{Version: 1, ID: "a", Config: json.RawMessage("{\n \"ociVersion\": \"1.0.0\"\n}"), Cgroup: cgroup.State{None: true}, Created: time.Unix(1, 5).UTC(), Bundle: t.TempDir()}
	if err := s.create(); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(s.file())
	if err != nil {
		t.Fatal(err)
	}
	before := s
	s.Streams = [3]string{"/dev/null", "pipe:[1]", "pipe:[2]"}
	if err := s.started(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(s.file())
	if err != nil || len(all) <= len(first) {
		t.Fatal(err, len(all))
	}
	old, err := json.Marshal(&s) // the form until version 1 had a second line
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(all) + 1 {
		got, err := parseState(all[:n])
		switch {
		case n < len(first)-1 && !errors.Is(err, errdefs.ErrNotFound):
			t.Errorf("%d bytes of the first part: %v", n, err)
		case n >= len(first) && err != nil:
			t.Errorf("%d bytes: %v", n, err)
		case n >= len(first) && n < len(all) && !same(got, &before), n == len(all) && !same(got, &s):
			t.Errorf("%d bytes: %+v", n, got)
		}
	}
	got, err := parseState(old)
	if err != nil || got.Pid != s.Pid || got.StartTime != s.StartTime || got.Streams != s.Streams {
		t.Errorf("the old form: %+v, %v", got, err)
	}
	if _, err := parseState([]byte("{\"version\":1}\nnonsense\n")); err == nil || errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("nonsense behind the state: %v", err)
	}
}

func same(a, b *State) bool {
	x, errX := a.marshal()
	y, errY := b.marshal()
	return errX == nil && errY == nil && string(x) == string(y)
}

// TestStateFields: no member of State was forgotten.
func TestStateFields(t *testing.T) {
	known := map[string]bool{"Resctrl": true, "Poststop": true, "Annotations": true, "StartSteps": true, "home": true}
	if n := reflect.TypeFor[State]().NumField(); n != len(stateFields)+len(known) {
		t.Errorf("State has %d fields, %d are read without encoding/json and %d are not", n, len(stateFields), len(known))
	}
}
