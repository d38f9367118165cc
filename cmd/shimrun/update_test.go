package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// TestUpdateFailure: tools look for runc's words about a limit below what is in use, and the error stays what it is.
func TestUpdateFailure(t *testing.T) {
	for source, want := range map[string]string{"/memory/limit": "rejecting memory limit: ", "/memory/swap": "rejecting memory+swap limit: ", "/pids/limit": ""} {
		plain := fmt.Errorf("update: %s: 1 is less than the 2 bytes that are in use: %w", source, errdefs.ErrFailedPrecondition)
		if err := updateFailure(plain); err.Error() != want+plain.Error() || !errors.Is(err, errdefs.ErrFailedPrecondition) {
			t.Errorf("%s: %v", source, err)
		}
	}
	other := fmt.Errorf("update: /memory/limit: %w", errdefs.ErrInvalidArgument)
	if err := updateFailure(other); strings.Contains(err.Error(), "rejecting") || updateFailure(nil) != nil {
		t.Errorf("another error: %v", err)
	}
}
