package doctor

import (
	"fmt"
)

// The oldest kernel that is supported.
const oldestMajor, oldestMinor = 5, 18

const newKernel = "apt-get install linux-image-amd64 && reboot # or your distribution's current kernel"

func checkKernel(k Kernel) []Finding {
	var all []Finding
	var major, minor int
	switch n, _ := fmt.Sscanf(k.Release, "%d.%d", &major, &minor); {
	case n != 2:
		all = append(all, blind("kernel", fmt.Errorf("its release is %q", k.Release)))
	case major < oldestMajor || major == oldestMajor && minor < oldestMinor:
		all = append(all, fault("kernel", newKernel, "%s is older than %d.%d", k.Release, oldestMajor, oldestMinor))
	default:
		all = append(all, fine("kernel", "%s", k.Release))
	}
	if !k.BTF {
		return append(all, fault("kernel", newKernel, "it has no BTF (/sys/kernel/btf/vmlinux), so no program can be loaded"))
	}
	return append(all, fine("kernel", "has BTF"))
}
