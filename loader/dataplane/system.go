package dataplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const bpffsRoot = "/sys/fs/bpf"

// checkSystem refuses what cannot work, with the remedy.
func checkSystem() error {
	if os.Geteuid() != 0 {
		return errors.New("loading BPF programs needs root: run weir with sudo, or as root")
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return errors.New("this kernel has no BTF (/sys/kernel/btf/vmlinux): boot one built with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels since 5.10 are")
	}
	return nil
}

// ensureBPFFS checks that dir is on a bpf file system, and mounts one at the
// usual place if none is there.
func ensureBPFFS(dir string) error {
	if strings.Contains(dir, ".") {
		return fmt.Errorf("pin_dir %s: a bpf file system allows no dots in names", dir)
	}
	if onBPFFS(filepath.Dir(dir)) {
		return nil
	}
	if dir != bpffsRoot && !strings.HasPrefix(dir, bpffsRoot+"/") {
		return fmt.Errorf("pin_dir %s is not on a bpf file system: use a directory below %s, or mount one: mount -t bpf bpf %s", dir, bpffsRoot, filepath.Dir(dir))
	}
	if !onBPFFS(bpffsRoot) {
		if err := unix.Mount("bpf", bpffsRoot, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
			return fmt.Errorf("mount a bpf file system at %s: %w", bpffsRoot, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("create the directory above pin_dir: %w", err)
	}
	return nil
}

func onBPFFS(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && uint32(s.Type) == unix.BPF_FS_MAGIC
}

// explain turns what the kernel says about a load into something to act on.
func explain(err error) error {
	var v *ebpf.VerifierError
	switch {
	case errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("this kernel lacks something that weir needs (5.18 or newer is supported): %w", err)
	case errors.As(err, &v):
		return fmt.Errorf("the kernel's verifier refused the program; please report this with the kernel's version: %w", err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("the kernel forbids loading BPF programs here (kernel lockdown, or missing CAP_BPF and CAP_NET_ADMIN): %w", err)
	case errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("not enough memory for the maps: lower `limits` in the configuration: %w", err)
	}
	return err
}
