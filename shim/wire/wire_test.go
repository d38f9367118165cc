package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// Against containerd's own types all messages are tested in integration/wire. Here the encoding stands byte by byte.

func str(s string) *string { return &s }

// TestEncoding has every kind of field once, with the bytes that the description of the format gives for it.
func TestEncoding(t *testing.T) {
	cases := []struct {
		m    Message
		want string
	}{
		{&Empty{}, ""},
		{&StartResponse{}, ""},
		{&StartResponse{Pid: 150}, "\x08\x96\x01"},
		{&StartResponse{Pid: 1<<32 - 1}, "\x08\xff\xff\xff\xff\x0f"},
		{&StartRequest{ID: "testing"}, "\x0a\x07testing"},
		{&Any{TypeUrl: "a", Value: []byte{0, 255}}, "\x0a\x01a\x12\x02\x00\xff"},
		{&Timestamp{Seconds: -1, Nanos: -2}, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
		{&KillRequest{Signal: 9, All: true}, "\x18\x09\x20\x01"},
		{&StateResponse{Status: StatusPausing}, "\x20\x05"},
		{&Mount{Options: []string{"", "ro"}}, "\x22\x00\x22\x02ro"},
		{&CPUUsageV1{PerCPU: []uint64{3, 270, 86942}}, "\x22\x06\x03\x8e\x02\x9e\xa7\x05"},
		{&PSIDataV2{Avg10: 1}, "\x09\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{&CreateTaskRequest{Options: &Any{}}, "\x52\x00"},
		{&CreateTaskRequest{Rootfs: []*Mount{{Type: "a"}, {}}}, "\x1a\x03\x0a\x01a\x1a\x00"},
		{&UpdateTaskRequest{Annotations: map[string]string{"b": "", "a": "x"}}, "\x1a\x06\x0a\x01a\x12\x01x\x1a\x05\x0a\x01b\x12\x00"},
		{&BootstrapParams{SocketDir: str("")}, "\x4a\x00"},
		{&ForwardRequest{Envelope: &Envelope{Event: &Any{TypeUrl: strings.Repeat("x", 200)}}}, "\x0a\xce\x01\x22\xcb\x01\x0a\xc8\x01" + strings.Repeat("x", 200)},
	}
	for _, c := range cases {
		got, err := Marshal(c.m)
		if err != nil || string(got) != c.want {
			t.Errorf("%+v became %q (%v), want %q", c.m, got, err, c.want)
		}
		back := newOf(c.m)
		if err := UnmarshalKnown([]byte(c.want), back); err != nil || !reflect.DeepEqual(back, c.m) {
			t.Errorf("%q became %+v (%v), want %+v", c.want, back, err, c.m)
		}
	}
}

func newOf(m Message) Message { return reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message) }

// TestDecoding has what we do not write ourselves.
func TestDecoding(t *testing.T) {
	cases := []struct {
		name, data string
		want       Message
		unknown    string
	}{
		{"numbers one by one", "\x20\x03\x20\x8e\x02", &CPUUsageV1{PerCPU: []uint64{3, 270}}, ""},
		{"packed in two parts", "\x22\x01\x03\x22\x01\x04", &CPUUsageV1{PerCPU: []uint64{3, 4}}, ""},
		{"the last number counts", "\x08\x01\x08\x02", &StartResponse{Pid: 2}, ""},
		{"zero too", "\x08\x01\x08\x00", &StartResponse{}, ""},
		{"a number that is too long is cut", "\x08\xff\xff\xff\xff\x1f", &StartResponse{Pid: 1<<32 - 1}, ""},
		{"a flag of 2", "\x20\x02", &KillRequest{All: true}, ""},
		{"a message in two parts", "\x52\x03\x0a\x01a\x52\x03\x12\x01b", &CreateTaskRequest{Options: &Any{TypeUrl: "a", Value: []byte("b")}}, ""},
		{"a key that comes twice", "\x1a\x06\x0a\x01a\x12\x01x\x1a\x03\x0a\x01a", &UpdateTaskRequest{Annotations: map[string]string{"a": ""}}, ""},
		{"fields in any order", "\x12\x01e\x0a\x01i", &StartRequest{ID: "i", ExecID: "e"}, ""},
		{"a field that is not there", "\x78\x01\x08\x07", &StartResponse{Pid: 7}, "field 15 "},
		{"each type of one", "\x78\x01\x79........\x7a\x01x\x7d....\x08\x07", &StartResponse{Pid: 7}, "field 15 "},
		{"a group in a group", "\x7b\x0b\x08\x01\x0c\x7c\x08\x07", &StartResponse{Pid: 7}, "field 15 "},
		{"the largest number", "\xf8\xff\xff\xff\x0f\x01", &StartResponse{}, "field 536870911 "},
		{"another type", "\x0a\x01x", &StartResponse{}, "field 1 "},
		{"unknown in a message", "\x52\x02\x78\x01", &CreateTaskRequest{Options: &Any{}}, ""},
	}
	for _, c := range cases {
		got := newOf(c.want)
		if err := Unmarshal([]byte(c.data), got); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v (%v), want %+v", c.name, got, err, c.want)
		}
		err := UnmarshalKnown([]byte(c.data), newOf(c.want))
		if (err == nil) != (c.unknown == "") || err != nil && !strings.Contains(err.Error(), c.unknown) {
			t.Errorf("%s: %v, want %q", c.name, err, c.unknown)
		}
	}
}

