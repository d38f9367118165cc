package run

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

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
	later.Pid, later.StartTime, later.UID, later.NoNewKeyring, later.Streams = 1234, 1<<63, 65534, true, [3]string{"pipe:[1]", "/dev/null", "ä\xff"}
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

// TestStateFields: no member of State was forgotten.
func TestStateFields(t *testing.T) {
	known := map[string]bool{"Resctrl": true, "Poststop": true, "Annotations": true, "StartSteps": true, "home": true}
	if n := reflect.TypeFor[State]().NumField(); n != len(stateFields)+len(known) {
		t.Errorf("State has %d fields, %d are read without encoding/json and %d are not", n, len(stateFields), len(known))
	}
}
