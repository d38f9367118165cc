package quickjson

import (
	"encoding/json"
	"reflect"
	"testing"
)

type sample struct {
	Text string            `json:"text"`
	N    uint16            `json:"n"`
	I    int32             `json:"i"`
	B    bool              `json:"b"`
	List []string          `json:"list"`
	Map  map[string]string `json:"map"`
	Raw  json.RawMessage   `json:"raw"`
	P    *sample           `json:"p"`
}

var sampleFields []Field[sample]

func init() {
	sampleFields = []Field[sample]{
		{"text", func(r *Reader, v *sample) { String(r, &v.Text) }}, {"n", func(r *Reader, v *sample) { Uint(r, &v.N) }},
		{"i", func(r *Reader, v *sample) { Int(r, &v.I) }}, {"b", func(r *Reader, v *sample) { Bool(r, &v.B) }},
		{"list", func(r *Reader, v *sample) { Strings(r, &v.List) }}, {"map", func(r *Reader, v *sample) { Map(r, &v.Map, String) }},
		{"raw", func(r *Reader, v *sample) { v.Raw = r.Raw() }}, {"p", func(r *Reader, v *sample) { Pointer(r, &v.P, readSample) }},
	}
}

func readSample(r *Reader, v *sample) { Object(r, v, sampleFields) }

// TestRead: what is read is what encoding/json reads, and what it would refuse, or reads by a rule of its own, is not read.
func TestRead(t *testing.T) {
	for doc, plain := range map[string]bool{
		`{}`: true, " \t{\r\n} \n": true, `{"text":"a"}`: true, `{ "text" : "a" , "n" : 65535 }`: true, `{"p":{"p":{"n":1}}}`: true, `{"i":-2147483648}`: true,
		`{"text":"\u00e4\u003c\t\/"}`: true, `{"text":"ä"}`: true, `{"list":["a",null,"b"]}`: true, `{"map":{"a":"b","a":"c"}}`: true, `{"b":null,"p":null}`: true,
		`{"raw":{"a":[1,2,{"b":"]"}],"c":-1.5e3}}`: true, `{"raw":"x\"}"}`: true, `{"raw":[]}`: true, `{"raw":true}`: true, `{"raw":12}`: true,
		``: false, `{`: false, `{"text":"a"`: false, `{"text":"a",}`: false, `{,}`: false, `{} {}`: false, `{"text":"a" "n":1}`: false, `{"text" "a"}`: false,
		`{"text":"a","text":"b"}`: false, `{"Text":"a"}`: false, `{"te\u0078t":"a"}`: true, `{"other":1}`: false, `{"n":65536}`: false, `{"n":-1}`: false, `{"n":01}`: false, `{"n":1.0}`: false,
		`{"n":1e1}`: false, `{"n":}`: false, `{"n":18446744073709551616}`: false, `{"i":2147483648}`: false, `{"i":--1}`: false, `{"i":-}`: false, `{"i":- 1}`: false, `{"b":tru}`: false,
		"{\"text\":\"\n\"}": false, "{\"text\":\"\x80\"}": false, "{\"text\":\"\\n\x80\"}": false, `{"text":"\x"}`: false, `{"text":"\u12"}`: false, `{"text":"\ud800"}`: false, `{"text":"\`: false,
		`{"list":["a",]}`: false, `{"list":[,"a"]}`: false, `{"list":{}}`: false, `{"map":[]}`: false, `{"raw":}`: false, `{"raw":`: false, `{"raw":1`: false, `{"raw":"`: false, `{"raw":[}`: false, `{"raw":[1`: false,
	} {
		var got, want sample
		err := json.Unmarshal([]byte(doc), &want)
		if ok := Read([]byte(doc), &got, readSample); ok != plain {
			t.Errorf("%s: read: %v, wanted %v", doc, ok, plain)
		} else if ok && (err != nil || !reflect.DeepEqual(got, want)) {
			t.Errorf("%s:\ngot  %+v\nwant %+v, %v", doc, got, want, err)
		}
	}
}

// FuzzRead: no document makes the reader panic, and what it reads is what encoding/json reads; Raw's content alone is for others to check.
func FuzzRead(f *testing.F) {
	for _, doc := range []string{`{"text":"\u00e4","n":1,"i":-1,"b":true,"list":["a",null],"map":{"a":"b"},"raw":{"a":[1,"]"]},"p":{"p":null}}`, `{"raw":[{]`, `{"raw":1`} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var got, want sample
		if !Read(doc, &got, readSample) {
			return
		}
		if err := json.Unmarshal(doc, &want); err != nil && got.Raw == nil && got.P == nil {
			t.Errorf("%s: read as %+v, but: %v", doc, got, err)
		} else if err == nil && !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", doc, got, want)
		}
	})
}

// TestWrite: what is written is what encoding/json writes.
func TestWrite(t *testing.T) {
	v := struct {
		A string         `json:"a"`
		B uint64         `json:"b"`
		C bool           `json:"c"`
		D []string       `json:"d"`
		E map[string]int `json:"e"`
	}{"plain", 1<<64 - 1, true, []string{"", "ä", "<&>", "\"\\", "\n", "\xff", "\u2028"}, map[string]int{"x": 1}}
	w := NewWriter(0)
	w.String("a", v.A)
	w.Uint("b", v.B)
	w.Bool("c", v.C)
	w.Strings("d", v.D)
	if err := w.Any("e", v.E); err != nil {
		t.Fatal(err)
	}
	want, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.End(); string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
