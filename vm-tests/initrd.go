// Package vmtests runs weir in virtual machines, on kernels that the host has
// not. The tests that run inside are in package suites; its test binary is the
// machine's first process (package guest).
package vmtests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"weir/vm-tests/cpio"
	"weir/vm-tests/debian"
	"weir/vm-tests/guest"
)

// programs are what machines run.
type programs struct {
	suites, weir []byte
}

// build compiles static programs without symbols, which load faster.
func build(ctx context.Context) (p programs, err error) {
	dir, err := os.MkdirTemp("", "weir-vm-build-")
	if err != nil {
		return p, fmt.Errorf("build the programs: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, b := range []struct {
		into *[]byte
		verb []string
		pkg  string
	}{
		{&p.suites, []string{"test", "-c"}, "weir/vm-tests/suites"},
		{&p.weir, []string{"build"}, "weir/cmd/weir"},
	} {
		path := filepath.Join(dir, filepath.Base(b.pkg))
		args := append(b.verb, "-trimpath", "-ldflags", "-s -w", "-o", path, b.pkg)
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("build %s: %w: %s", b.pkg, err, out)
		}
		if *b.into, err = os.ReadFile(path); err != nil {
			return p, fmt.Errorf("build %s: %w", b.pkg, err)
		}
	}
	return p, nil
}

// modules are the drivers that machines have: two NICs, what netlab builds
// networks of, and what tests of tunnels, VLANs, bonds and loss will need.
func modules() []string {
	return []string{
		"virtio_pci", "virtio_net", "veth", "bridge",
		"8021q", "bonding", "ipip", "sit", "ip6_tunnel", "fou", "fou6", "sch_netem",
	}
}

// writeInitrd makes the initial file system for a kernel.
func writeInitrd(ctx context.Context, path string, kernel *debian.Kernel, p programs) (err error) {
	drivers, err := kernel.Modules(ctx, modules()...)
	if err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("make the initial file system: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriter(file)
	w := cpio.NewWriter(out)
	for _, dir := range []string{"dev", "etc", "bin", "modules"} {
		w.Dir(dir)
	}
	// The kernel opens the console before anything is mounted.
	w.Char("dev/console", 0o600, 5, 1)
	w.Char("dev/null", 0o666, 1, 3)
	w.File("init", 0o755, p.suites)
	w.File(strings.TrimPrefix(guest.Weir, "/"), 0o755, p.weir)
	addModules(w, drivers)
	return errors.Join(w.Close(), out.Flush())
}

func addModules(w *cpio.Writer, drivers []debian.Module) {
	var list strings.Builder
	for _, m := range drivers {
		name := "modules/" + m.Name + ".ko"
		w.File(name, 0o644, m.Content)
		list.WriteString("/" + name + "\n")
	}
	w.File(strings.TrimPrefix(guest.ModuleList, "/"), 0o644, []byte(list.String()))
}
