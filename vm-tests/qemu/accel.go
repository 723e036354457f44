package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Accel is how instructions of the guest are run.
type Accel string

// Accelerators: KVM runs them on the processor, TCG translates them, some ten
// times slower.
const (
	KVM Accel = "kvm"
	TCG Accel = "tcg"
)

// FindAccel returns the accelerator asked for ("kvm" or "tcg"), or without one
// KVM if it works. /dev/kvm being there says little: a machine without nested
// virtualisation may have it too. So a program of three instructions is run.
func FindAccel(ctx context.Context, asked string) (Accel, error) {
	switch Accel(asked) {
	case KVM, TCG:
		return Accel(asked), nil
	case "":
	default:
		return "", fmt.Errorf("accelerator %q is not kvm or tcg", asked)
	}
	if probe(ctx, KVM) == nil {
		return KVM, nil
	}
	return TCG, nil
}

func (a Accel) args() []string {
	args := []string{"-accel", string(a), "-cpu", "host"}
	if a == TCG {
		// Five-level page tables make each miss of TCG's cache dearer.
		args = []string{"-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max,la57=off"}
	}
	return args
}

// Firmware and boot sector take 0.1 s under TCG.
const probeTimeout = 10 * time.Second

// bootSector writes probeValue to the port of isa-debug-exit, which ends QEMU
// with the status 2*value+1.
var bootSector = [512]byte{
	0:   0xb0, // mov al, probeValue
	1:   probeValue,
	2:   0xe6, // out probePort, al
	3:   probePort,
	4:   0xf4, // hlt
	510: 0x55, // the mark of a boot sector
	511: 0xaa,
}

const (
	probeValue = 0x10
	probePort  = 0xf4
)

// probe runs the boot sector.
func probe(ctx context.Context, a Accel) (err error) {
	dir, err := os.MkdirTemp("", "weir-vm-probe-")
	if err != nil {
		return fmt.Errorf("probe %s: %w", a, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, bootSector[:], 0o600); err != nil {
		return fmt.Errorf("probe %s: %w", a, err)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	args := append(a.args(), "-machine", "pc", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-drive", "format=raw,if=ide,file="+disk,
		"-device", fmt.Sprintf("isa-debug-exit,iobase=%#x,iosize=1", probePort))
	out, err := exec.CommandContext(ctx, Program, args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 2*probeValue+1 {
		return nil
	}
	return fmt.Errorf("probe %s: the program did not run (%w): %s", a, errors.Join(err, ctx.Err()), out)
}
