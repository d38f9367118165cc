package slow

import (
	"slices"
	"testing"
	"time"
)

func TestLimit(t *testing.T) {
	t.Setenv(env, "")
	if got := Limit(time.Second); got != time.Second {
		t.Error(got)
	}
	t.Setenv(env, "20")
	if got := Limit(time.Second); got != 20*time.Second {
		t.Error(got)
	}
	t.Setenv(env, "x")
	defer func() {
		if recover() == nil {
			t.Error("x is a number")
		}
	}()
	Limit(1)
}

// TestSample: on an emulated CPU every variant has its turn within as many steps as there are variants.
func TestSample(t *testing.T) {
	all := []string{"a", "b", "c"}
	t.Setenv(env, "")
	if got := Sample(1, all); !slices.Equal(got, all) {
		t.Error(got)
	}
	t.Setenv(env, "20")
	var seen []string
	for step := 7; step < 10; step++ {
		got := Sample(step, all)
		if len(got) != 1 {
			t.Fatal(got)
		}
		seen = append(seen, got...)
	}
	if slices.Sort(seen); !slices.Equal(seen, all) {
		t.Error(seen)
	}
	if got := Sample[int](3, nil); got != nil {
		t.Error(got)
	}
}
