package spec

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/quickjson"
)

// TestUsualIsQuick: what containerd and the other runtimes write is read by the tables, and as encoding/json reads it.
func TestUsualIsQuick(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var s specs.Spec
		if !quickjson.Read(data, &s, readSpec) {
			t.Errorf("%s is left to encoding/json", f)
		}
		same(t, data, readSpec)
	}
}

// same fails if a document is read by the tables and otherwise by encoding/json, or if it has something that is not carried out. It says whether the tables read it.
func same[T any](t *testing.T, data []byte, read func(*quickjson.Reader, *T)) bool {
	t.Helper()
	var got, want T
	if !quickjson.Read(data, &got, read) {
		return false
	}
	p := &problems{create: true}
	switch v := any(&got).(type) {
	case *specs.Spec:
		p.fields(reflect.ValueOf(v), "", fieldTree())
	case *specs.Process:
		p.fields(reflect.ValueOf(v), "", fieldTree().find("/process"))
	case *specs.LinuxResources:
		p.fields(reflect.ValueOf(v), "", fieldTree().find("/linux/resources"))
	case *specs.Linux:
		p.fields(reflect.ValueOf(v), "", fieldTree().find("/linux"))
	}
	if err := p.err(); err != nil {
		t.Errorf("%s is read as usual, but: %v", data, err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Errorf("%s: read as %+v, but: %v", data, got, err)
	} else if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\ngot  %+v\nwant %+v", data, got, want)
	}
	return true
}

// TestUsualFields: every member of the tables is one that is carried out, however deep; so nobody has to walk over what the tables have read.
func TestUsualFields(t *testing.T) {
	doc := `{"ociVersion":"1.0.0","hostname":"h","domainname":"d","annotations":{"a":"b"},"root":{"path":"r","readonly":true},
"process":{"terminal":true,"consoleSize":{"height":1,"width":2},"user":{"uid":1,"gid":2,"umask":3,"additionalGids":[4]},"args":["a"],"env":["A=b"],"cwd":"/",
"capabilities":{"bounding":["a"],"effective":["a"],"inheritable":["a"],"permitted":["a"],"ambient":["a"]},"rlimits":[{"type":"a","hard":2,"soft":1}],
"noNewPrivileges":true,"apparmorProfile":"a","oomScoreAdj":1,"selinuxLabel":"l"},
"mounts":[{"destination":"/a","type":"t","source":"s","options":["o"],"uidMappings":[{"containerID":1,"hostID":2,"size":3}],"gidMappings":[{"containerID":1,"hostID":2,"size":3}]}],
"hooks":{"prestart":[HOOK],"createRuntime":[HOOK],"createContainer":[HOOK],"startContainer":[HOOK],"poststart":[HOOK],"poststop":[HOOK]},
"linux":{"uidMappings":[{"containerID":1,"hostID":2,"size":3}],"gidMappings":[{"containerID":1,"hostID":2,"size":3}],"sysctl":{"a":"b"},
"resources":{"devices":[{"allow":true,"type":"c","major":1,"minor":2,"access":"r"}],"memory":{"limit":1,"reservation":1,"swap":1,"swappiness":1,"disableOOMKiller":true},
"cpu":{"shares":1,"quota":1,"burst":1,"period":1,"cpus":"0","mems":"0"},"pids":{"limit":1},"hugepageLimits":[{"pageSize":"2MB","limit":1}],"unified":{"a":"b"}},
"cgroupsPath":"/a","namespaces":[{"type":"pid","path":"/p"}],"devices":[{"path":"/d","type":"c","major":1,"minor":2,"fileMode":3,"uid":4,"gid":5}],
"seccomp":{"defaultAction":"a","defaultErrnoRet":1,"architectures":["a"],"flags":["f"],"syscalls":[{"names":["n"],"action":"a","errnoRet":1,"args":[{"index":1,"value":2,"valueTwo":3,"op":"o"}]}]},
"rootfsPropagation":"private","maskedPaths":["/m"],"readonlyPaths":["/r"],"mountLabel":"l"}}`
	doc = strings.ReplaceAll(doc, "HOOK", `{"path":"/p","args":["a"],"env":["e"],"timeout":1}`)
	if !same(t, []byte(doc), readSpec) {
		t.Error("it is left to encoding/json")
	}
}

