package plan

import (
	"bytes"
	"testing"

	"example.io/shim/linux/abi"
)

func TestPrintTimes(t *testing.T) {
	p := &Plan{Steps: []Step{
		{Actor: Parent, Phase: Start, Label: "one"}, {Actor: Child, Phase: Start, Sys: abi.SysGetpid}, {Actor: Parent, Phase: Start, Label: "skipped"},
		{Actor: Child, Phase: Start, Op: OpCheck}, {Actor: Parent, Phase: Start, Label: "last"},
	}}
	var b bytes.Buffer
	if err := PrintTimes(&b, Times{Plan: p, Began: []int64{1000000, 3000000, 0, 3500000, 4000000}, Ended: 6000000}); err != nil {
		t.Fatal(err)
	}
	const want = `    at ms  took ms step
    0.000    3.000     1 parent start    one
    2.000    0.500     2 child  start    getpid
    2.500    2.500     4 child  start    operation 1
    3.000    2.000     5 parent start    last

the longest:
    0.000    3.000     1 parent start    one
    2.500    2.500     4 child  start    operation 1
    3.000    2.000     5 parent start    last
    2.000    0.500     2 child  start    getpid

4 steps in 5.000 ms; the parent's 5.000, the child's 3.000, waits for each other included
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
	b.Reset()
	if err := PrintTimes(&b, Times{Plan: p, Began: make([]int64, 5)}); err != nil || b.Len() > 0 {
		t.Errorf("nothing was carried out: %q, %v", b.String(), err)
	}
}
