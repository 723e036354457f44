package vmtests

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/vm-tests/debian"
	"weir/vm-tests/qemu"
	"weir/vm-tests/results"
)

// What to run: "smoke" or "all"; anything else runs no machine.
const selectEnv = "WEIR_VM"

// Which accelerator; empty finds out.
const accelEnv = "WEIR_VM_ACCEL"

// cacheDir is .cache of the repository, which git ignores.
const cacheDir = "../.cache/vm"

// lab is what all machines share.
type lab struct {
	dir      string
	accel    qemu.Accel
	store    debian.Store
	programs programs
}

// newLab finds an accelerator and builds the programs, or skips the test when
// nobody has asked for machines.
func newLab(t *testing.T) *lab {
	t.Helper()
	if asked := os.Getenv(selectEnv); asked != "smoke" && asked != "all" {
		t.Skip("virtual machines are run by `make vm-smoke` and `make vm-test`")
	}
	dir, err := filepath.Abs(cacheDir)
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{dir: dir, store: debian.Store{Dir: filepath.Join(dir, "kernels"), Notice: t.Logf}}
	if l.accel, err = qemu.FindAccel(t.Context(), os.Getenv(accelEnv)); err != nil {
		t.Fatal(err)
	}
	t.Logf("accelerator: %s", l.accel)
	if l.programs, err = build(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

// machine prepares a machine with a kernel, without NICs.
func (l *lab) machine(t *testing.T, series string) qemu.Machine {
	t.Helper()
	kernel, err := l.store.Kernel(t.Context(), series, flavour)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kernel: %s", kernel.Package)
	dir := filepath.Join(l.dir, "run", series)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	initrd := filepath.Join(dir, "initrd")
	if err := writeInitrd(t.Context(), initrd, kernel, l.programs); err != nil {
		t.Fatal(err)
	}
	return qemu.Machine{Accel: l.accel, Kernel: kernel.Image, Initrd: initrd, Dir: dir}
}

// TestVM runs every suite on every kernel, one machine at a time; what runs
// inside appears as subtests.
func TestVM(t *testing.T) {
	l := newLab(t)
	for _, series := range kernels() {
		t.Run(series, func(t *testing.T) {
			machine := l.machine(t, series)
			for _, s := range suites() {
				if s.smoke != (os.Getenv(selectEnv) == "smoke") {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					m := machine
					m.Dir = filepath.Join(machine.Dir, s.name)
					report, out, err := s.boot(t.Context(), m)
					t.Logf("machine: %.1f s", out.Elapsed.Seconds())
					replay(t, report.Tests)
					if err != nil {
						t.Errorf("%v\n%s", err, lastWords(report, out))
					}
				})
			}
		})
	}
}

// replay shows tests as if they had run here.
func replay(t *testing.T, tests []*results.Test) {
	for _, test := range tests {
		t.Run(test.Name, func(t *testing.T) {
			if len(test.Output) > 0 {
				t.Logf("%.2f s in the machine\n%s", test.Elapsed.Seconds(), strings.Join(test.Output, "\n"))
			}
			replay(t, test.Subs)
			switch test.Outcome {
			case results.Pass:
			case results.Skip:
				t.SkipNow()
			default:
				t.Errorf("%s in the machine", test.Outcome)
			}
		})
	}
}

// How many lines of the console a failure shows.
const tailLines = 40

// lastWords is the end of what a machine said.
func lastWords(r results.Report, out qemu.Output) string {
	var b strings.Builder
	if len(r.Rest) > 0 {
		b.WriteString("beside the tests:\n" + strings.Join(r.Rest, "\n") + "\n")
	}
	lines := bytes.Split(bytes.TrimSpace(out.Console), []byte("\n"))
	lines = lines[max(0, len(lines)-tailLines):]
	b.WriteString("the console's last lines:\n" + string(bytes.Join(lines, []byte("\n"))))
	return b.String()
}
