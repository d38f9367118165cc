package plan

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"example.io/shim/linux/abi"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestPrintGolden(t *testing.T) {
	for name, o := range map[string]PrintOptions{"print.txt": {}, "print-verbose.txt": {Verbose: true}} {
		p := good(nil).WithFault(0, abi.EPERM)
		p.Steps[1].Label = "a label\nwith two lines"
		var got bytes.Buffer
		if err := Print(&got, p, o); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s differs (go test -update writes it anew); got\n%s", file, got.Bytes())
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, abi.ENOSPC }

func TestPrintError(t *testing.T) {
	if err := Print(fullDisk{}, good(nil), PrintOptions{}); !errors.Is(err, abi.ENOSPC) {
		t.Errorf("got %v", err)
	}
}
