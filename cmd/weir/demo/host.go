package demo

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// prepareHost checks what no later step would say as clearly, and mounts the
// bpf file system where it always is, if nothing has yet.
func prepareHost() error {
	if os.Geteuid() != 0 {
		return errors.New("weir demo makes network namespaces and loads a program into the kernel: run it as root, for example with sudo")
	}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		return errors.New("this kernel has no BTF: boot one built with CONFIG_DEBUG_INFO_BTF=y (every current distribution's is)")
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(bpffsDir, &fs); err != nil {
		return fmt.Errorf("%s: %w; mount sysfs on /sys and boot a kernel with CONFIG_BPF_SYSCALL=y", bpffsDir, err)
	}
	if fs.Type == unix.BPF_FS_MAGIC {
		return nil
	}
	if err := unix.Mount("bpf", bpffsDir, "bpf", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mounting the bpf file system: %w; in a container, mount it from the host: -v %s:%s", err, bpffsDir, bpffsDir)
	}
	return nil
}
