package self

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestFileReadOnly(t *testing.T) {
	for line, want := range map[string]bool{
		"00400000-00452000 r-xp 00000000 08:02 173521 /bin/shim":              true,
		"00452000-00553000 r--p 00052000 08:02 173521 /bin/shim":              true,
		"00553000-00570000 rw-p 00152000 08:02 173521 /bin/shim":              false,
		"c000000000-c000400000 rw-p 00000000 00:00 0":                         false,
		"7f0000000000-7f0000004000 r--s 00000000 00:01 0 /dev/zero (deleted)": false,
		"7ffd000fa000-7ffd000fe000 r--p 00000000 00:00 0 [vvar]":              false,
		"nonsense": false,
	} {
		if _, _, ok := fileReadOnly([]byte(line)); ok != want {
			t.Errorf("%s: %v, want %v", line, ok, want)
		}
	}
}

// rssFile is how much of files is in our page tables, in KiB (RssFile in proc_pid_status(5)).
func rssFile(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "RssFile:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDropText: fewer pages are held, and everything goes on.
func TestDropText(t *testing.T) {
	before := rssFile(t)
	DropText()
	if after := rssFile(t); after >= before {
		t.Errorf("%d KiB of files are resident, %d were before", after, before)
	}
}
