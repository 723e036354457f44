package netlab

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
)

func newNS(t *testing.T) *NS {
	t.Helper()
	ns, err := CreateNS(prefix(t) + "-ns")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Delete(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

func currentNS(t *testing.T) string {
	t.Helper()
	id, err := os.Readlink(threadNetns)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestDoEntersAndLeavesTheNamespace(t *testing.T) {
	ns, outside := newNS(t), currentNS(t)
	want := errors.New("of f")
	var inside string
	if err := ns.Do(func() error { inside = currentNS(t); return want }); err != want {
		t.Errorf("Do returned %v, want the error of f", err)
	}
	if inside == outside {
		t.Error("f ran in the caller's namespace")
	}
	// Whatever thread a goroutine gets must be back home.
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			if id, _ := os.Readlink(threadNetns); id != outside {
				t.Errorf("a thread stayed in %s", id)
			}
		})
	}
	wg.Wait()
}

func TestDoPassesAPanicOn(t *testing.T) {
	ns := newNS(t)
	defer func() {
		if p := recover(); p != "of f" {
			t.Errorf("recovered %v, want the panic of f", p)
		}
	}()
	ns.Do(func() error { panic("of f") })
	t.Error("Do returned after a panic")
}

func TestDoReportsAnEndedGoroutine(t *testing.T) {
	if err := newNS(t).Do(func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("no error though f never returned")
	}
}

func TestNameInUseIsRefused(t *testing.T) {
	ns := newNS(t)
	if _, err := CreateNS(ns.Name); !errors.Is(err, os.ErrExist) {
		t.Errorf("second namespace of one name: %v, want %v", err, os.ErrExist)
	}
}
