package qemu

import (
	"os/exec"
	"strings"
	"testing"
)

func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath(Program); err != nil {
		t.Skip("needs qemu-system-x86; `make vm-smoke` installs it")
	}
}

// The probe must tell a working accelerator from one that is not.
func TestProbe(t *testing.T) {
	needQEMU(t)
	if err := probe(t.Context(), TCG); err != nil {
		t.Error(err)
	}
	if err := probe(t.Context(), "none-such"); err == nil {
		t.Error("an accelerator that does not exist works")
	}
}

func TestFindAccel(t *testing.T) {
	for _, asked := range []Accel{KVM, TCG} {
		if got, err := FindAccel(t.Context(), string(asked)); got != asked || err != nil {
			t.Errorf("%s: %s, %v", asked, got, err)
		}
	}
	if _, err := FindAccel(t.Context(), "xen"); err == nil {
		t.Error("xen is accepted")
	}
}

func TestArgs(t *testing.T) {
	m := Machine{
		Accel: TCG, Kernel: "/k", Initrd: "/i", Args: []string{"-test.run=^TestA"}, CPUs: 2, MemoryMiB: 1024, Dir: "/d",
		NICs: []NIC{{Hub: 3, Queues: 1}, {Tap: "tap9", Queues: 4}, {Wire: "/w", End: 1, Queues: 1, Number: 20}},
	}
	all := strings.Join(m.args(), " ")
	for _, want := range []string{
		"-accel tcg", "-smp 2 -m 1024", "-kernel /k -initrd /i", " -- -test.run=^TestA -serial file:/d/console.log -serial file:/d/results.log",
		"-netdev hubport,id=net0,hubid=3 -device virtio-net-pci,netdev=net0,mac=02:77:65:69:56:00,",
		"-netdev tap,id=net1,ifname=tap9,script=no,downscript=no,queues=4 -device virtio-net-pci,netdev=net1,mac=02:77:65:69:56:01,",
		"-netdev dgram,id=net2,local.type=unix,local.path=/w.1,remote.type=unix,remote.path=/w.0 -device virtio-net-pci,netdev=net2,mac=02:77:65:69:56:14,",
		"guest_tso4=off", ",mq=on,vectors=10",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %s", want, all)
		}
	}
	if strings.Count(all, "mq=on") != 1 {
		t.Errorf("a NIC with one queue has mq=on: %s", all)
	}
}
