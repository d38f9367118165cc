package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/stats"
)

// TestV2StatsBare is a cgroup without controllers: CPU time is there, the rest is absent.
func TestV2StatsBare(t *testing.T) {
	c := &v2{dir: newV2(t).dir}
	c.dir.Path = filepath.Join(c.dir.Path, "bare") // where the machine turned them on at the top, they end here
	v2Mkdir(t, c.dir.Path)
	cmd, out := v2Start(t, c.dir.Path, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo; exec sleep 1000")
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	m, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if m.V1 != nil || m.V2 == nil || m.V2.CPU == nil || m.V2.CPU.Stat["usage_usec"] == 0 {
		t.Fatalf("no CPU time of process %d: %+v", cmd.Process.Pid, m)
	}
	if m.V2.Memory != nil || m.V2.Pids != nil || m.V2.IO != nil || m.V2.Rdma != nil || m.V2.Hugetlb != nil {
		t.Errorf("accounting of controllers that are off: %+v", m.V2)
	}
	if _, err := (&v2{dir: files.Dir{Path: c.dir.Path + "-missing"}}).Stats(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a missing cgroup: %v", err)
	}
}

func TestParseIOStat(t *testing.T) {
	for _, c := range []struct {
		text string
		want []stats.IODevice
	}{
		{"", nil},
		{"8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n8:16 rbytes=7 cost.usage=9\n",
			[]stats.IODevice{{Major: 8, Rbytes: 1, Wbytes: 2, Rios: 3, Wios: 4, Dbytes: 5, Dios: 6}, {Major: 8, Minor: 16, Rbytes: 7}}},
		{"7:0 7:1 8:0 rbytes=1\n", []stats.IODevice{{Major: 8, Rbytes: 1}}},
		{"7:0 \n", nil},
	} {
		got, err := parseIOStat(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v (%v), want %+v", c.text, got, err, c.want)
		}
	}
	if _, err := parseIOStat("8:0 rbytes=x\n"); err == nil || !strings.Contains(err.Error(), "rbytes=x") {
		t.Errorf("a word for a number: %v", err)
	}
}

func TestParsePressure(t *testing.T) {
	some := &stats.Stall{Avg10: 1.5, Avg60: 0.25, Avg300: 0, Total: 99}
	for text, want := range map[string]*stats.Pressure{
		"some avg10=1.50 avg60=0.25 avg300=0.00 total=99\n":                                                        {Some: some},
		"some avg10=1.50 avg60=0.25 avg300=0.00 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\nnew 1\n": {Some: some, Full: &stats.Stall{Total: 7}},
	} {
		got, err := parsePressure(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v (%v)", text, got, err)
		}
	}
	if _, err := parsePressure("some avg10=x\n"); err == nil {
		t.Error("a word for a number is taken")
	}
}

func TestParseFlat(t *testing.T) {
	got, err := parseFlat("low 0\noom_kill 18446744073709551615\n")
	if err != nil || !reflect.DeepEqual(got, map[string]uint64{"low": 0, "oom_kill": 1<<64 - 1}) {
		t.Errorf("got %v (%v)", got, err)
	}
	for _, text := range []string{"low\n", "low x\n", "\n"} {
		if _, err := parseFlat(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
