package suites

import (
	"os"
	"testing"
	"time"
)

// TestFault… break in ways that the harness must notice. Its own test runs
// them, each in a machine of its own.

func TestFaultPass(*testing.T) {}

func TestFaultFail(t *testing.T) { t.Error("planted failure") }

func TestFaultExit(*testing.T) { os.Exit(3) }

func TestFaultGoPanic(*testing.T) { panic("planted panic") }

func TestFaultHang(t *testing.T) {
	t.Log("hanging")
	time.Sleep(24 * time.Hour)
}

func TestFaultKernelPanic(t *testing.T) {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		t.Fatal(err)
	}
}
