package e2e

import (
	"errors"
	"testing"
	"time"
)

// eventually tries until there is no error, for as long as is given at most.
func eventually(t *testing.T, within time.Duration, what string, try func() error) {
	t.Helper()
	if err := attempt(within, try); err != nil {
		t.Fatalf("%s: not within %s: %v", what, within, err)
	}
}

func attempt(within time.Duration, try func() error) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for late := time.After(within); ; {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-late:
			return err
		case <-poll.C:
		}
	}
}

var errNotYet = errors.New("not yet")

// yes turns a condition into what eventually tries.
func yes(condition func() bool) func() error {
	return func() error {
		if condition() {
			return nil
		}
		return errNotYet
	}
}