// FuzzRead: a document that the tables read is JSON, and means what encoding/json says.
func FuzzRead(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	for _, doc := range []string{`{"process":null}`, `{"args":[null,"\u00e4\n","<&>"],"user":{"uid":4294967295},"env":[]}`, `{"oomScoreAdj":-1000,"rlimits":[{"hard":18446744073709551615}]}`,
		`{"memory":{"limit":-9223372036854775808}}`, `{"pids":{"limit":01}}`, `{"cpu":{"shares":1e3}}`, `{"unified":{"a":null,"a":"b"}}`, `{"cwd":"a","cwd":"b"}`, `{"CWD":"a"}`,
		"{\"cwd\":\"\x80\"}", `{"cwd":"\u0000"}`, `{"annotations":{"\u0000":""}}`, `{"cwd":"\ud83d\ude00"}`, `{"cwd":"\ud83d"}`, `{"user":{"umask":-0}}`, `{"hooks":{"poststop":[{"timeout":1}]}}`, `{"devices":[{"major":-1}]}`, `{} x`, ` {} `} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		same(t, data, readSpec)
		same(t, data, readProcess)
		same(t, data, readResources)
	})
}

// TestQuickFields: every member that a table names is read into the field that encoding/json reads it into, from every kind of value.
func TestQuickFields(t *testing.T) {
	values := []string{`null`, `true`, `"x"`, `""`, `7`, `-7`, `0`, `[]`, `{}`, `["a","b"]`, `[1,2]`, `[null]`, `{"a":"b"}`, `{"a":null}`, `{"uid":1}`, `18446744073709551615`, `-9223372036854775808`, `4294967296`, `1.5`, `"\u0041\"\\"`}
	quick := 0
	fields(t, specFields, readSpec, values, &quick)
	fields(t, processFields, readProcess, values, &quick)
	fields(t, boxFields, readBox, values, &quick)
	fields(t, userFields, readUser, values, &quick)
	fields(t, capabilitiesFields, readCapabilities, values, &quick)
	fields(t, rlimitFields, readRlimit, values, &quick)
	fields(t, rootFields, readRoot, values, &quick)
	fields(t, mountFields, readMount, values, &quick)
	fields(t, hooksFields, readHooks, values, &quick)
	fields(t, hookFields, readHook, values, &quick)
	fields(t, linuxFields, readLinux, values, &quick)
	fields(t, mappingFields, readMapping, values, &quick)
	fields(t, namespaceFields, readNamespace, values, &quick)
	fields(t, deviceFields, readDevice, values, &quick)
	fields(t, resourcesFields, readResources, values, &quick)
	fields(t, ruleFields, readRule, values, &quick)
	fields(t, memoryFields, readMemory, values, &quick)
	fields(t, cpuFields, readCPU, values, &quick)
	fields(t, pidsFields, readPids, values, &quick)
	fields(t, hugeFields, readHuge, values, &quick)
	fields(t, seccompFields, readSeccomp, values, &quick)
	fields(t, syscallFields, readSyscall, values, &quick)
	fields(t, argFields, readArg, values, &quick)
	if quick < 100 {
		t.Errorf("only %d values were read", quick)
	}
}

func fields[T any](t *testing.T, list []quickjson.Field[T], read func(*quickjson.Reader, *T), values []string, quick *int) {
	for _, f := range list {
		set := false
		for _, v := range values {
			doc := []byte(`{"` + f.Name + `":` + v + `}`)
			if !same(t, doc, read) {
				continue
			}
			*quick++
			var got, zero T
			set = set || quickjson.Read(doc, &got, read) && !reflect.DeepEqual(got, zero)
		}
		if !set {
			t.Errorf("%T: no value is read into %s", list, f.Name)
		}
	}
}
