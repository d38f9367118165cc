package host

import "testing"

func TestParseSystemd(t *testing.T) {
	for text, want := range map[string]string{
		"0::/init.scope\n": "/",
		"5:memory:/\n1:name=systemd:/init.scope\n0::/init.scope\n":  "/",
		"5:memory:/docker/x\n1:name=systemd:/docker/x/init.scope\n": "/docker/x",
		"0::/docker/x/init.scope\n":                                 "/docker/x",
		"5:memory:/a\n":                                             "/",
		"0::/\n":                                                    "/",
	} {
		if got := parseSystemd([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	if got, err := SystemdCgroup(); err != nil || got == "" {
		t.Error(got, err)
	}
}
