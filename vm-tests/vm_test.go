package vmtests

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"weir/vm-tests/debian"
	"weir/vm-tests/guest"
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
	turns    sync.RWMutex // see turn
	mu       sync.Mutex   // guards what follows
	store    debian.Store
	programs map[string][]byte // built so far, by package
}

// newLab finds an accelerator, or skips the test when nobody has asked for
// machines.
func newLab(t *testing.T) *lab {
	t.Helper()
	if asked := os.Getenv(selectEnv); asked != "smoke" && asked != "all" {
		t.Skip("virtual machines are run by `make vm-smoke` and `make vm-test`")
	}
	dir, err := filepath.Abs(cacheDir)
	if err != nil {
		t.Fatal(err)
	}
	takeTurn(t, dir)
	l := &lab{dir: dir, programs: map[string][]byte{}}
	l.store = debian.Store{Dir: filepath.Join(dir, "kernels"), Notice: t.Logf}
	if l.accel, err = qemu.FindAccel(t.Context(), os.Getenv(accelEnv)); err != nil {
		t.Fatal(err)
	}
	t.Logf("accelerator: %s", l.accel)
	return l
}

// takeTurn waits until no other process runs machines out of the directory.
func takeTurn(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Close() })
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

// program builds a package once.
func (l *lab) program(t *testing.T, pkg string) []byte {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.programs[pkg] == nil {
		var err error
		if l.programs[pkg], err = build(t.Context(), pkg); err != nil {
			t.Fatal(err)
		}
	}
	return l.programs[pkg]
}

// system is a kernel with its drivers.
type system struct {
	series  string
	kernel  *debian.Kernel
	drivers []debian.Module
}

func (l *lab) system(t *testing.T, series string) system {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	kernel, err := l.store.Kernel(t.Context(), series, flavour)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("kernel: %s", kernel.Package)
	drivers, err := kernel.Modules(t.Context(), modules()...)
	if err != nil {
		t.Fatal(err)
	}
	return system{series, kernel, drivers}
}

// machine prepares one, without NICs, that runs the tests of a package ("":
// those of package suites).
func (l *lab) machine(t *testing.T, s system, name, pkg string) qemu.Machine {
	t.Helper()
	dir := filepath.Join(l.dir, "run", s.series, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := contents{
		init:    l.program(t, suitesPkg),
		bin:     map[string][]byte{filepath.Base(guest.Weir): l.program(t, weirPkg)},
		drivers: s.drivers,
	}
	if pkg != "" {
		c.bin[filepath.Base(guest.Tests)] = l.program(t, pkg)
	}
	initrd := filepath.Join(dir, "initrd")
	t.Cleanup(func() { os.Remove(initrd) })
	if err := writeInitrd(initrd, c); err != nil {
		t.Fatal(err)
	}
	return qemu.Machine{Accel: l.accel, Kernel: s.kernel.Image, Initrd: initrd, Dir: dir}
}

// TestVM runs every suite on every kernel; what runs inside appears as subtests.
// The kernels take theirs beside each other, as far as turns let them.
func TestVM(t *testing.T) {
	l := newLab(t)
	for _, series := range kernels() {
		t.Run(series, func(t *testing.T) {
			t.Parallel()
			system := l.system(t, series)
			for _, s := range suites() {
				if s.smoke != (os.Getenv(selectEnv) == "smoke") {
					continue
				}
				t.Run(s.name, func(t *testing.T) {
					defer l.turn(s.alone)()
					r := s.boot(t.Context(), l.machine(t, system, s.name, s.pkg))
					r.show(t, s.whole)
				})
			}
			if os.Getenv(selectEnv) == "all" {
				t.Run("across", func(t *testing.T) {
					defer l.turn(true)()
					l.across(t, system)
				})
			}
		})
	}
}

// turn waits until a suite may run beside those that do. On a host without the
// processors for both kernels' machines some are alone.
func (l *lab) turn(alone bool) (done func()) {
	if alone && runtime.NumCPU() < len(kernels())*cpus {
		l.turns.Lock()
		return l.turns.Unlock
	}
	l.turns.RLock()
	return l.turns.RUnlock
}

// show makes a run's tests this one's.
func (r run) show(t *testing.T, whole bool) {
	t.Helper()
	for _, f := range r.failed {
		t.Logf("booted again: %v\n%s", f.err, lastWords(f.report, f.out))
	}
	t.Logf("machine: %.1f s", r.out.Elapsed.Seconds())
	replay(t, r.report.Tests, whole)
	if r.err != nil {
		t.Errorf("%v\n%s", r.err, lastWords(r.report, r.out))
	}
}

// replay shows tests as if they had run here. If the run was to be whole, none
// may have been skipped.
func replay(t *testing.T, tests []*results.Test, whole bool) {
	for _, test := range tests {
		t.Run(test.Name, func(t *testing.T) {
			if len(test.Output) > 0 {
				t.Logf("%.2f s in the machine\n%s", test.Elapsed.Seconds(), strings.Join(test.Output, "\n"))
			}
			replay(t, test.Subs, whole)
			switch {
			case test.Outcome == results.Pass:
			case test.Outcome == results.Skip && !whole:
				t.SkipNow()
			default:
				t.Errorf("%s in the machine", test.Outcome)
			}
		})
	}
}

// How many lines of the console a failure shows: a kernel's panic takes about
// fifty.
const tailLines = 100

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
