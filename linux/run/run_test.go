package run

import (
	"os"
	"testing"
)

func TestParseHome(t *testing.T) {
	passwd := "root:x:0:0:root:/root:/bin/sh\n# comment\nshort:x:5\nuser:x:1000:1000::/home/user:/bin/sh\nempty:x:7:7:::\nbad:x:abc:0::/bad:\nlast:x:4294967295:0::/last"
	for uid, want := range map[uint32]string{0: "/root", 1000: "/home/user", 5: "/", 7: "/", 42: "/", 4294967295: "/last"} {
		if got := parseHome([]byte(passwd), uid); got != want {
			t.Errorf("home of %d: %q, want %q", uid, got, want)
		}
	}
}

func TestStartTime(t *testing.T) {
	a, err := startTime(os.Getpid())
	if err != nil || a == 0 {
		t.Fatalf("own start time: %d, %v", a, err)
	}
	if _, err := startTime(1 << 30); err == nil {
		t.Fatal("a pid that does not exist has a start time")
	}
}

func FuzzParseHome(f *testing.F) {
	f.Add([]byte("root:x:0:0:root:/root:/bin/sh\n"), uint32(0))
	f.Fuzz(func(t *testing.T, passwd []byte, uid uint32) {
		if parseHome(passwd, uid) == "" {
			t.Error("empty home")
		}
	})
}