// TestMalformed must give errors, also deep inside.
func TestMalformed(t *testing.T) {
	for _, c := range []struct {
		name, data string
		m          Message
		want       error
	}{
		{"an end in a tag", "\x80", &StartResponse{}, errEnd},
		{"an end behind a tag", "\x08", &StartResponse{}, errEnd},
		{"an end in a number", "\x08\x80", &StartResponse{}, errEnd},
		{"an end in 64 bits", "\x09\x00\x00\x00\x00\x00\x00\xf0", &PSIDataV2{}, errEnd},
		{"an end in 32 bits", "\x7d\x00\x00\x00", &StartResponse{}, errEnd},
		{"an end in a text", "\x0a\x03ab", &StartRequest{}, errEnd},
		{"a length of 2^64-1", "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01ab", &StartRequest{}, errEnd},
		{"a number of eleven bytes", "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", &StartResponse{}, errNumber},
		{"a number of 65 bits", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", &StartResponse{}, errNumber},
		{"field 0", "\x00\x01", &StartResponse{}, errField},
		{"field 2^29", "\x80\x80\x80\x80\x10\x01", &StartResponse{}, errField},
		{"type 6", "\x0e", &StartResponse{}, errKind},
		{"type 7", "\x0f", &StartResponse{}, errKind},
		{"an end of no group", "\x0c", &StartResponse{}, errGroup},
		{"a group without an end", "\x0b\x08\x01", &StartResponse{}, errEnd},
		{"an end of another group", "\x0b\x14", &StartResponse{}, errGroup},
		{"groups in groups without end", strings.Repeat("\x0b", 1<<20), &StartResponse{}, errGroup},
		{"a text that is no UTF-8", "\x0a\x01\xff", &StartRequest{}, errText},
		{"one in a list", "\x22\x01\xff", &Mount{}, errText},
		{"one in a map", "\x1a\x03\x0a\x01\xff", &UpdateTaskRequest{}, errText},
		{"one that may be absent", "\x4a\x01\xff", &BootstrapParams{}, errText},
		{"packed numbers that end too early", "\x22\x01\x80", &CPUUsageV1{}, errEnd},
		{"a message that ends too early", "\x52\x02\x0a\x05", &CreateTaskRequest{}, errEnd},
		{"one in a list of them", "\x1a\x01\x0a", &CreateTaskRequest{}, errEnd},
	} {
		if err := Unmarshal([]byte(c.data), c.m); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestAppend keeps what is there, and a first error.
func TestAppend(t *testing.T) {
	got, err := Append([]byte("x"), &StartResponse{Pid: 1})
	if err != nil || string(got) != "x\x08\x01" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := Marshal(&Mount{Type: "\xff", Options: []string{"\xfe"}}); !errors.Is(err, errText) || !strings.Contains(err.Error(), "field 1:") {
		t.Errorf("two texts that are no UTF-8: %v", err)
	}
	if _, err := Pack(&TaskOOM{ContainerID: "\xff"}); err == nil || !strings.Contains(err.Error(), "encode containerd.events.TaskOOM") {
		t.Errorf("in an Any: %v", err)
	}
}

// FuzzDecode takes any bytes for any message: no panic, and what is decoded is encoded and decoded to the same.
func FuzzDecode(f *testing.F) {
	kinds := []Message{&CreateTaskRequest{}, &Request{}, &Response{}, &MetricsV1{}, &MetricsV2{}, &BootstrapParams{}, &UpdateTaskRequest{}, &RuntimeInfo{},
		&OldCreateOptions{}, &OldCheckpointOptions{}}
	for i := range kinds {
		f.Add(i, []byte("\x0a\x01a\x12\x02\x08\x01\x1a\x00\x22\x01x\x0b\x0c"))
	}
	f.Fuzz(func(t *testing.T, k int, data []byte) {
		m := newOf(kinds[uint(k)%uint(len(kinds))])
		if Unmarshal(bytes.Clone(data), m) != nil {
			return
		}
		first, err := Marshal(m)
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		again := newOf(m)
		if err := UnmarshalKnown(first, again); err != nil {
			t.Fatalf("%x: %v", first, err)
		}
		if second, err := Marshal(again); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("%x became %x (%v)", first, second, err)
		}
	})
}
