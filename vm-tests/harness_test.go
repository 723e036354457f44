package vmtests

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"weir/vm-tests/qemu"
	"weir/vm-tests/results"
)

// TestHarness breaks machines on purpose: each way must be told from success,
// with words that show it.
func TestHarness(t *testing.T) {
	l := newLab(t)
	machine := l.machine(t, l.system(t, kernels()[0]), "fault", "")
	for _, c := range []struct {
		fault   string
		outcome results.Outcome
		err     string // part of the error; "" is none
		says    string // among the last words or the test's own
		limit   time.Duration
	}{
		{fault: "Pass", outcome: results.Pass},
		{fault: "Fail", outcome: results.Fail, says: "planted failure"},
		{fault: "Exit", outcome: results.Unfinished, err: "status 3"},
		{fault: "GoPanic", outcome: results.Fail, says: "planted panic"},
		{fault: "Hang", outcome: results.Unfinished, err: "did not end within", says: "hanging", limit: 20 * time.Second},
		{fault: "KernelPanic", outcome: results.Unfinished, err: "the tests did not end", says: "sysrq triggered crash"},
		{fault: "None", err: "no test was run"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			s := suite{tests: "^TestFault" + c.fault + "$", limit: cmp.Or(c.limit, 2*time.Minute)}
			r := s.boot(t.Context(), machine)
			if err := r.err; (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			words := lastWords(r.report, r.out)
			for _, test := range r.report.Tests {
				words += strings.Join(test.Output, "\n")
				if test.Outcome != c.outcome {
					t.Errorf("outcome %s, want %s", test.Outcome, c.outcome)
				}
			}
			if !strings.Contains(words, c.says) {
				t.Errorf("no %q in:\n%s", c.says, words)
			}
		})
	}
}

// A kernel that dies before its first process, or never comes to it, is booted
// again, and it is told each time.
func TestHarnessBootsAgain(t *testing.T) {
	l := newLab(t)
	system := l.system(t, kernels()[0])
	dies := l.machine(t, system, "dies", "")
	if err := os.Truncate(dies.Initrd, 0); err != nil {
		t.Fatal(err)
	}
	silent := l.machine(t, system, "silent", "")
	silent.Boot = time.Millisecond // no machine is up so soon
	for _, c := range []struct {
		machine qemu.Machine
		says    string
	}{
		{dies, "Kernel panic"},
		{silent, qemu.ErrSilent.Error()},
	} {
		r := suite{tests: "^TestFaultPass$", limit: 2 * time.Minute}.boot(t.Context(), c.machine)
		if r.err == nil || len(r.failed) != bootTries-1 {
			t.Errorf("error %v after %d failed boots, want %d", r.err, len(r.failed), bootTries-1)
		}
		for _, f := range append(r.failed, r) {
			if words := fmt.Sprintln(f.err, lastWords(f.report, f.out)); !strings.Contains(words, c.says) {
				t.Errorf("no %q in:\n%s", c.says, words)
			}
		}
	}
}
