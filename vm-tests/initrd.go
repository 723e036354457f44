// Package vmtests runs weir in virtual machines, on kernels that the host has
// not. The tests that run inside are in package suites; its test binary is the
// machine's first process (package guest).
package vmtests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"weir/vm-tests/cpio"
	"weir/vm-tests/debian"
	"weir/vm-tests/guest"
)

// Packages of the programs that every machine has.
const (
	suitesPkg = "weir/vm-tests/suites"
	weirPkg   = "weir/cmd/weir"
)

// build compiles a package, its tests if it is not a program, to a static
// program without symbols, which loads faster.
func build(ctx context.Context, pkg string) (program []byte, err error) {
	dir, err := os.MkdirTemp("", "weir-vm-build-")
	if err != nil {
		return nil, fmt.Errorf("build %s: %w", pkg, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "program")
	args := []string{"test", "-c"}
	if pkg == weirPkg {
		args = []string{"build"}
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	return os.ReadFile(path)
}

// modules are the drivers that machines have: two NICs, what netlab builds
// networks of, and what tests of tunnels, VLANs, bonds and loss will need.
func modules() []string {
	return []string{
		"virtio_pci", "virtio_net", "veth", "bridge",
		"8021q", "bonding", "ipip", "sit", "ip6_tunnel", "fou", "fou6", "sch_netem",
	}
}

// contents are what an initial file system holds beside devices.
type contents struct {
	init    []byte            // the first process
	bin     map[string][]byte // programs in /bin
	drivers []debian.Module
}

// writeInitrd makes an initial file system.
func writeInitrd(path string, c contents) (err error) {
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
	w.File("init", 0o755, c.init)
	for _, name := range slices.Sorted(maps.Keys(c.bin)) {
		w.File("bin/"+name, 0o755, c.bin[name])
	}
	addModules(w, c.drivers)
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
